"""Status documents of a real Argo become runs, however they are packed."""

import base64
import gzip
import json
from datetime import UTC, datetime

import pytest

from klever.workflows.argo.errors import UnreadableStatusError
from klever.workflows.argo.status import parse_run, read_nodes, write_nodes
from klever.workflows.status import Kind, Phase

from .conftest import RECORDINGS, Document, Recorded, Serve, answer


def packed(document: Document, data: bytes | None = None) -> Document:
    """Return a workflow as the controller writes one that is too large."""
    nodes = document["status"].pop("nodes")
    data = gzip.compress(json.dumps(nodes).encode()) if data is None else data
    document["status"]["compressedNodes"] = base64.b64encode(data).decode()
    return document


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDINGS.glob("*.json")))
def test_every_recorded_workflow_is_read(recorded: Recorded, name: str) -> None:
    document = recorded(name)
    run = parse_run(document)
    assert run.name == name
    assert run.phase == (document["status"].get("phase") or Phase.PENDING)
    assert len(run.nodes) == len(document["status"].get("nodes") or {})
    assert all(child in run.nodes for node in run.nodes.values() for child in node.children)


def test_a_run_has_its_outputs_times_and_nodes(recorded: Recorded) -> None:
    run = parse_run(recorded("greeted"))
    assert run.phase is Phase.SUCCEEDED
    assert run.outputs == {"greeting": "hello Ada"}
    assert run.started is not None
    assert run.finished is not None
    assert datetime(2020, 1, 1, tzinfo=UTC) < run.started <= run.finished
    assert run.root is not None
    assert (run.root.kind, run.root.exit_code, run.root.inputs["who"]) == (Kind.POD, 0, "Ada")


def test_every_kind_of_node_is_told_apart(recorded: Recorded) -> None:
    run = parse_run(recorded("mixed"))
    kinds = {node.name.removeprefix("mixed"): node.kind for node in run.nodes.values()}
    assert kinds[""] is Kind.DAG
    assert kinds[".many"] is Kind.TASK_GROUP
    assert kinds[".many(0:a)"] is Kind.POD
    assert kinds[".steps"] is Kind.STEPS
    assert kinds[".steps[0]"] is Kind.STEP_GROUP
    assert kinds[".flaky"] is Kind.RETRY
    assert kinds[".skipped"] is Kind.SKIPPED
    assert run.exit_handler is not None
    assert run.exit_handler.phase is Phase.SUCCEEDED


def test_the_cause_is_the_last_try_of_what_failed_and_nothing_around_it(recorded: Recorded) -> None:
    run = parse_run(recorded("mixed"))
    assert [node.name for node in run.failures()] == ["mixed.broken(1)"]


def test_what_is_within_a_group_is_not_what_comes_after_it(recorded: Recorded) -> None:
    run = parse_run(recorded("mixed"))
    named = {node.name: node for node in run.nodes.values()}
    assert {node.display_name for node in run.within(named["mixed.steps[0]"])} == {"left", "right"}
    assert {node.display_name for node in run.within(named["mixed.flaky"])} == {"flaky(0)", "flaky(1)"}
    assert run.within(named["mixed.first"]) == []


def test_compressed_nodes_are_the_same_nodes(recorded: Recorded) -> None:
    assert parse_run(packed(recorded("mixed"))).nodes == parse_run(recorded("mixed")).nodes


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", gzip.compress(b"{}", mtime=0)[:-4], gzip.compress(b"[]", mtime=0), gzip.compress(b"{", mtime=0)],
)
def test_compressed_nodes_that_are_damaged_are_told(recorded: Recorded, data: bytes) -> None:
    with pytest.raises(UnreadableStatusError):
        parse_run(packed(recorded("mixed"), data or b"\0"))


def test_a_decompression_bomb_is_refused(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klever.workflows.argo.status._MAX_NODES_BYTES", 1 << 20)
    with pytest.raises(UnreadableStatusError, match="too large"):
        parse_run(packed(recorded("mixed"), gzip.compress(b" " * (4 << 20))))


def test_nodes_that_would_not_fit_are_written_compressed(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    document = recorded("mixed")
    nodes = read_nodes(document)
    write_nodes(document, nodes)
    assert "compressedNodes" not in document["status"]
    monkeypatch.setattr("klever.workflows.argo.status._MAX_WORKFLOW_BYTES", 1000)
    write_nodes(document, nodes)
    assert "nodes" not in document["status"]
    assert read_nodes(document) == nodes


def test_nodes_in_the_controllers_database_are_told_with_what_can_read_them(recorded: Recorded) -> None:
    document = recorded("mixed")
    document["status"] |= {"nodes": None, "offloadNodeStatusVersion": "fnv:1"}
    with pytest.raises(UnreadableStatusError, match="database") as caught:
        parse_run(document)
    assert "ARGO_SERVER" in caught.value.next_step


def test_nodes_in_the_controllers_database_are_read_through_the_argo_server(
    recorded: Recorded, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    from klever.workflows.argo.watch import get_run

    whole = recorded("mixed")
    offloaded = {**whole, "status": {**whole["status"], "nodes": None, "offloadNodeStatusVersion": "fnv:1"}}
    served = serve(
        lambda exchange: answer(exchange, whole if exchange.path_only.startswith("/base/api/v1/") else offloaded)
    )
    monkeypatch.setenv("ARGO_SERVER", served.server.host)
    monkeypatch.setenv("ARGO_SECURE", "false")
    monkeypatch.setenv("ARGO_BASE_HREF", "/base/")
    assert len(get_run(served.cluster, "mixed").nodes) == len(whole["status"]["nodes"])
    _, _, headers = served.server.requests[-1]
    assert headers["Authorization"] == "Bearer secret-token"


@pytest.mark.parametrize(
    "status", [{"phase": "Gone"}, {"nodes": {"a": {}}}, {"nodes": {"a": 1}}, {"startedAt": "yesterday"}]
)
def test_a_status_that_no_argo_writes_is_told(status: Document) -> None:
    with pytest.raises(UnreadableStatusError):
        parse_run({"metadata": {"name": "w"}, "status": status})


def test_a_workflow_that_no_controller_has_seen_is_pending() -> None:
    assert parse_run({"metadata": {"name": "w", "namespace": "n"}}).phase is Phase.PENDING
