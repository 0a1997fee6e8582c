"""Ask a server for predictions in the Open Inference Protocol's JSON: requests are built here, and replies parsed.

    >>> request = build_request([Values("x", "FP32", (1, 2), [0.5, 1.5])])
    >>> parse_reply({"outputs": [{"name": "y", "datatype": "INT64", "shape": [1], "data": [7]}]})
    [Values(name='y', datatype='INT64', shape=(1,), data=[7])]

Values are flat lists in row-major order, as the protocol has them. What does not belong here: connections, and arrays.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from klever.steps.errors import ServingError
from klever.steps.model.signature import Signature, Tensor
from klever.steps.serving.datatypes import datatype_of

#: The most values that an example has: what a smoke test needs, and no server's limit on a request.
_MAX_EXAMPLE_VALUES: Final = 4_000_000
_INTEGERS: Final = frozenset({"UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"})
_FLOATS: Final = frozenset({"FP16", "BF16", "FP32", "FP64"})
Value = bool | int | float | str


@dataclass(frozen=True)
class Values:
    """One tensor of a request or a reply."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    #: In row-major order; as many as the shape says.
    data: Sequence[Value]

    def to_json(self) -> dict[str, Any]:
        """Return what stands for it in a request and in a reply."""
        return {"name": self.name, "shape": list(self.shape), "datatype": self.datatype, "data": list(self.data)}


class ReplyError(ServingError):
    """What a server answers is no reply of the protocol, or not what the model's signature promises."""

    usual_step = "see the server's log"


def infer_path(name: str) -> str:
    """Return the path to which requests for a model are posted."""
    return f"/v2/models/{name}/infer"


def build_request(inputs: Iterable[Values], outputs: Iterable[str] = ()) -> dict[str, Any]:
    """Return the body of a request, for the outputs of these names; for all where none is named."""
    request: dict[str, Any] = {"inputs": [each.to_json() for each in inputs]}
    if names := list(outputs):
        request["outputs"] = [{"name": name} for name in names]
    return request


def parse_reply(document: object) -> list[Values]:
    """Return the outputs of a reply; raises `ReplyError` for one that is none, or that tells of an error."""
    if isinstance(document, Mapping) and isinstance(document.get("error"), str):
        raise ReplyError(f"the server answers: {document['error'][:500]}")
    outputs = document.get("outputs") if isinstance(document, Mapping) else None
    if not isinstance(outputs, list):
        raise ReplyError("the server's answer has no list of outputs")
    return [_parse_output(each) for each in outputs]


def check_reply(outputs: Sequence[Values], signature: Signature) -> None:
    """Raise `ReplyError` unless the outputs are those of the signature: names, types and the sizes that are known."""
    promised = {tensor.name: tensor for tensor in signature.outputs or ()}
    found = {each.name: each for each in outputs}
    if lacking := [name for name in promised if name not in found]:
        raise ReplyError(f"the output {lacking[0]!r} is lacking; got {', '.join(map(repr, found)) or 'none'}")
    for name, tensor in promised.items():
        got = found[name]
        expected = datatype_of(tensor.dtype)
        if expected and got.datatype != expected:
            raise ReplyError(f"the output {name!r} is {got.datatype}, expected {expected}")
        if tensor.shape is not None and not _fits(got.shape, tensor.shape):
            raise ReplyError(f"the output {name!r} has the shape {list(got.shape)}, expected {list(tensor.shape)}")
        if got.datatype in _FLOATS and any(math.isnan(value) for value in got.data if isinstance(value, float)):
            raise ReplyError(f"the output {name!r} holds what is not a number (NaN)")


def example_inputs(signature: Signature, *, batch: int = 1, seed: int = 0) -> list[Values]:
    """Return inputs that a model of this signature takes: dynamic sizes are ``batch`` first and 1 elsewhere.

    Numbers lie from 0 to 1, whole ones are 0 or 1: valid as an index, a mask or a length. The same ``seed`` gives the
    same values. Raises `ServingError` where a type or a shape is unknown, or the example would be too large.
    """
    source = random.Random(seed)  # noqa: S311 - examples, no secrets
    return [_example(tensor, batch, source) for tensor in signature.inputs or ()]


def _example(tensor: Tensor, batch: int, source: random.Random) -> Values:
    datatype = datatype_of(tensor.dtype)
    if datatype is None or tensor.shape is None:
        what = "type" if datatype is None else "shape"
        raise ServingError(
            f"the {what} of the input {tensor.name!r} is unknown",
            next_step="tell it in ormbfile.yaml, or give an input",
        )
    shape = tuple(size if size >= 0 else (1 if index else batch) for index, size in enumerate(tensor.shape))
    count = math.prod(shape)
    if count > _MAX_EXAMPLE_VALUES:
        raise ServingError(f"an example of the input {tensor.name!r} has {count} values", next_step="give an input")
    return Values(tensor.name, datatype, shape, [_random_value(datatype, source) for _ in range(count)])


def _random_value(datatype: str, source: random.Random) -> Value:
    if datatype == "BOOL":
        return source.random() < 0.5
    if datatype in _INTEGERS:
        return source.randrange(2)
    if datatype in _FLOATS:
        # Few digits: what JSON carries is what every type but the shortest holds.
        return round(source.random(), 4)
    return f"text {source.randrange(100)}"


def _parse_output(document: object) -> Values:
    if not isinstance(document, Mapping):
        raise ReplyError("the server's answer has an output that is no object")
    name, datatype, shape = (document.get(key) for key in ("name", "datatype", "shape"))
    data = _flat(document.get("data"))
    if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
        raise ReplyError("the server's answer has an output without name, datatype or shape")
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ReplyError(f"the output {name!r} has a shape that is none")
    if len(data) != math.prod(shape):
        raise ReplyError(f"the output {name!r} has {len(data)} values, expected {math.prod(shape)} for {shape}")
    return Values(name, datatype, tuple(shape), data)


def _flat(data: object) -> list[Value]:
    """Return values of a list that may be nested, which the protocol allows."""
    if not isinstance(data, list):
        raise ReplyError("the server's answer has an output without a list of data")
    if not any(isinstance(each, list) for each in data):
        return data
    return [value for each in data for value in _flat(each)]


def _fits(got: tuple[int, ...], promised: tuple[int, ...]) -> bool:
    return len(got) == len(promised) and all(size in (-1, there) for there, size in zip(got, promised, strict=True))
