"""Make of a task with ``withItems``, ``withParam`` or ``withSequence`` one task an item (``processItem``).

What does not belong here: running them.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from klever.steps.errors import PermanentError
from klever.workflows.local.gojson import compact_json, read_json, split_json
from klever.workflows.local.gotext import as_text, dump_json
from klever.workflows.local.variables import everything, nothing, substitute
from klever.workflows.local.when import WhenError, should_execute

#: The fields that make a task a loop.
LOOPS: Final = ("withItems", "withParam", "withSequence")
#: Kubernetes refuses workflows of about this size; here it keeps a mistyped count from filling the memory.
MAX_ITEMS: Final = 100_000


class ItemsError(PermanentError):
    """A loop's items cannot be made."""

    usual_step = "check what the loop goes over"


def is_loop(task: Mapping[str, Any]) -> bool:
    """Say whether the task has items (``ShouldExpand``)."""
    return bool(task.get("withItems") or task.get("withParam") or task.get("withSequence") is not None)


def expand(task: Mapping[str, Any], variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tasks of a loop, named ``task(0:item)``; raises `ItemsError` and what substitution raises."""
    when = task.get("when") or ""
    try:
        items = _items(task)
    except ItemsError:
        if _runs(when) is not False:
            raise
        items = []
    body = {name: value for name, value in task.items() if name not in LOOPS}
    lenient = _runs(when) is False
    return [_task(body, index, item, variables, lenient=lenient) for index, item in enumerate(items)]


def _runs(when: str) -> bool | None:
    """Return what ``when`` says, None where it cannot be told before it has its item."""
    try:
        return should_execute(when)
    except WhenError:
        return None


def _items(task: Mapping[str, Any]) -> list[str]:
    """Return the items as the JSON texts they are: what is seen of one keeps the letters it was written with."""
    if task.get("withItems"):
        return [dump_json(item) for item in task["withItems"]]
    if text := task.get("withParam"):
        return _listed(text)
    return [dump_json(item) for item in _sequence(task["withSequence"])]


def _listed(text: str) -> list[str]:
    complaint = f"withParam value could not be parsed as a JSON list: {text.strip()}"
    try:
        value = read_json(text)
        # Go reads null as a list of nothing.
        items = split_json(compact_json(text)) if value is not None else []
    except ValueError as error:
        raise ItemsError(f"{complaint}: {error}") from error
    if not isinstance(items, list):
        raise ItemsError(
            f"{complaint}: json: cannot unmarshal {_json_kind(value)} into Go value of type []v1alpha1.Item"
        )
    if len(items) > MAX_ITEMS:
        raise ItemsError(f"withParam has {len(items)} items, more than {MAX_ITEMS}")
    return items


def _json_kind(value: Any) -> str:
    return {dict: "object", str: "string", bool: "bool"}.get(type(value), "number")


def _sequence(sequence: Mapping[str, Any]) -> list[str]:
    start = _number(sequence["start"]) if _is_set(sequence.get("start")) else 0
    if _is_set(sequence.get("end")):
        end = _number(sequence["end"])
    elif _is_set(sequence.get("count")):
        count = _number(sequence["count"])
        if count == 0:
            return []
        end = start + count - 1
    else:
        raise ItemsError("neither end nor count was specified in withSequence")
    if abs(end - start) >= MAX_ITEMS:
        raise ItemsError(f"withSequence has {abs(end - start) + 1} items, more than {MAX_ITEMS}")
    form = sequence.get("format") or "%d"
    numbers = range(start, end + 1) if start <= end else range(start, end - 1, -1)
    try:
        return [form % number for number in numbers]
    except (TypeError, ValueError) as error:
        raise ItemsError(f"withSequence.format {form!r} does not format a whole number: {error}") from error


def _is_set(value: Any) -> bool:
    return value is not None


def _number(value: Any) -> int:
    text = as_text(value)
    try:
        return int(text)
    except ValueError:
        raise ItemsError(f'strconv.Atoi: parsing "{text}": invalid syntax') from None


def _task(
    body: Mapping[str, Any], index: int, item: str, variables: Mapping[str, Any], *, lenient: bool
) -> dict[str, Any]:
    values = dict(variables)
    inside = split_json(item)
    if isinstance(inside, dict):
        shown = {key: _shown(inner) for key, inner in inside.items()}
        values.update({f"item.{key}": text for key, text in shown.items()})
        members = (f"{dump_json(key)}:{inner}" for key, inner in sorted(inside.items()))
        values["item"] = "{" + ",".join(members) + "}"
        description = ",".join(sorted(f"{key}:{text}" for key, text in shown.items()))
    elif item == "null" or inside is not None:
        values["item"] = item
        description = "[" + " ".join(_shown(inner) for inner in inside or []) + "]"
    else:
        description = _shown(item)
        values["item"] = json.loads(item) if item.startswith('"') else description
    if lenient:
        values = {name: value for name, value in values.items() if value is not None}
    made: dict[str, Any] = substitute(body, values, strict=nothing if lenient else everything, artifacts_later=False)
    clean = description.replace("(", "").replace(")", "")
    made["name"] = f"{body['name']}({index}:{clean})"
    if "template" in body:
        made["template"] = body["template"]
    return made


def _shown(item: str) -> str:
    """Return an item as ``%v`` of Argo's ``Item`` does: its JSON, a text's without the quotes around it."""
    shown = item.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&")
    return shown[1:-1] if item.startswith('"') else shown
