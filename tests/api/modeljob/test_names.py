"""Names are functions of what they name, and legal wherever they go."""

import re

from hypothesis import given
from hypothesis import strategies as st

from klever.api.modeljob.names import job_label, job_name, label_value, workflow_name

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
#: Names of objects, short and long, with dots.
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,80}[a-z0-9])?", fullmatch=True)
UID = "5b9e7f1c-8d3a-4f0e-9d53-0a4c1d2e3f40"
DIGEST = f"sha256:{'0' * 64}"


@given(st.text(), st.uuids(), st.integers(1, 2**31))
def test_a_workflows_name_is_a_dns_label(name: str, uid: object, generation: int) -> None:
    assert LABEL.fullmatch(workflow_name(str(uid), generation, name))


@given(st.text(), st.text(), st.text())
def test_a_jobs_name_is_a_dns_label(prefix: str, digest: str, extra: str) -> None:
    assert LABEL.fullmatch(job_name(prefix, digest, {"model": digest}, extra))


@given(st.text())
def test_any_text_becomes_a_labels_value(text: str) -> None:
    assert VALUE.fullmatch(label_value(text))


@given(NAMES)
def test_a_job_is_found_by_a_label_of_its_name(name: str) -> None:
    label = job_label(name)
    assert VALUE.fullmatch(label)
    assert (label == name) is (len(name) <= 63)


@given(NAMES, NAMES)
def test_two_jobs_do_not_share_a_label(one: str, other: str) -> None:
    assert (job_label(one) == job_label(other)) is (one == other)


def test_a_workflow_is_recognised_by_its_jobs_name() -> None:
    assert workflow_name(UID, 1, "release.of.mnist").startswith("release-of-mnist-")


def test_each_generation_and_each_object_has_a_workflow_of_its_own() -> None:
    names = {
        workflow_name(UID, 1, "a"),
        workflow_name(UID, 2, "a"),
        workflow_name(UID[:-1] + "1", 1, "a"),
    }
    assert len(names) == 3
    assert workflow_name(UID, 1, "a") in names


def test_a_jobs_name_depends_on_digest_and_content_and_nothing_else() -> None:
    spec = {"model": "h.e/a/b", "pipeline": {"template": "t", "arguments": {"x": "1", "y": "2"}}}
    same = {"pipeline": {"arguments": {"y": "2", "x": "1"}, "template": "t"}, "model": "h.e/a/b"}
    name = job_name("b", DIGEST, spec)
    assert job_name("b", DIGEST, same) == name
    others = {
        job_name("b", DIGEST.replace("0", "1"), spec),
        job_name("b", DIGEST, {**spec, "model": "h.e/a/c"}),
        job_name("b", DIGEST, spec, "v1"),
    }
    assert len(others | {name}) == 4


def test_what_is_joined_is_not_confused_with_what_is_not() -> None:
    assert job_name("a", DIGEST, {}, "x") != job_name("a", DIGEST + "x", {}, "")
