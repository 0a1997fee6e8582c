"""What skl2onnx lacks for `OneHotEncoder`: categories that are floating-point numbers.

What does not belong here: other estimators.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def register() -> None:
    """Convert encoders of floats by comparisons, and all others as skl2onnx does."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common._registration import get_converter, get_shape_calculator
    from sklearn.preprocessing import OneHotEncoder

    alias = "SklearnOneHotEncoder"
    usual, shape_of = get_converter(alias), get_shape_calculator(alias)
    if getattr(usual, "knows_floats", False):
        return

    def convert(scope: Any, operator: Any, container: Any) -> None:
        encoder = operator.raw_operator
        kinds = {np.asarray(one).dtype.kind for one in encoder.categories_}
        if kinds != {"f"} or getattr(encoder, "drop_idx_", None) is not None or _groups(encoder):
            usual(scope, operator, container)
        else:
            _convert_floats(scope, operator, container)

    convert.knows_floats = True  # type: ignore[attr-defined]
    update_registered_converter(OneHotEncoder, alias, shape_of, convert, overwrite=True)


def _groups(encoder: Any) -> bool:
    """Whether rare categories share a column."""
    infrequent = getattr(encoder, "infrequent_categories_", None)
    return infrequent is not None and any(one is not None for one in infrequent)


def _convert_floats(scope: Any, operator: Any, container: Any) -> None:
    """Compare each column with its categories; what equals none has zeros, as ``handle_unknown="ignore"`` says."""
    from onnx import TensorProto
    from skl2onnx.common.data_types import DoubleTensorType

    joined = operator.inputs[0].full_name
    if len(operator.inputs) > 1:
        joined = scope.get_unique_variable_name("columns")
        container.add_node("Concat", [each.full_name for each in operator.inputs], joined, axis=1)
    is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
    dtype, element = (np.float64, TensorProto.DOUBLE) if is_double else (np.float32, TensorProto.FLOAT)
    parts = []
    for place, categories in enumerate(operator.raw_operator.categories_):
        index = scope.get_unique_variable_name("index")
        container.add_initializer(index, TensorProto.INT64, [1], [place])
        column, known, equal, part = (
            scope.get_unique_variable_name(name) for name in ("column", "known", "equal", "part")
        )
        container.add_node("Gather", [joined, index], column, axis=1)
        values = np.asarray(categories).astype(dtype)
        container.add_initializer(known, element, [1, len(values)], values.tolist())
        container.add_node("Equal", [column, known], equal, op_version=11)
        container.add_node("Cast", [equal], part, to=_element_of(operator.outputs[0]), op_version=9)
        parts.append(part)
    container.add_node("Concat", parts, operator.outputs[0].full_name, axis=1, op_version=11)


def _element_of(variable: Any) -> int:
    from onnx import TensorProto
    from skl2onnx.common.data_types import DoubleTensorType

    return int(TensorProto.DOUBLE if isinstance(variable.type, DoubleTensorType) else TensorProto.FLOAT)
