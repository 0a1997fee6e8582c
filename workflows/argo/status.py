"""Read a Workflow's ``status`` as the API server gives it into a `Run`.

Large ones are compressed or kept in the controller's database (Argo's packer and hydrator). What does not belong here:
how the document is got, and what a message means.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from klever.workflows.argo.errors import UnreadableStatusError
from klever.workflows.arguments import plain
from klever.workflows.manifest import Document
from klever.workflows.status import Kind, Node, Phase, Run

#: The most that compressed nodes may hold. etcd takes 1.5 MB an object, and nodes shrink to a twentieth.
_MAX_NODES_BYTES: Final = 256 << 20
#: What Argo takes as the most for a whole workflow before it compresses (packer.go).
_MAX_WORKFLOW_BYTES: Final = 1 << 20


def parse_run(workflow: Document) -> Run:
    """Return what a Workflow's document tells of its run.

    Raises `UnreadableStatusError` where its nodes are kept elsewhere or are not what they have to be.
    """
    metadata = workflow.get("metadata") or {}
    status = workflow.get("status") or {}
    try:
        nodes = {str(key): _node(str(key), value) for key, value in read_nodes(workflow).items()}
        return Run(
            name=str(metadata.get("name", "")),
            namespace=str(metadata.get("namespace", "")),
            phase=_phase(status.get("phase")),
            message=str(status.get("message") or ""),
            nodes=nodes,
            outputs=_parameters(status.get("outputs") or {}) or _root_outputs(nodes, str(metadata.get("name", ""))),
            started=_time(status.get("startedAt")),
            finished=_time(status.get("finishedAt")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableStatusError(
            f"the status of workflow {metadata.get('name', '?')} is not as Argo writes it", stage="status"
        ) from error


def is_offloaded(workflow: Document) -> bool:
    """Return whether the nodes are in the controller's database and not in the document."""
    return bool((workflow.get("status") or {}).get("offloadNodeStatusVersion"))


def read_nodes(workflow: Document) -> dict[str, Any]:
    """Return ``status.nodes``, also where they are compressed."""
    status = workflow.get("status") or {}
    nodes = status.get("nodes")
    if nodes:
        return dict(nodes)
    packed = status.get("compressedNodes")
    if packed:
        return _unpacked(str(packed))
    if is_offloaded(workflow):
        raise UnreadableStatusError(
            f"the nodes of workflow {workflow['metadata'].get('name')} are in the database of Argo's controller",
            stage="status",
            next_step="set ARGO_SERVER to the address of the Argo server, which can read them",
        )
    return {}


def write_nodes(workflow: Document, nodes: Mapping[str, Any]) -> None:
    """Put nodes into a Workflow's status, compressed where the whole would be too large for etcd."""
    status = workflow["status"]
    status.pop("compressedNodes", None)
    status["nodes"] = dict(nodes)
    if len(json.dumps(workflow, separators=(",", ":"))) <= _MAX_WORKFLOW_BYTES:
        return
    text = json.dumps(status.pop("nodes"), separators=(",", ":")).encode()
    packer = zlib.compressobj(wbits=31)
    status["compressedNodes"] = base64.b64encode(packer.compress(text) + packer.flush()).decode()


def _unpacked(text: str) -> dict[str, Any]:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain_text = unpacker.decompress(base64.b64decode(text, validate=True), _MAX_NODES_BYTES)
        if not unpacker.eof:
            raise UnreadableStatusError(
                "the compressed nodes of the workflow are cut short or too large", stage="status"
            )
        nodes = json.loads(plain_text)
    except (zlib.error, ValueError) as error:
        raise UnreadableStatusError("the compressed nodes of the workflow cannot be read", stage="status") from error
    if not isinstance(nodes, dict):
        raise UnreadableStatusError("the compressed nodes of the workflow are no mapping", stage="status")
    return nodes


def _node(key: str, node: Mapping[str, Any]) -> Node:
    outputs = node.get("outputs") or {}
    reference = node.get("templateRef") or {}
    code = outputs.get("exitCode")
    return Node(
        id=str(node.get("id", key)),
        name=str(node["name"]),
        display_name=str(node.get("displayName") or node["name"]),
        kind=_kind(node.get("type")),
        phase=_phase(node.get("phase")),
        message=str(node.get("message") or ""),
        template=str(node.get("templateName") or reference.get("template") or ""),
        boundary=str(node.get("boundaryID") or ""),
        children=[str(child) for child in node.get("children") or ()],
        inputs=_parameters(node.get("inputs") or {}),
        outputs=_parameters(outputs),
        result=None if outputs.get("result") is None else str(outputs["result"]),
        exit_code=None if code in (None, "") else int(code),
        progress=str(node.get("progress") or ""),
        started=_time(node.get("startedAt")),
        finished=_time(node.get("finishedAt")),
    )


def _phase(text: Any) -> Phase:
    # The controller has not taken it up yet: "" (WorkflowUnknown).
    return Phase(text) if text else Phase.PENDING


def _kind(text: Any) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        # A newer Argo's; whatever it is, it is something that runs.
        return Kind.POD


def _parameters(section: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(each["name"]): plain(each["value"])
        for each in section.get("parameters") or ()
        if each.get("value") is not None
    }


def _root_outputs(nodes: Mapping[str, Node], name: str) -> dict[str, str]:
    return next((dict(node.outputs) for node in nodes.values() if node.name == name), {})


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
