"""Ask a server for predictions in OpenScoring's JSON: requests are built here, and replies parsed.

    >>> build_request({"petal_length": 1.4}, id="record-1")
    {'id': 'record-1', 'arguments': {'petal_length': 1.4}}
    >>> parse_reply({"id": "record-1", "results": {"species": "setosa"}})
    {'species': 'setosa'}

A request is one record: values by field. What does not belong here: connections, and what PMML computes.
"""

import math
import random
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from klever.steps.errors import ServingError
from klever.steps.model.signature import Signature, Tensor
from klever.steps.serving.v2 import ReplyError

#: A field's value; None is PMML's missing value.
Value = bool | int | float | str | None
#: An interval as a signature spells it: ``[4.3, 7.9]``, ``(-∞, 5)``.
_INTERVAL: Final = re.compile(r"([\[(])\s*([^,]+?)\s*,\s*([^,]+?)\s*([\])])")
#: An example where a type is no number: a value that every reader of the type takes (PMML 4.4, "dataType").
_EXAMPLES: Final = MappingProxyType(
    {
        "date": "2020-02-03",
        "time": "04:05:06",
        "dateTime": "2020-02-03T04:05:06",
    }
)
#: Types that count from something on, in whole numbers: ``dateDaysSince[1970]``, ``timeSeconds``.
_COUNTED: Final = re.compile(r"date(Time)?(Days|Seconds)Since.*|timeSeconds", re.ASCII)


def model_path(name: str) -> str:
    """Return the path that shows a model's schema, and to which requests are posted."""
    return f"/openscoring/model/{name}"


def build_request(arguments: Mapping[str, Value], *, id: str | None = None) -> dict[str, Any]:  # noqa: A002 - its name
    """Return the body of a request for one record.

    Raises `ServingError` for a number that JSON has not (NaN, infinities): leave such a field out, which means missing.
    """
    for name, value in arguments.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ServingError(
                f"the value of {name[:80]!r} is {value}, which JSON has not",
                next_step="leave the field out where its value is missing",
            )
    request: dict[str, Any] = {} if id is None else {"id": id}
    return {**request, "arguments": dict(arguments)}


def parse_reply(document: object) -> dict[str, Any]:
    """Return the results by field; raises `ReplyError` for a reply that is none, or that tells of an error.

    ``result``, which OpenScoring 1 writes, is taken for ``results``.
    """
    if not isinstance(document, Mapping):
        raise ReplyError("the server's answer is no JSON object")
    if isinstance(document.get("message"), str):
        raise ReplyError(f"the server answers: {document['message'][:500]}")
    results = document.get("results", document.get("result"))
    if not isinstance(results, Mapping):
        raise ReplyError("the server's answer has no results")
    return {str(name): value for name, value in results.items()}


def check_reply(results: Mapping[str, Any], signature: Signature) -> None:
    """Raise `ReplyError` unless every output of the signature is there, of its type and one of its values.

    A result that is None passes: PMML allows an unknown result for inputs that it cannot judge.
    """
    for tensor in signature.outputs or ():
        if tensor.name not in results:
            found = ", ".join(map(repr, results)) or "none"
            raise ReplyError(f"the output {tensor.name!r} is lacking; got {found[:500]}")
        if (fault := _fault(tensor, results[tensor.name])) is not None:
            raise ReplyError(f"the output {tensor.name!r} is {fault}")


def example_arguments(signature: Signature, *, seed: int = 0) -> dict[str, Value]:
    """Return a record that a model of this signature takes: one of the values, or within the interval, of each field.

    Other numbers lie from 0 to 1, whole ones are 0 or 1. The same ``seed`` gives the same record.
    """
    source = random.Random(seed)  # noqa: S311 - examples, no secrets
    return {tensor.name: _example(tensor, source) for tensor in signature.inputs or ()}


def _example(tensor: Tensor, source: random.Random) -> Value:
    listed = tensor.values or ()
    intervals = [found for text in listed if (found := _interval(tensor, text)) is not None]
    if intervals:
        return _within(*source.choice(intervals), tensor.dtype, source)
    if listed:
        return _typed(source.choice(listed), tensor.dtype)
    match tensor.dtype:
        case "boolean":
            return source.random() < 0.5
        case "integer":
            return source.randrange(2)
        case "float" | "double":
            return round(source.random(), 4)
        case str() as dtype if _COUNTED.fullmatch(dtype):
            return source.randrange(2)
        case str() as dtype if dtype in _EXAMPLES:
            return _EXAMPLES[dtype]
    return round(source.random(), 4) if tensor.op_type == "continuous" else f"text {source.randrange(100)}"


def _interval(tensor: Tensor, text: object) -> tuple[float, float, bool] | None:
    """Return the bounds of an interval, and whether the lower one belongs to it; None for what is a plain value."""
    if tensor.op_type not in (None, "continuous") or not isinstance(text, str):
        return None
    if (found := _INTERVAL.fullmatch(text)) is None:
        return None
    opening, left, right, _closing = found.groups()
    try:
        bounds = tuple(float(bound.replace("∞", "inf")) for bound in (left, right))
    except ValueError:
        return None
    return bounds[0], bounds[1], opening == "["


def _within(low: float, high: float, closed: bool, dtype: str | None, source: random.Random) -> Value:
    if math.isinf(low):
        low = high - 1 if math.isfinite(high) else 0.0
        closed = False
    if math.isinf(high):
        high = low + 1
        if dtype == "integer":
            high += 1
    if dtype == "integer":
        whole = [math.ceil(low), math.floor(low) + 1]
        # The middle is within where any whole number is, but for the ends.
        middle = math.floor((low + high) / 2)
        if low < middle < high:
            return middle
        return whole[0] if closed else whole[1]
    part = source.uniform(0.25, 0.75)
    return low + (high - low) * part if high > low else low


def _typed(value: object, dtype: str | None) -> Value:
    """Return one of a signature's values, which are texts as a rule, as JSON has its type."""
    if dtype == "boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if isinstance(value, bool | int | float):
        return value
    text = str(value)
    try:
        if dtype == "integer":
            return int(text)
        if dtype in ("float", "double") and math.isfinite(float(text)):
            return float(text)
    except ValueError:
        pass
    return text


def _fault(tensor: Tensor, got: object) -> str | None:
    """Return what is wrong with a result; None for one that is as promised."""
    if got is None:
        return None
    numeric = isinstance(got, int | float) and not isinstance(got, bool)
    if tensor.dtype in ("integer", "float", "double"):
        if got == "NaN" or (isinstance(got, float) and math.isnan(got)):
            return "not a number (NaN)"
        if not numeric:
            return f"{type(got).__name__}, expected {tensor.dtype}"
    elif tensor.dtype == "boolean" and not isinstance(got, bool):
        return f"{type(got).__name__}, expected boolean"
    elif tensor.dtype == "string" and not isinstance(got, str):
        return f"{type(got).__name__}, expected string"
    if tensor.op_type in ("categorical", "ordinal") and tensor.values:
        known = {_typed(value, tensor.dtype) for value in tensor.values}
        if got not in known:
            return f"{str(got)[:80]!r}, which is none of its values"
    return None
