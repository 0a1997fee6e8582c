"""A workflow is followed to its end over a server that ends watches, forgets versions, breaks and restarts."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes import Exchange, Script

from klever.workflows.argo import errors
from klever.workflows.argo.client import WORKFLOWS
from klever.workflows.argo.watch import Change, Watch, follow, wait
from klever.workflows.status import Phase, Run

from .conftest import Serve, answer, events, refuse


def workflow(version: int, phase: str = "Running", uid: str = "u1", **status: Any) -> dict[str, Any]:
    metadata = {"name": "w", "namespace": "models", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "status": {"phase": phase, **status} if phase else {}}


def changed(version: int, phase: str = "Running", kind: str = "MODIFIED") -> dict[str, Any]:
    return {"type": kind, "object": workflow(version, phase)}


def listing(version: int, *objects: dict[str, Any]) -> dict[str, Any]:
    return {"items": list(objects), "metadata": {"resourceVersion": str(version)}}


def script(*watches: Callable[[Exchange], None], lists: Iterator[dict[str, Any]] | None = None) -> Script:
    """Answer lists with a workflow of version 1 or in turn by ``lists``, and watches in turn."""
    answers = iter(watches)

    def serve_one(exchange: Exchange) -> None:
        if "watch" in exchange.query:
            next(answers)(exchange)
        elif exchange.path_only.endswith("/workflows/w"):
            answer(exchange, workflow(1))
        else:
            answer(exchange, listing(1, workflow(1)) if lists is None else next(lists))

    return serve_one


def versions(served: Any) -> list[str]:
    """Return the versions from which watches were opened."""
    paths = [path for path in served.server.asked("GET") if "watch=true" in path]
    return [path.partition("resourceVersion=")[2].partition("&")[0] for path in paths]


def test_the_first_state_and_every_change_are_given_until_the_end(serve: Serve) -> None:
    served = serve(script(lambda exchange: events(exchange, changed(2), changed(3, "Succeeded"))))
    assert [run.phase for run in follow(served.cluster, "w")] == [Phase.RUNNING, Phase.RUNNING, Phase.SUCCEEDED]
    assert versions(served) == ["1"]


def test_nothing_is_asked_again_while_nothing_happens(serve: Serve) -> None:
    waiting = threading.Event()

    def watch(exchange: Exchange) -> None:
        waiting.wait(0.5)
        events(exchange, changed(2, "Succeeded"))

    served = serve(script(watch))
    wait(served.cluster, "w")
    assert len(served.server.requests) == 3  # is it there, the list, the watch


def test_a_watch_that_ends_is_opened_again_from_the_last_version(serve: Serve) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}
    served = serve(
        script(
            lambda exchange: events(exchange, changed(2), bookmark),
            events,
            lambda exchange: events(exchange, changed(9, "Failed")),
        )
    )
    assert wait(served.cluster, "w").phase is Phase.FAILED
    assert versions(served) == ["1", "7", "7"]


@pytest.mark.parametrize(
    "broken",
    [
        lambda exchange: exchange.reset(),
        lambda exchange: events(exchange, cut=b'{"type": "MODIFIED", "obj'),
        lambda exchange: events(exchange, {"type": "MODIFIED"}),
        lambda exchange: refuse(exchange, 503, "Busy", "starting"),
        lambda exchange: refuse(exchange, 429, "Busy", "too many"),
        lambda exchange: exchange.reply(200, b"not json\n"),
    ],
    ids=["reset", "cut", "half", "503", "429", "garbage"],
)
def test_a_broken_watch_is_taken_up_where_it_was(serve: Serve, broken: Callable[[Exchange], None]) -> None:
    served = serve(script(broken, broken, lambda exchange: events(exchange, changed(2, "Succeeded"))))
    assert wait(served.cluster, "w").phase is Phase.SUCCEEDED
    assert versions(served) == ["1", "1", "1"]


@pytest.mark.parametrize(
    "expired",
    [
        lambda exchange: events(exchange, {"type": "ERROR", "object": {"code": 410, "message": "too old"}}),
        lambda exchange: refuse(exchange, 410, "Expired", "too old resource version"),
    ],
    ids=["event", "answer"],
)
def test_a_version_that_is_too_old_leads_to_a_new_list(serve: Serve, expired: Callable[[Exchange], None]) -> None:
    lists = iter([listing(1, workflow(1)), listing(50, workflow(49, "Failed"))])
    served = serve(script(expired, lists=lists))
    assert wait(served.cluster, "w").phase is Phase.FAILED


def test_a_workflow_that_is_not_there_is_told_at_once(serve: Serve) -> None:
    served = serve(lambda exchange: refuse(exchange, 404, "NotFound", "not found", name="w"))
    with pytest.raises(errors.WorkflowMissingError, match="namespace models has no workflow w"):
        wait(served.cluster, "w")


def test_a_workflow_that_is_deleted_ends_the_waiting(serve: Serve) -> None:
    served = serve(script(lambda exchange: events(exchange, changed(2, kind="DELETED"))))
    with pytest.raises(errors.WorkflowDeletedError):
        wait(served.cluster, "w")


def test_a_workflow_deleted_while_nothing_was_heard_is_noticed_by_the_new_list(serve: Serve) -> None:
    served = serve(
        script(
            lambda exchange: refuse(exchange, 410, "Expired", "too old"),
            lists=iter([listing(1, workflow(1)), listing(50)]),
        )
    )
    with pytest.raises(errors.WorkflowDeletedError):
        wait(served.cluster, "w")


def test_another_workflow_of_the_same_name_is_not_taken_for_it(serve: Serve) -> None:
    lists = iter([listing(1, workflow(1)), listing(50, workflow(50, "Succeeded", uid="u2"))])
    served = serve(script(lambda exchange: refuse(exchange, 410, "Expired", "too old"), lists=lists))
    with pytest.raises(errors.WorkflowDeletedError):
        wait(served.cluster, "w")


def test_a_server_that_stays_away_is_a_temporary_failure(serve: Serve) -> None:
    def away(exchange: Exchange) -> None:
        refuse(exchange, 503, "Busy", "gone")

    served = serve(script(*[away] * 1000))
    with pytest.raises(errors.ClusterUnreachableError):
        list(follow(served.cluster, "w", patience_seconds=0.2))


def test_a_workflow_that_no_controller_takes_up_is_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klever.workflows.argo.watch._TAKEN_UP_SECONDS", 1)
    untouched = listing(1, workflow(1, phase=""))
    served = serve(
        script(
            events,
            lambda exchange: events(exchange, changed(2, "Succeeded")),
            lists=iter([untouched]),
        )
    )
    seen: list[tuple[Phase, str]] = []

    def note(run: Run) -> None:
        seen.append((run.phase, run.message))

    wait(served.cluster, "w", watch=note)
    assert seen[0] == (Phase.PENDING, "")
    assert "does it run, and does it watch this namespace?" in seen[1][1]
    assert seen[-1][0] is Phase.SUCCEEDED


def test_a_watch_of_many_tells_of_each_and_of_those_that_went_unseen(serve: Serve) -> None:
    def pod(name: str, version: int) -> dict[str, Any]:
        return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}

    lists = iter([listing(5, pod("a", 1), pod("b", 2)), listing(9, pod("b", 2), pod("c", 8))])
    served = serve(script(lambda exchange: refuse(exchange, 410, "Expired", "too old"), lists=lists))
    watch = Watch(served.cluster, WORKFLOWS.path("models"), {})
    seen = []
    for event in watch:
        assert event is not None
        seen.append((event.change, event.object["metadata"]["name"]))
        if len(seen) == 5:
            break
    assert seen == [
        (Change.THERE, "a"), (Change.THERE, "b"), (Change.GONE, "a"), (Change.THERE, "b"), (Change.THERE, "c")
    ]  # fmt: skip


def test_another_thread_ends_a_watch_that_waits(serve: Serve) -> None:
    hold = threading.Event()

    def silent(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Transfer-Encoding", "chunked")
        exchange.end_headers()
        exchange.wfile.flush()
        hold.wait(10)

    served = serve(script(silent))
    watch = Watch(served.cluster, WORKFLOWS.path("models"), {})
    reader = threading.Thread(target=lambda: list(watch), daemon=True)
    reader.start()
    while len(served.server.requests) < 2:
        pass
    watch.stop()
    reader.join(5)
    hold.set()
    assert not reader.is_alive()
