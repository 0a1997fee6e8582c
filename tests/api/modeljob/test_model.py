"""Reading ModelJobs: what an API server stores is read, whatever an older version let pass."""

import pytest
from modeljobs import MODEL, manifest

from klever.api.modeljob.model import InvalidJobError, JobPhase, parse_job, parse_status


def test_a_job_tells_its_name_namespace_uid_and_generation() -> None:
    job = parse_job(
        manifest(model=MODEL, extraction={})
        | {"metadata": {"name": "a", "namespace": "models", "uid": "u", "generation": 4, "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    )  # fmt: skip
    assert (job.name, job.namespace, job.uid, job.generation, job.is_deleting) == ("a", "models", "u", 4, True)


def test_what_a_newer_version_wrote_is_left_out() -> None:
    job = parse_job(manifest(model=MODEL, extraction={"format": "ONNX", "speed": "high"}, mood="good"))
    written = job.spec.model_dump(by_alias=True, exclude_defaults=True)
    assert written == {"model": MODEL, "extraction": {"format": "ONNX"}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "the job has no spec"),
        ("extraction", "spec is not right"),
        ([], "spec is not right"),
        ({"model": 1, "extraction": {}}, "spec.model is not right"),
        ({"model": MODEL, "extraction": "yes"}, "spec.extraction is not right"),
        ({"model": MODEL, "env": [{"value": "1"}]}, "spec.env.0.name is not right"),
        ({"model": "a" * 10_000, "extraction": {}}, "spec.model is not right"),
        ({"model": MODEL, "pipeline": {"template": "t", "arguments": {"a": {"b": 1}}}}, "spec.pipeline.arguments.a is not right"),
    ],
)  # fmt: skip
def test_a_malformed_job_is_told_by_the_field(spec: object, words: str) -> None:
    with pytest.raises(InvalidJobError) as told:
        parse_job({"metadata": {"name": "a"}, "spec": spec})
    assert words in told.value.cause
    assert told.value.next_step
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "status", [None, {}, [], "Failed", {"phase": "Sleeping"}, {"conditions": [{}]}, {"startTime": "late"}]
)
def test_a_status_that_cannot_be_read_counts_for_none(status: object) -> None:
    assert parse_job(manifest(model=MODEL, extraction={}) | {"status": status}).status.phase is JobPhase.NEW


def test_the_status_of_the_first_version_is_read() -> None:
    status = parse_status({"phase": "Failed", "message": "ErrImagePull"})
    assert (status.phase, status.message, status.observed_generation) == (JobPhase.FAILED, "ErrImagePull", None)


def test_times_are_utc_in_whole_seconds() -> None:
    status = parse_status({"startTime": "2026-03-01T12:00:00.75+02:00"})
    assert status.to_json()["startTime"] == "2026-03-01T10:00:00Z"
