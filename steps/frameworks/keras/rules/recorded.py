"""``TensorFlowOpLayer`` of TensorFlow 1.15 to 2.3: a node of its graph, recorded with the inputs that are constant.

What does not belong here: the operations' own rules, which `operations` has for all ways of writing them.
"""

import json
from collections.abc import Mapping
from typing import Any

from klever.steps.frameworks.keras.document import MAX_RANK, ConfigError, as_integers
from klever.steps.frameworks.keras.layer import Call, Layer, Spec, numpy_dtype

#: Operations of graphs under the names of the functions that make them.
_NAMES = {"BatchMatMul": "matmul", "MatMul": "matmul", "Pack": "stack", "Select": "where", "StridedSlice": "getitem"}
#: More inputs than any node of a real graph has.
_MAX_INPUTS = 1024
_MAX_DIGITS = 18
#: Characters of a node; its constants stand elsewhere.
_MAX_TEXT = 16 << 10


def node_definition(layer: Layer) -> Mapping[str, Any]:
    """Return the recorded NodeDef, which some versions wrote as JSON in a string; raises `ConfigError` without one."""
    node = layer.config.get("node_def")
    if isinstance(node, str) and len(node) <= _MAX_TEXT:
        try:
            node = json.loads(node)
        except (ValueError, RecursionError):
            node = None
    if not isinstance(node, dict) or not isinstance(node.get("op"), str):
        raise ConfigError("the recorded operation cannot be read")
    return node


def function_name(layer: Layer) -> str:
    """Return the name of the function that makes such a node."""
    op: str = node_definition(layer)["op"].removesuffix("V2").removesuffix("V3")
    return _NAMES.get(op, op)


def function_call(layer: Layer, call: Call) -> Call:
    """Return the call of that function: constants back in their places, attributes as arguments."""
    node = node_definition(layer)
    constants = layer.config.get("constants")
    places = (
        {int(key): value for key, value in constants.items() if key.isdigit()} if isinstance(constants, dict) else {}
    )
    tensors = list(call.specs)
    if len(tensors) + len(places) > _MAX_INPUTS:
        raise ConfigError("the recorded operation has too many inputs")
    inputs = [
        places[index] if index in places else tensors.pop(0) if tensors else None
        for index in range(len(tensors) + len(places))
    ]
    written = node.get("attr")
    attributes = written if isinstance(written, dict) else {}
    kwargs = _arguments(attributes)
    name = function_name(layer)
    if name == "getitem":
        inputs = [
            inputs[0] if inputs else None,
            _index(inputs[1:4], attributes if isinstance(attributes, dict) else {}),
        ]
    elif name == "Concat":
        inputs = [[item for item in inputs if isinstance(item, Spec)], *(i for i in inputs if not isinstance(i, Spec))]
    elif name == "stack":
        inputs = [inputs]
    elif name in ("Split", "OneHot"):  # whose inputs stand in another order, or say more than the function's
        raise ConfigError(f"the recorded operation {name} is not understood")
    return Call(inputs, kwargs, call.infer)


def _arguments(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return those attributes that functions take as arguments."""
    kwargs: dict[str, Any] = {}
    for name, value in attributes.items():
        if not isinstance(value, dict):
            continue
        if name in ("keep_dims", "transpose_a", "transpose_b"):
            kwargs["keepdims" if name == "keep_dims" else name] = value.get("b") is True
        elif name in ("adj_x", "adj_y"):
            kwargs["adjoint_a" if name == "adj_x" else "adjoint_b"] = value.get("b") is True
        elif name == "axis":
            kwargs["axis"] = _integer(value)
        elif name in ("DstT", "output_type", "out_type"):
            kind = str(value.get("type", "")).removeprefix("DT_")
            kwargs["dtype" if name == "DstT" else name] = numpy_dtype(kind)
    return kwargs


def _integer(value: Mapping[str, Any]) -> int:
    """Return an integer attribute, which JSON of protocol buffers writes as text; 0 is left out."""
    text = str(value.get("i", 0))
    return int(text) if text.lstrip("-").isdecimal() and len(text) < _MAX_DIGITS else 0


def _index(bounds: list[Any], attributes: Mapping[str, Any]) -> list[Any]:
    """Return what the brackets held, from begin, end, strides and the masks that qualify them (StridedSlice)."""
    if len(bounds) != 3 or not all(isinstance(bound, list) for bound in bounds):
        raise ConfigError("the recorded slice has bounds that are not constant")
    count = min(len(bounds[0]), MAX_RANK)
    begin, end, step = (as_integers(bound, count) for bound in bounds)
    masks = {}
    for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis"):
        value = attributes.get(f"{name}_mask")
        masks[name] = _integer(value) if isinstance(value, dict) else 0
    items: list[Any] = []
    for place in range(count):
        bit = 1 << place
        if masks["ellipsis"] & bit:
            items.append("...")
        elif masks["new_axis"] & bit:
            items.append(None)
        elif masks["shrink_axis"] & bit:
            items.append(begin[place])
        else:
            start = None if masks["begin"] & bit else begin[place]
            stop = None if masks["end"] & bit else end[place]
            items.append({"start": start, "stop": stop, "step": None if step[place] == 1 else step[place]})
    return items
