"""Inputs that a person gives, as the protocol's values: JSON lists by name, a request as it is, or arrays of numpy.

    >>> from klever.steps.model.signature import Tensor
    >>> signature = Signature(inputs=(Tensor(name="x", dtype="float32", shape=(-1, 2)),))
    >>> parse_inputs({"x": [[1, 2], [3, 4]]}, signature)
    [Values(name='x', datatype='FP32', shape=(2, 2), data=[1, 2, 3, 4])]

What does not belong here: reading files.
"""

from collections.abc import Mapping
from typing import Any

from klever.steps.errors import ServingError
from klever.steps.model.signature import Signature
from klever.steps.serving.datatypes import datatype_of
from klever.steps.serving.v2 import Value, Values

_FORM = (
    'write {"NAME": [[...]], ...} with nested lists, or a request {"inputs": [{"name", "shape", "datatype", "data"}]}'
)


def parse_inputs(document: object, signature: Signature) -> list[Values]:
    """Return the inputs of a JSON document; raises `ServingError` where they are not those of the signature."""
    if not isinstance(document, Mapping):
        raise ServingError("the input is no JSON object", next_step=_FORM)
    types = {tensor.name: datatype_of(tensor.dtype) for tensor in signature.inputs or ()}
    listed = document.get("inputs")
    if isinstance(listed, list) and "inputs" not in types:
        given = [_of_request(each) for each in listed]
    else:
        given = [_of_lists(str(name), value, types.get(str(name))) for name, value in document.items()]
    _check_names([each.name for each in given], signature)
    return given


def values_of_arrays(arrays: Mapping[str, Any], signature: Signature) -> list[Values]:
    """Return the inputs of numpy's arrays by name; raises `ServingError` where they are not those of the signature."""
    given = []
    for name, array in arrays.items():
        text = array.dtype.kind in "USO"
        datatype = "BYTES" if text else datatype_of(array.dtype.name)
        if datatype is None:
            raise ServingError(f"the input {name!r} is of numpy's type {array.dtype}, which the protocol has not")
        data = array.ravel().tolist()
        if text:
            data = [value.decode() if isinstance(value, bytes) else str(value) for value in data]
        given.append(Values(name, datatype, tuple(array.shape), data))
    _check_names([each.name for each in given], signature)
    return given


def _check_names(given: list[str], signature: Signature) -> None:
    wanted = [tensor.name for tensor in signature.inputs or ()]
    if not wanted:
        return
    if strange := [name for name in given if name not in wanted]:
        raise ServingError(
            f"the model has no input {strange[0][:80]!r}",
            next_step=f"its inputs are {', '.join(map(repr, wanted[:20]))}",
        )


def _of_request(document: object) -> Values:
    if not isinstance(document, Mapping) or not {"name", "shape", "datatype", "data"} <= document.keys():
        raise ServingError("an input has not name, shape, datatype and data", next_step=_FORM)
    name, shape, data = str(document["name"]), document["shape"], document["data"]
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ServingError(f"the shape of the input {name[:80]!r} is no list of sizes", next_step=_FORM)
    _, flat = _flattened(name, data)
    return Values(name, str(document["datatype"]), tuple(shape), flat)


def _of_lists(name: str, value: object, datatype: str | None) -> Values:
    shape, data = _flattened(name, value)
    return Values(name, datatype or _guessed(data), shape, data)


def _guessed(data: list[Value]) -> str:
    """Return a type for values of which the signature does not tell any."""
    kinds = {type(value) for value in data}
    if kinds <= {bool}:
        return "BOOL"
    if kinds <= {int}:
        return "INT64"
    return "FP32" if kinds <= {int, float} else "BYTES"


def _flattened(name: str, value: object) -> tuple[tuple[int, ...], list[Value]]:
    """Return shape and values of nested lists; raises `ServingError` where their lengths differ."""
    if not isinstance(value, list):
        if not isinstance(value, bool | int | float | str):
            raise ServingError(f"the input {name[:80]!r} holds what is neither number nor text", next_step=_FORM)
        return (), [value]
    parts = [_flattened(name, each) for each in value]
    shapes = {shape for shape, _ in parts}
    if len(shapes) > 1:
        raise ServingError(f"the input {name[:80]!r} has lists of different lengths", next_step=_FORM)
    return (len(value), *(shapes.pop() if shapes else ())), [each for _, data in parts for each in data]
