"""One call submits a workflow and returns its end."""

import json
from typing import Any

from fakes import Exchange

from klever.workflows.argo.runner import run
from klever.workflows.status import Phase

from .conftest import Serve, answer, events

DOCUMENT = {
    "kind": "Workflow",
    "metadata": {"generateName": "w-"},
    "spec": {"arguments": {"parameters": [{"name": "who"}]}},
}


def test_a_document_is_submitted_and_its_end_returned_with_every_state_before(serve: Serve) -> None:
    created: list[dict[str, Any]] = []

    def state(phase: str, version: int) -> dict[str, Any]:
        metadata = {**created[0]["metadata"], "uid": "u", "resourceVersion": str(version)}
        return {**created[0], "metadata": metadata, "status": {"phase": phase}}

    def script(exchange: Exchange) -> None:
        if exchange.command == "POST":
            created.append(json.loads(exchange.body()))
            answer(exchange, state("", 1))
        elif "watch" in exchange.query:
            changes = (("Running", 2), ("Succeeded", 3))
            events(exchange, *({"type": "MODIFIED", "object": state(*change)} for change in changes))
        elif exchange.path_only.endswith("/workflows"):
            answer(exchange, {"items": [state("", 1)], "metadata": {"resourceVersion": "1"}})
        else:
            answer(exchange, state("", 1))

    seen: list[Phase] = []
    served = serve(script)
    finished = run(DOCUMENT, {"who": "Ada"}, cluster=served.cluster, watch=lambda each: seen.append(each.phase))
    assert finished.phase is Phase.SUCCEEDED
    assert finished.name == created[0]["metadata"]["name"]
    assert finished.namespace == "models"
    assert seen == [Phase.PENDING, Phase.RUNNING, Phase.SUCCEEDED]
    assert created[0]["spec"]["arguments"]["parameters"] == [{"name": "who", "value": "Ada"}]
