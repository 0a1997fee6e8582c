"""Workflows that are there are listed, stopped, retried and deleted."""

import json
from typing import Any

import pytest
from fakes import Exchange

from klever.workflows.argo import errors
from klever.workflows.argo.control import delete, list_workflows, retry, stop
from klever.workflows.status import Phase

from .conftest import Document, Recorded, Serve, answer, refuse


class Server:
    """An API server with one workflow; ``conflicts`` writes fail because the controller was quicker."""

    def __init__(self, workflow: Document, conflicts: int = 0) -> None:
        self.workflow = workflow
        self.conflicts = conflicts
        self.written: list[tuple[str, Any]] = []
        self.deleted: list[str] = []

    def __call__(self, exchange: Exchange) -> None:
        name = exchange.path_only.rsplit("/", 1)[1]
        if exchange.command in ("PUT", "PATCH"):
            if self.conflicts:
                self.conflicts -= 1
                exchange.body()
                refuse(exchange, 409, "Conflict", "the object has been modified")
                return
            self.written.append((exchange.command, json.loads(exchange.body())))
            answer(exchange, self.workflow)
        elif exchange.command == "DELETE":
            self.deleted.append(name)
            refuse(exchange, 404, "NotFound", "not found", name=name)
        elif name == "workflows":
            answer(exchange, {"items": [self.workflow], "metadata": {}})
        elif name == self.workflow["metadata"]["name"]:
            answer(exchange, self.workflow)
        else:
            refuse(exchange, 404, "NotFound", "not found", name=name)


def test_a_list_shows_what_a_workflow_is_without_reading_its_nodes(serve: Serve, recorded: Recorded) -> None:
    workflow = recorded("greeted")
    workflow["metadata"]["annotations"] = {"workflows.argoproj.io/title": "Greet"}
    workflow["status"]["nodes"] = None
    workflow["status"]["offloadNodeStatusVersion"] = "fnv:1"
    served = serve(Server(workflow))
    (listed,) = list_workflows(served.cluster, labels="a=b", phase="Succeeded")
    assert (listed.name, listed.phase, listed.template, listed.title) == ("greeted", Phase.SUCCEEDED, "greet", "Greet")
    assert "labelSelector=a%3Db%2Cworkflows.argoproj.io%2Fphase%3DSucceeded" in served.server.asked("GET")[0]


@pytest.mark.parametrize(("terminate", "strategy"), [(False, "Stop"), (True, "Terminate")])
def test_a_running_workflow_is_stopped(serve: Serve, recorded: Recorded, terminate: bool, strategy: str) -> None:
    server = Server(recorded("too-large"))
    stop(serve(server).cluster, "too-large", terminate=terminate)
    assert server.written == [("PATCH", {"spec": {"shutdown": strategy}})]


def test_a_workflow_that_is_over_is_not_stopped(serve: Serve, recorded: Recorded) -> None:
    with pytest.raises(errors.WrongPhaseError, match="over already: Succeeded"):
        stop(serve(Server(recorded("greeted"))).cluster, "greeted")


def test_a_retry_deletes_pods_first_and_then_writes_the_workflow(serve: Serve, recorded: Recorded) -> None:
    server = Server(recorded("mixed"))
    served = serve(server)
    retry(served.cluster, "mixed")
    ((method, written),) = server.written
    assert (method, written["status"]["phase"]) == ("PUT", "Running")
    assert len(server.deleted) == 3
    order = [verb for verb, _, _ in served.server.requests if verb != "GET"]
    assert order == ["DELETE", "DELETE", "DELETE", "PUT"]


def test_a_retry_begins_again_when_the_controller_was_quicker(
    serve: Serve, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klever.workflows.argo.control._WRITE_WAIT_SECONDS", 0.01)
    server = Server(recorded("mixed"), conflicts=2)
    retry(serve(server).cluster, "mixed")
    assert len(server.written) == 1
    with pytest.raises(errors.ConflictError):
        retry(serve(Server(recorded("mixed"), conflicts=99)).cluster, "mixed")


def test_nodes_that_only_the_argo_server_has_are_retried_by_it(
    serve: Serve, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = recorded("mixed")
    workflow["status"] |= {"nodes": None, "offloadNodeStatusVersion": "fnv:1"}
    served = serve(Server(workflow))
    with pytest.raises(errors.UnreadableStatusError, match="database"):
        retry(served.cluster, "mixed")
    monkeypatch.setenv("ARGO_SERVER", served.server.host)
    monkeypatch.setenv("ARGO_SECURE", "false")
    retry(served.cluster, "mixed")
    assert served.server.asked("PUT") == [f"/api/v1/workflows/{served.cluster.namespace}/mixed/retry"]


def test_what_is_not_there_is_told(serve: Serve, recorded: Recorded) -> None:
    cluster = serve(Server(recorded("mixed"))).cluster
    for act in (delete, stop, retry):
        with pytest.raises(errors.WorkflowMissingError, match="has no workflow gone"):
            act(cluster, "gone")
