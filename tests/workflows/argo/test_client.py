"""The API server's answers, and what they mean for a person."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import Exchange
from registries import free_port

from klever.steps.errors import KleverError
from klever.workflows.argo import errors
from klever.workflows.argo.client import PODS, WORKFLOWS, connect

from .conftest import Serve, answer, refuse

FORBIDDEN = (
    'workflows.argoproj.io is forbidden: User "ada" cannot create resource "workflows" in API group "argoproj.io" '
    'in the namespace "models"'
)


def test_the_namespace_and_the_token_are_those_of_the_context(serve: Serve) -> None:
    served = serve(lambda exchange: answer(exchange, {"items": [], "metadata": {}}))
    assert served.cluster.namespace == "models"
    served.cluster.list_all(WORKFLOWS.path(served.cluster.namespace))
    ((method, path, headers),) = served.server.requests
    assert (method, path) == ("GET", "/apis/argoproj.io/v1alpha1/namespaces/models/workflows?limit=500")
    assert headers["Authorization"] == "Bearer secret-token"


def test_a_context_without_a_namespace_means_default_and_an_option_wins(kubeconfig: Callable[[str], Path]) -> None:
    kubeconfig("http://127.0.0.1:1")
    assert connect(context="other").namespace == "default"
    assert connect(context="other", namespace="mine").namespace == "mine"


@pytest.mark.parametrize("content", ["", "[]", "{}", "a: [", '{"current-context": "x", "contexts": []}', "\x00"])
def test_a_kubeconfig_that_names_no_cluster_is_told(
    kubeconfig: Callable[[str], Path], content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    kubeconfig("http://x").write_text(content, "utf-8")
    with pytest.raises(errors.NoClusterError) as caught:
        connect()
    assert "kubectl config get-contexts" in caught.value.next_step


def test_an_unknown_context_is_told(kubeconfig: Callable[[str], Path]) -> None:
    kubeconfig("http://127.0.0.1:1")
    with pytest.raises(errors.NoClusterError, match="nowhere"):
        connect(context="nowhere")


def test_lists_are_read_in_pages(serve: Serve) -> None:
    def script(exchange: Exchange) -> None:
        if "continue" in exchange.query:
            assert exchange.query["continue"] == ["next page"]
            answer(exchange, {"items": [{"n": 2}], "metadata": {"resourceVersion": "9"}})
        else:
            answer(exchange, {"items": [{"n": 1}], "metadata": {"continue": "next page", "resourceVersion": "9"}})

    items, version = serve(script).cluster.list_all("/api/v1/pods")
    assert (items, version) == ([{"n": 1}, {"n": 2}], "9")


def test_a_page_is_asked_for_when_the_one_before_is_used_up(serve: Serve) -> None:
    def script(exchange: Exchange) -> None:
        assert exchange.query["limit"] == ["2"]
        last = "continue" in exchange.query
        answer(exchange, {"items": [{}, {}], "metadata": {} if last else {"continue": "next page"}})

    served = serve(script)
    objects = served.cluster.each(WORKFLOWS.path(""), page=2)
    next(objects), next(objects)
    assert len(served.server.requests) == 1
    assert len(list(objects)) == 2
    paths = {path.partition("?")[0] for path in served.server.asked("GET")}
    assert paths == {"/apis/argoproj.io/v1alpha1/workflows"}


def test_an_object_is_deleted_only_as_it_was_read(serve: Serve) -> None:
    sent: list[Any] = []

    def script(exchange: Exchange) -> None:
        sent.append(json.loads(exchange.body()))
        refuse(exchange, 409, "Conflict", "the ResourceVersion in the precondition (5) does not match")

    path = WORKFLOWS.path("models", "x")
    with pytest.raises(errors.ConflictError):
        serve(script).cluster.delete(path, only={"uid": "u", "resourceVersion": "5"})
    assert [each["preconditions"] for each in sent] == [{"uid": "u", "resourceVersion": "5"}]


def test_who_is_in_a_hurry_asks_once_and_does_not_wait(serve: Serve) -> None:
    def script(exchange: Exchange) -> None:
        if exchange.path_only.endswith("slow"):
            time.sleep(2)
        refuse(exchange, 503, "Busy", "no leader")

    served = serve(script)
    hurried = served.cluster.hurried(0.2)
    started = time.monotonic()
    for path in ("/busy", "/slow"):
        with pytest.raises(errors.ClusterUnreachableError):
            hurried.get(path)
    assert time.monotonic() - started < 1.5
    assert len(served.server.requests) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(serve: Serve, status: int) -> None:
    refused = []

    def script(exchange: Exchange) -> None:
        if len(refused) < 3:
            refused.append(refuse(exchange, status, "Busy", "etcd leader changed"))
        else:
            answer(exchange, {"ok": True})

    assert serve(script).cluster.get("/api/v1/pods") == {"ok": True}


def test_a_server_that_stays_busy_is_a_temporary_failure(serve: Serve) -> None:
    served = serve(lambda exchange: refuse(exchange, 503, "Busy", "no leader"))
    with pytest.raises(errors.ClusterUnreachableError, match="503: no leader") as caught:
        served.cluster.get("/api/v1/pods")
    assert caught.value.exit_code == 75
    assert len(served.server.requests) == 4


def test_a_server_that_is_not_there_is_a_temporary_failure(
    kubeconfig: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klever.workflows.argo.client._FIRST_WAIT_SECONDS", 0.01)
    kubeconfig(f"http://127.0.0.1:{free_port()}")
    with connect() as cluster, pytest.raises(errors.ClusterUnreachableError, match="Connection refused"):
        cluster.get("/api/v1/pods")


@pytest.mark.parametrize(
    ("code", "reason", "message", "details", "error", "cause"),
    [
        (401, "Unauthorized", "Unauthorized", {}, errors.ClusterUnauthorizedError, "does not accept the credentials"),
        (403, "Forbidden", FORBIDDEN, {}, errors.ForbiddenError, "ada may not create workflows.argoproj.io in namespace models"),
        (403, "Forbidden", "exceeded quota: small", {}, errors.ForbiddenError, "the cluster forbids this: exceeded quota: small"),
        (404, "NotFound", 'workflows "x" not found', {"name": "x"}, errors.ClusterObjectMissingError, 'workflows "x" not found'),
        (409, "AlreadyExists", "taken", {}, errors.NameTakenError, "taken"),
        (409, "Conflict", "modified", {}, errors.ConflictError, "modified"),
        (410, "Expired", "too old", {}, errors.ExpiredError, "too old"),
        (422, "Invalid", "spec.templates: Required value", {}, errors.InvalidWorkflowError, "spec.templates: Required value"),
        (418, "Teapot", "short and stout", {}, errors.RefusedError, "418: short and stout"),
    ],
)  # fmt: skip
def test_each_refusal_is_an_error_of_its_own_that_is_not_tried_again(
    serve: Serve, code: int, reason: str, message: str, details: dict[str, str], error: type[KleverError], cause: str
) -> None:
    served = serve(lambda exchange: refuse(exchange, code, reason, message, **details))
    with pytest.raises(error) as caught:
        served.cluster.create(WORKFLOWS.path("models"), {})
    assert cause in caught.value.cause
    assert len(served.server.requests) == 1


def test_the_right_that_is_missing_is_named_for_whoever_can_give_it(serve: Serve) -> None:
    served = serve(lambda exchange: refuse(exchange, 403, "Forbidden", FORBIDDEN))
    with pytest.raises(errors.ForbiddenError) as caught:
        served.cluster.create(WORKFLOWS.path("models"), {})
    assert caught.value.next_step.endswith("the right to create workflows.argoproj.io in namespace models")


def test_a_cluster_without_argo_is_told_from_a_workflow_that_is_not_there(serve: Serve) -> None:
    served = serve(lambda exchange: exchange.reply(404, b"404 page not found\n"))
    with pytest.raises(errors.ArgoMissingError):
        served.cluster.get(WORKFLOWS.path("models", "x"))
    with pytest.raises(errors.ClusterObjectMissingError):
        served.cluster.get(PODS.path("models", "x"))


def test_something_that_is_no_api_server_is_told(serve: Serve) -> None:
    served = serve(lambda exchange: exchange.reply(200, b"<html>Welcome to nginx</html>"))
    with pytest.raises(errors.NoClusterError, match="does not answer as a Kubernetes API server"):
        served.cluster.get("/api/v1/pods")


def test_a_redirect_is_not_followed_with_the_token(serve: Serve) -> None:
    served = serve(lambda exchange: exchange.reply(302, b"", {"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(errors.RefusedError, match="302"):
        served.cluster.get("/api/v1/pods")


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    assert PODS.path("a/b", "../x", "log") == "/api/v1/namespaces/a%2Fb/pods/..%2Fx/log"


def test_lines_come_as_they_are_sent_and_long_ones_in_pieces(serve: Serve) -> None:
    body = b"one\n" + b"x" * 25 + b"\n\nlast"
    served = serve(lambda exchange: exchange.reply(200, body))
    stream = served.cluster.stream("/log", {}, silence_seconds=5)
    assert list(stream.lines(10)) == [b"one", b"x" * 10, b"x" * 10, b"x" * 5, b"", b"last"]


def test_a_connection_that_breaks_is_no_end(serve: Serve) -> None:
    def script(exchange: Exchange) -> None:
        exchange.begin(200, 100)
        exchange.wfile.write(b"one\ntw")
        exchange.reset()

    stream = serve(script).cluster.stream("/log", {}, silence_seconds=5)
    lines = stream.lines(100)
    with pytest.raises(errors.ClusterUnreachableError):  # noqa: PT012 - what came before it counts as well
        while True:
            next(lines)
