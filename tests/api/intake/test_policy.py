"""The policy says which pushes count, where, and what they start; a wrong one is told by its line and key."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klever.api.intake.policy import ROBOTS, Policy, PolicyError, PolicyFile, parse_policy

RELEASE = """\
projects:
  - match: release
    namespace: models
    pipeline: {template: klever-release, arguments: {formats: ONNX, opset: 17, repack: true}}
    tags: ["v*"]
  - match: [release, vision-*]
    namespace: vision
    repositories: mnist*
  - match: "*"
    namespace: rest
"""


@pytest.mark.parametrize(
    ("push", "namespace"),
    [
        (("release", "mnist", "v1"), "models"),
        (("release", "mnist", "nightly"), "vision"),
        (("release", "mnist", None), "vision"),
        (("release", "resnet", "nightly"), "rest"),
        (("vision-a", "mnist/small", "v1"), "vision"),
        (("vision", "mnist", "v1"), "rest"),
    ],
    ids=str,
)
def test_the_first_entry_that_covers_a_push_decides(push: tuple[str, str, str | None], namespace: str) -> None:
    rule = parse_policy(RELEASE).rule_for(*push)
    assert rule is not None
    assert rule.namespace == namespace


def test_a_push_that_nothing_covers_has_no_rule() -> None:
    policy = parse_policy("projects: [{match: release, namespace: models}]")
    assert policy.rule_for("vision", "mnist", "v1") is None
    assert not policy.has_project("vision")
    assert policy.has_project("release")


def test_the_signature_is_read_where_no_pipeline_is_named() -> None:
    policy = parse_policy(RELEASE)
    chosen, default, _ = policy.projects
    assert default.pipeline is None
    assert chosen.pipeline is not None
    assert chosen.pipeline.template == "klever-release"
    # Numbers and booleans are arguments as they were written.
    assert chosen.pipeline.arguments == {"formats": "ONNX", "opset": "17", "repack": "true"}


def test_what_has_no_tag_counts_where_every_tag_does() -> None:
    tagged = parse_policy("projects: [{match: release, namespace: models, tags: ['?*']}]")
    assert tagged.rule_for("release", "mnist", "v1") is not None
    assert tagged.rule_for("release", "mnist", None) is None


def test_projects_are_known_by_their_names_and_by_patterns() -> None:
    policy = parse_policy(RELEASE)
    assert policy.names == ("release",)
    assert policy.has_patterns
    assert policy.namespaces == ("models", "vision", "rest")
    assert not parse_policy("projects: [{match: release, namespace: models}]").has_patterns


def test_numbers_are_names_too() -> None:
    policy = parse_policy("projects: [{match: [2026, 1.10], namespace: models, tags: 7}]")
    assert policy.names == ("2026", "1.10")
    assert policy.projects[0].tags == ("7",)


@pytest.mark.parametrize("operator", ["robot$klever", "robot$release+klever"])
def test_the_robots_that_the_setup_makes_are_ours(operator: str) -> None:
    assert parse_policy("").is_robot(operator)


@pytest.mark.parametrize("operator", ["", "admin", "klever", "robot$release+other", "robot$klever2"])
def test_others_are_not_ours(operator: str) -> None:
    assert not parse_policy("").is_robot(operator)


def test_other_robots_can_be_named() -> None:
    policy = parse_policy("robots: ['bot-*']")
    assert policy.is_robot("bot-release")
    assert not policy.is_robot(ROBOTS[0])


@pytest.mark.parametrize("text", ["", "---\n", "projects: []", "# nothing yet\n"])
def test_an_empty_policy_covers_nothing(text: str) -> None:
    assert parse_policy(text) == Policy()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("projects:\n  - match: release\n", 2, "projects[0].namespace is missing"),
        ("projects:\n  - {match: a, namespace: b}\n  - {namespace: b}\n", 3, "projects[1].match is missing"),
        (
            "projects:\n  - match: release\n    namespace: models\n    pipelines: {}\n",
            4,
            "projects[0].pipelines is not a key of a policy",
        ),
        ("projects:\n- match: release\n  namespace: My_Models\n", 3, "projects[0].namespace is not a name that"),
        ("projects:\n- match: []\n  namespace: models\n", 2, "projects[0].match is empty"),
        ("projects:\n- match: [{}]\n  namespace: models\n", 2, "projects[0].match[0] is not text"),
        ("projects:\n- release\n", 2, "projects[0] is not a map"),
        (
            "projects:\n- match: a\n  namespace: b\n  pipeline:\n    arguments: {}\n",
            4,
            "projects[0].pipeline.template is missing",
        ),
        (
            "projects:\n- match: a\n  namespace: b\n  pipeline:\n    template: t\n    arguments: {model: x}\n",
            6,
            "model is not an argument to choose",
        ),
        (
            "projects:\n- match: a\n  namespace: b\n  pipeline:\n    template: t\n    arguments:\n      x: [1]\n",
            7,
            "projects[0].pipeline.arguments.x is not text",
        ),
        ("project: []\n", 1, "project is not a key of a policy"),
        ("projects: {}\n", 1, "projects is not a list"),
    ],
)
def test_a_wrong_policy_is_told_by_its_line_and_key(text: str, line: int, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "the policy P")
    assert f"the policy P, line {line}: " in caught.value.cause
    assert words in caught.value.cause
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("projects: [\n", "is not YAML in line"),
        ("- a\n", "is not a map"),
        ("a: 1\na: 2\n", "repeats the key 'a' in line 2"),
        ("projects: &x []\nrobots: *x\n", "uses an anchor or alias in line 1"),
        ("x" * (1 << 20) + "y", "is larger than 1 MiB"),
    ],
)
def test_what_is_no_document_is_told(text: str, words: str) -> None:
    with pytest.raises(PolicyError, match="the policy") as caught:
        parse_policy(text)
    assert words in caught.value.cause


@given(st.text())
def test_no_text_leads_to_another_error(text: str) -> None:
    try:
        parse_policy(text)
    except PolicyError as error:
        assert error.stage == "policy"


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("projects: [{match: a, namespace: one}]")
    file = PolicyFile(path)
    assert file.current().namespaces == ("one",)
    assert file.current() is file.current()
    path.write_text("projects: [{match: a, namespace: two-and-more}]")
    assert file.current().namespaces == ("two-and-more",)


def test_a_mounted_config_map_changes_by_its_link(tmp_path: Path) -> None:
    """The kubelet writes a new directory and swaps the link ``..data``; sizes and times may be the same."""
    for number, namespace in enumerate(("one", "two")):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "policy.yaml").write_text(f"projects: [{{match: a, namespace: {namespace}}}]")
        os.utime(tmp_path / f"..{number}" / "policy.yaml", (1, 1))
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    file = PolicyFile(tmp_path / "policy.yaml")
    assert file.current().namespaces == ("one",)
    (tmp_path / "..next").symlink_to("..1")
    (tmp_path / "..next").replace(tmp_path / "..data")
    assert file.current().namespaces == ("two",)


@pytest.mark.parametrize("broken", ["projects: [{match: a}]", None], ids=["wrong", "gone"])
def test_the_last_good_policy_counts_while_the_file_is_wrong(tmp_path: Path, broken: str | None) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("projects: [{match: a, namespace: one}]")
    file = PolicyFile(path)
    good = file.current()
    assert file.problem is None
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    assert file.current() is good
    assert file.problem is not None
    assert str(path) in file.problem.cause
    path.write_text("projects: [{match: a, namespace: two}]")
    assert file.current().namespaces == ("two",)
    assert file.problem is None


def test_a_file_that_was_never_good_is_an_error(tmp_path: Path) -> None:
    file = PolicyFile(tmp_path / "policy.yaml")
    with pytest.raises(PolicyError, match="cannot be read: No such file"):
        file.current()
    (tmp_path / "policy.yaml").write_text("projects: 7")
    with pytest.raises(PolicyError, match="line 1: projects"):
        file.current()


def test_threads_see_one_policy_or_the_next(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("projects: [{match: a, namespace: one}]")
    file = PolicyFile(path)
    seen: set[tuple[str, ...]] = set()
    stopped = threading.Event()

    def look() -> None:
        while not stopped.is_set():
            seen.add(file.current().namespaces)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for namespace in ("two", "one") * 20:
        fresh = tmp_path / "fresh"
        fresh.write_text(f"projects: [{{match: a, namespace: {namespace}}}]")
        fresh.replace(path)
    stopped.set()
    for thread in threads:
        thread.join()
    assert seen <= {("one",), ("two",)}
    assert file.current().namespaces == ("one",)
