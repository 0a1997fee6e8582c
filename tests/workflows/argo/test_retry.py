"""What a retry in place keeps and forgets, and what a resubmission carries over."""

from datetime import UTC, datetime
from typing import Any

import pytest

from klever.workflows.argo.errors import UnreadableStatusError, WrongPhaseError
from klever.workflows.argo.retry import pod_name, reset, resubmission
from klever.workflows.argo.status import parse_run, read_nodes
from klever.workflows.status import Phase

from .conftest import Document, Recorded

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def node(name: str, kind: str, phase: str = "Succeeded", *children: str, **rest: Any) -> Document:
    return {
        "id": name,
        "name": name,
        "displayName": name,
        "type": kind,
        "phase": phase,
        "children": list(children),
        **rest,
    }


def workflow(*nodes: Document, phase: str = "Failed", **spec: Any) -> Document:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "w", "namespace": "n", "labels": {"workflows.argoproj.io/completed": "true"}},
        "spec": spec,
        "status": {"phase": phase, "message": "failed", "finishedAt": "2026-01-01T00:00:00Z", "nodes": {each["id"]: each for each in nodes}},
    }  # fmt: skip


def phases(document: Document) -> dict[str, str]:
    return {each["name"]: each["phase"] for each in read_nodes(document).values()}


def test_what_failed_runs_again_and_what_succeeded_stays(recorded: Recorded) -> None:
    before = recorded("mixed")
    retry = reset(before, now=NOW)
    after = phases(retry.workflow)
    run = parse_run(before)
    forgotten = {each.name for each in run.nodes.values()} - set(after)
    assert forgotten == {"mixed.broken(0)", "mixed.broken(1)", "mixed.never", "mixed.onExit"}
    assert {name for name, phase in after.items() if phase == "Running"} == {"mixed", "mixed.broken", "mixed.many"}
    kept = {name for name, phase in after.items() if phase == "Succeeded"}
    assert {"mixed.first", "mixed.many(0:a)", "mixed.flaky", "mixed.steps", "mixed.steps[1].last"} <= kept
    # The try that failed before another succeeded is history, and not run again.
    assert after["mixed.flaky(0)"] == "Failed"


def test_only_the_pods_of_what_is_forgotten_are_deleted(recorded: Recorded) -> None:
    document = recorded("mixed")
    by_name = {each["name"]: each for each in read_nodes(document).values()}
    gone = ("mixed.broken(0)", "mixed.broken(1)", "mixed.onExit")
    assert set(reset(document).pods) == {pod_name(document, by_name[name]) for name in gone}


def test_the_workflow_is_open_again(recorded: Recorded) -> None:
    fresh = reset(recorded("mixed"), now=NOW).workflow
    status, labels = fresh["status"], fresh["metadata"]["labels"]
    assert (status["phase"], status["startedAt"], status["finishedAt"]) == ("Running", "2026-01-02T03:04:05Z", None)
    assert {"type": "Completed", "status": "False"} in status["conditions"]
    assert "workflows.argoproj.io/completed" not in labels
    assert labels["workflows.argoproj.io/phase"] == "Running"


def test_the_document_that_was_read_is_not_changed(recorded: Recorded) -> None:
    document = recorded("mixed")
    reset(document)
    assert document == recorded("mixed")


def test_no_node_refers_to_a_forgotten_one(recorded: Recorded) -> None:
    nodes = read_nodes(reset(recorded("mixed")).workflow)
    assert all(child in nodes for each in nodes.values() for child in each.get("children") or ())
    assert all(child in nodes for each in nodes.values() for child in each.get("outboundNodes") or ())


def test_a_single_pod_is_forgotten_as_a_whole(recorded: Recorded) -> None:
    retry = reset(recorded("out-of-memory"))
    assert read_nodes(retry.workflow) == {}
    assert retry.pods == ("out-of-memory",)


def test_a_workflow_that_failed_before_its_first_node_starts_anew(recorded: Recorded) -> None:
    retry = reset(recorded("not-valid"))
    assert (read_nodes(retry.workflow), retry.pods) == ({}, ())


def test_a_failure_that_something_after_it_made_good_is_kept() -> None:
    # depends: "a.Failed" let b run; c is what has to run again.
    document = workflow(
        node("w", "DAG", "Failed", "w.a"),
        node("w.a", "Pod", "Failed", "w.b", boundaryID="w"),
        node("w.b", "Pod", "Succeeded", "w.c", boundaryID="w"),
        node("w.c", "Pod", "Failed", boundaryID="w"),
    )
    assert phases(reset(document).workflow) == {"w": "Running", "w.a": "Failed", "w.b": "Succeeded"}


def test_nested_templates_run_again_up_to_the_first() -> None:
    document = workflow(
        node("w", "Steps", "Failed", "w[0]"),
        node("w[0]", "StepGroup", "Failed", "w[0].x", boundaryID="w"),
        node("w[0].x", "DAG", "Failed", "w[0].x.a", boundaryID="w"),
        node("w[0].x.a", "Pod", "Succeeded", "w[0].x.b", boundaryID="w[0].x"),
        node("w[0].x.b", "Pod", "Failed", boundaryID="w[0].x"),
    )
    assert phases(reset(document).workflow) == {
        "w": "Running", "w[0]": "Running", "w[0].x": "Running", "w[0].x.a": "Succeeded"
    }  # fmt: skip


def test_a_template_that_is_retried_as_a_whole_runs_its_failed_try_again() -> None:
    document = workflow(
        node("w", "Retry", "Failed", "w(0)"),
        node("w(0)", "DAG", "Failed", "w(0).a", boundaryID="", nodeFlag={"retried": True}),
        node("w(0).a", "Pod", "Failed", boundaryID="w(0)"),
    )
    assert phases(reset(document).workflow) == {"w": "Running", "w(0)": "Running"}


def test_containers_of_one_pod_run_again_together() -> None:
    document = workflow(
        node("w", "Pod", "Failed", "w.a", "w.b"),
        node("w.a", "Container", "Succeeded", boundaryID="w"),
        node("w.b", "Container", "Failed", boundaryID="w"),
    )
    retry = reset(document)
    assert (phases(retry.workflow), retry.pods) == ({}, ("w",))


def test_a_supplied_value_is_asked_for_again() -> None:
    parameters = {"parameters": [{"name": "ok", "value": "yes"}]}
    document = workflow(
        node("w", "Retry", "Failed", "w(0)"),
        node("w(0)", "DAG", "Failed", "s", boundaryID=""),
        node("s", "Suspend", "Failed", "p", boundaryID="w(0)", outputs=parameters),
        node("p", "Pod", "Failed", boundaryID="w(0)"),
    )
    kept = read_nodes(reset(document).workflow)
    assert "p" not in kept
    # It stands before what failed and is not in it, so what was answered stays answered.
    assert kept["s"]["outputs"] == parameters


def test_a_stop_is_undone() -> None:
    fresh = reset(
        workflow(node("w", "Pod", "Failed"), shutdown="Stop", activeDeadlineSeconds=0, entrypoint="m")
    ).workflow
    assert fresh["spec"] == {"entrypoint": "m"}


@pytest.mark.parametrize("phase", ["Running", "Pending", "Succeeded", ""])
def test_what_has_not_failed_cannot_be_retried(phase: str) -> None:
    with pytest.raises(WrongPhaseError) as caught:
        reset(workflow(node("w", "Pod"), phase=phase))
    assert caught.value.next_step


@pytest.mark.parametrize(
    "nodes",
    [
        [node("w", "DAG", "Failed", "gone")],
        [node("w", "DAG", "Failed", "w.a"), node("w.a", "Steps", "Failed", "w.b", boundaryID="elsewhere"), node("w.b", "Pod", "Failed")],
        [node("w", "DAG", "Failed", "a"), node("a", "Pod", "Failed", "b"), node("b", "Pod", "Failed", "a")],
    ],
)  # fmt: skip
def test_a_status_whose_nodes_do_not_hang_together_is_told(nodes: list[Document]) -> None:
    with pytest.raises(UnreadableStatusError):
        reset(workflow(*nodes))


def test_a_pod_is_named_as_argo_names_it() -> None:
    document = workflow()
    assert pod_name(document, {"name": "w", "id": "w", "templateName": "main"}) == "w"
    # The hash of "a" is 0xe40c292c by the test vectors of its authors (isthe.com/chongo/tech/comp/fnv).
    assert pod_name(document, {"name": "a", "id": "w-1", "templateName": "say"}) == f"w-say-{0xE40C292C}"
    assert pod_name(document, {"name": "a", "id": "w-1", "templateRef": {"template": "t"}}) == f"w-t-{0xE40C292C}"
    assert len(pod_name(document, {"name": "a", "id": "w-1", "templateName": "t" * 300})) <= 253


def test_a_pod_of_the_older_naming_is_its_node() -> None:
    document = workflow()
    document["metadata"]["annotations"] = {"workflows.argoproj.io/pod-name-format": "v1"}
    assert pod_name(document, {"name": "w.a", "id": "w-77", "templateName": "t"}) == "w-77"


def test_a_resubmission_is_the_same_anew(recorded: Recorded) -> None:
    before = recorded("mixed")
    before["metadata"]["labels"] |= {"mine": "x", "workflows.argoproj.io/creator": "someone"}
    before["metadata"]["ownerReferences"] = [{"kind": "ModelJob", "name": "j"}]
    before["spec"]["shutdown"] = "Stop"
    fresh = resubmission(before)
    assert "status" not in fresh
    assert fresh["metadata"]["generateName"] == "mixed-"
    assert fresh["metadata"]["labels"] == {"mine": "x", "workflows.argoproj.io/resubmitted-from-workflow": "mixed"}
    assert fresh["metadata"]["ownerReferences"] == [{"kind": "ModelJob", "name": "j"}]
    assert fresh["spec"] == {key: value for key, value in before["spec"].items() if key != "shutdown"}


def test_a_phase_is_never_left_final() -> None:
    assert not Phase(reset(workflow(node("w", "Pod", "Error"), phase="Error")).workflow["status"]["phase"]).is_final
