"""Which shape and type every blob of a Caffe2 net has, from those of its inputs and parameters.

    >>> net = [Operator("FC", ("x", "w", "b"), ("y",)), Operator("Relu", ("y",), ("y",))]
    >>> infer_values(net, {"x": Value((-1, 6), "float32"), "w": Value((4, 6), "float32")}).blobs["y"]
    Value(shape=(-1, 4), dtype='float32', content=None)

The operators of the model zoo, ``brew``, ``caffe_translator`` and Detectron's exports. One that is not known has
outputs of unknown shape, which is no error. Each rule is the operator's ``RunOnDevice`` in ``caffe2/operators``.
What does not belong here: windows that slide (see ``windows``), rows and segments (see ``rows``) and operators that
find objects (see ``detection``).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from klever.steps.formats.netdef import contents, detection, rows, windows
from klever.steps.formats.netdef.graph import Operator
from klever.steps.formats.netdef.values import DTYPES, UNKNOWN_VALUE, Value
from klever.steps.formats.netdef.windows import Rule, channels_last
from klever.steps.model.shapes import (
    UNKNOWN,
    Shape,
    ShapeMismatchError,
    broadcast,
    concatenate,
    count,
    matmul,
    normalise_axis,
    reduce,
    reshape,
    transpose,
)

#: Rank that a stored shape may have; the framework's own tensors end far below.
_MAX_RANK: Final = 32
#: Tensors up to this many elements are kept with their content, as they may state shapes.
_MAX_CONTENT: Final = 64
_MAX_SIZE: Final = 2**62


class Inference(NamedTuple):
    """Blob to what is known of it, and in words which operators could not be worked out though known."""

    blobs: Mapping[str, Value]
    notes: tuple[str, ...]


def infer_values(operators: Iterable[Operator], given: Mapping[str, Value]) -> Inference:
    """Work out every blob that the operators write, from those that are ``given``."""
    blobs = dict(given)
    notes: list[str] = []
    for operator in operators:
        inputs = [blobs.get(name, UNKNOWN_VALUE) for name in operator.inputs]
        rule, integral = _rule(operator.type)
        outputs: Sequence[Value] = ()
        if rule is not None:
            try:
                outputs = [_possible(value) for value in rule(operator, inputs or [UNKNOWN_VALUE])]
                outputs = _with_content(operator, inputs, outputs)
            except ShapeMismatchError as error:
                notes.append(f"operator {operator.type} for {', '.join(operator.outputs[:3])}: {error}")
        for index, name in enumerate(operator.outputs):
            value = outputs[index] if index < len(outputs) else UNKNOWN_VALUE
            blobs[name] = value._replace(dtype="uint8") if integral and index == 0 else value
    return Inference(blobs, tuple(notes))


def _with_content(operator: Operator, inputs: Sequence[Value], outputs: Sequence[Value]) -> Sequence[Value]:
    """Add the elements of the first output where it is a short list of integers that follow from others."""
    if not outputs or outputs[0].content is not None or not (outputs[0].dtype or "").startswith("int"):
        return outputs
    content = contents.evaluate(operator, inputs)
    if content is None or outputs[0].shape is None or len(outputs[0].shape) > 1:
        return outputs
    return [outputs[0]._replace(content=content), *outputs[1:]]


def _possible(value: Value) -> Value:
    if value.shape is not None and max(value.shape, default=0) > _MAX_SIZE:
        raise ShapeMismatchError("a size is larger than any that a tensor can have")
    return value


def is_known(kind: str) -> bool:
    """Tell whether there is a rule for an operator type."""
    return _rule(kind)[0] is not None


def _rule(kind: str) -> tuple[Rule | None, bool]:
    """Return the rule of an operator, and whether it gives quantised tensors, which are uint8."""
    rule = RULES.get(kind)
    if rule is None and kind.startswith("Int8"):
        return RULES.get(_UNFUSED.get(kind[4:], kind[4:])), True
    return rule, False


#: Quantised operators that are fused from two.
_UNFUSED: Final = {"AddRelu": "Add", "ConvRelu": "Conv", "FCRelu": "FC", "Quantize": "Copy", "SumRelu": "Sum"}


def _checked(sizes: Sequence[int]) -> tuple[int, ...]:
    if len(sizes) > _MAX_RANK or any(not UNKNOWN <= size < _MAX_SIZE for size in sizes):
        raise ShapeMismatchError("no tensor has such a shape")
    return tuple(sizes)


def _first(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    """Give every output the shape and type of the first input."""
    return [inputs[0]._replace(content=None)] * len(operator.outputs)


def _filler(default: str) -> Rule:
    def rule(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
        dtype = DTYPES.get(operator.integer("dtype")) if "dtype" in operator.arguments else default
        value = operator.arguments.get("value")
        if operator.type == "ConstantFill" and value is not None and not operator.integer("dtype"):
            # Without a type the value's own one stands.
            dtype = "object" if value.s is not None else "int64" if value.f is None and value.i is not None else default
        if operator.inputs:
            return [Value(_shape_by_input(operator, inputs[0]), dtype)] * len(operator.outputs)
        shape = _checked(operator.integers("shape"))
        argument = operator.arguments.get("values")
        small = argument is not None and len(argument.ints) <= _MAX_CONTENT and default.startswith("int")
        content = argument.ints if argument is not None and small else None
        return [Value(shape, dtype, content)] * len(operator.outputs)

    return rule


def _shape_by_input(operator: Operator, value: Value) -> Shape:
    if operator.integer("input_as_shape"):
        if value.content is not None:
            return _checked(value.content)
        rank = value.shape[0] if value.shape else UNKNOWN
        return (UNKNOWN,) * rank if 0 <= rank <= _MAX_RANK else None
    return None if value.shape is None else (*value.shape, *_checked(operator.integers("extra_shape")))


def _full(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    """Multiply by weights: (N, K) for FC, (K, N) for FCTransposed."""
    data, weight = inputs[0], inputs[1].shape if len(inputs) > 1 else None
    axis, weight_axis = operator.integer("axis", 1), operator.integer("axis_w", 1)
    width = UNKNOWN
    if weight is not None:
        start = normalise_axis(weight_axis, len(weight)) if weight else 0
        width = count(weight[start:] if operator.type == "FCTransposed" else weight[:start])
    if data.shape is None:
        return [Value((UNKNOWN,) * axis + (width,) if 0 <= axis <= _MAX_RANK else None, data.dtype)]
    start = axis if axis == len(data.shape) else normalise_axis(axis, len(data.shape))
    if weight is not None and operator.type == "FC":
        depth, wanted = count(data.shape[start:]), count(weight[normalise_axis(weight_axis, len(weight)) :])
        if UNKNOWN not in (depth, wanted) and depth != wanted:
            raise ShapeMismatchError(f"{data.shape} does not meet weights of {weight}")
    return [Value((*data.shape[:start], width), data.dtype)]


def _normalisation(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data = inputs[0]
    if not data.shape:
        return [data]
    kind, rank = operator.type, len(data.shape)
    channels = data.shape[-1 if channels_last(operator) else 1] if rank > 1 else UNKNOWN
    if kind in ("LayerNorm", "RMSNorm"):
        outer = data.shape[: normalise_axis(operator.integer("axis", 1), rank)]
        return [data, *[Value((*outer, 1) if kind == "LayerNorm" else outer, data.dtype)] * 2]
    if kind == "SpatialBN":
        return [data, *[Value((channels,), data.dtype)] * 4]
    groups = _checked((operator.integer("group", 32),))[0] if kind == "GroupNorm" else channels
    return [data, *[Value((data.shape[0], groups), data.dtype)] * 2]


def _local_response(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    return [inputs[0]] * len(operator.outputs)


def _dropout(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    return [inputs[0], Value(inputs[0].shape, "bool")]


def _axis(operator: Operator, default: int = 1) -> int:
    """Return the axis of a join or a split: stated, or that of the channels."""
    return operator.integer("axis", 3 if channels_last(operator) else default)


def _concat(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    shapes = [value.shape for value in inputs]
    dtype = next((value.dtype for value in inputs if value.dtype), None)
    axis = _axis(operator)
    if operator.integer("add_axis"):
        known = next((shape for shape in shapes if shape is not None), None)
        at = 0 if known is None else normalise_axis(axis, len(known) + 1)
        joined = None if known is None else (*known[:at], len(shapes), *known[at:])
    else:
        joined = concatenate(shapes, axis)
    return [Value(joined, dtype), Value((len(inputs),), "int32")]


def _split(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data, parts = inputs[0], len(operator.outputs)
    if data.shape is None:
        return [Value(None, data.dtype)] * parts
    axis = normalise_axis(_axis(operator), len(data.shape))
    if operator.integer("add_axis"):
        return [Value((*data.shape[:axis], *data.shape[axis + 1 :]), data.dtype)] * parts
    sizes: Sequence[int] = operator.integers("split") or (inputs[1].content if len(inputs) > 1 else None) or ()
    if len(sizes) != parts:
        size = data.shape[axis]
        even = len(inputs) == 1 and size != UNKNOWN
        sizes = [size // parts if even else UNKNOWN] * parts
    return [Value((*data.shape[:axis], *_checked((size,)), *data.shape[axis + 1 :]), data.dtype) for size in sizes]


def _reshape(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data = inputs[0]
    wide = len(inputs) < 2 or inputs[1].dtype != "int32"
    old = Value((len(data.shape) if data.shape is not None else UNKNOWN,), "int64" if wide else "int32")
    target: Sequence[int] | None = operator.integers("shape")
    if len(inputs) > 1:
        target = inputs[1].content
    if target is None:
        rank = inputs[1].shape[0] if inputs[1].shape else UNKNOWN
        return [Value((UNKNOWN,) * rank if 0 <= rank <= _MAX_RANK else None, data.dtype), old]
    sizes = list(_checked(target))
    for index, size in enumerate(sizes):
        if size == 0:
            sizes[index] = data.shape[index] if data.shape is not None and index < len(data.shape) else UNKNOWN
    if 0 in target and UNKNOWN in target and UNKNOWN in sizes and (data.shape is None or UNKNOWN in data.shape):
        return [Value(_with_batch(data.shape, target, sizes), data.dtype), old]
    return [Value(reshape(data.shape, sizes), data.dtype), old]


def _with_batch(shape: Shape, target: Sequence[int], sizes: list[int]) -> Shape:
    """Work out the open size where only dimensions that are copied are unknown."""
    if shape is None or target.count(UNKNOWN) != 1:
        return tuple(sizes)
    rest = count(size for index, size in enumerate(shape) if index >= len(target) or target[index] != 0)
    explicit = count(size for size in target if size > 0)
    if rest != UNKNOWN and explicit > 0 and rest % explicit == 0:
        sizes[list(target).index(UNKNOWN)] = rest // explicit
    return tuple(sizes)


def _flatten(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data, axis = inputs[0], operator.integer("axis", 1)
    if data.shape is None:
        return [Value((UNKNOWN, UNKNOWN), data.dtype)]
    start = axis if axis == len(data.shape) else normalise_axis(axis, len(data.shape))
    return [Value((count(data.shape[:start]), count(data.shape[start:])), data.dtype)]


def _flatten_to_vector(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    return [Value((UNKNOWN if inputs[0].shape is None else count(inputs[0].shape),), inputs[0].dtype)]


def _squeeze(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data = inputs[0]
    if data.shape is None:
        return [data]
    dropped = {normalise_axis(axis, len(data.shape)) for axis in operator.integers("dims")}
    return [Value(tuple(size for axis, size in enumerate(data.shape) if axis not in dropped), data.dtype)]


def _expand_dims(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data, dims = inputs[0], sorted(set(operator.integers("dims")))
    if data.shape is None:
        return [data]
    sizes = list(data.shape)
    for axis in dims[:_MAX_RANK]:
        sizes.insert(normalise_axis(axis, len(sizes) + 1), 1)
    return [Value(tuple(sizes), data.dtype)]


def _transpose(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    return [Value(transpose(inputs[0].shape, operator.integers("axes") or None), inputs[0].dtype)]


def _to_last(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    shape = inputs[0].shape
    if shape is None or len(shape) < 2:
        return [Value(None, inputs[0].dtype)]
    last = operator.type == "NCHW2NHWC"
    return [Value((shape[0], *shape[2:], shape[1]) if last else (shape[0], shape[-1], *shape[1:-1]), inputs[0].dtype)]


def _gather(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data, indices = inputs[0], inputs[1].shape if len(inputs) > 1 else None
    if data.shape is None or indices is None:
        return [Value(None, data.dtype)]
    axis = normalise_axis(operator.integer("axis", int(operator.type == "BatchGather")), len(data.shape))
    if operator.integer("match_outer"):
        # Each item of the outer dimensions has indices of its own.
        indices = indices[axis:]
    return [Value((*data.shape[:axis], *indices, *data.shape[axis + 1 :]), data.dtype)]


def _lengths(place: int) -> Rule:
    """Reduce segments: the lengths, at ``place`` among the inputs, say how many there are."""

    def rule(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
        del operator
        data, lengths = inputs[0], inputs[place].shape if len(inputs) > place else None
        if data.shape is None:
            return [Value(None, data.dtype)]
        return [Value((lengths[0] if lengths else UNKNOWN, *data.shape[1:]), data.dtype)]

    return rule


def _reduce(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    keep = operator.integer("keepdims", 1) != 0
    axes = operator.integers("axes") or None
    return [Value(reduce(inputs[0].shape, axes, keep=keep), inputs[0].dtype)]


def _reduce_edge(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data, dims = inputs[0], operator.integer("num_reduce_dim", 1)
    if data.shape is None or not 0 <= dims <= len(data.shape):
        return [Value(None, data.dtype)]
    front = operator.type.startswith("ReduceFront")
    return [Value(data.shape[dims:] if front else data.shape[: len(data.shape) - dims], data.dtype)]


def _arithmetic(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    a, b = inputs[0], inputs[1] if len(inputs) > 1 else inputs[0]
    # Until 2018 the second operand was laid over the first from an axis on.
    shape = a.shape if operator.integer("broadcast") else broadcast(a.shape, b.shape)
    return [Value(shape, a.dtype or b.dtype)]


def _comparison(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    return [_arithmetic(operator, inputs)[0]._replace(dtype="bool")]


def _slice(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data = inputs[0]
    starts: Sequence[int] | None = operator.integers("starts")
    ends: Sequence[int] | None = operator.integers("ends")
    if len(inputs) >= 3:
        starts, ends = inputs[1].content, inputs[2].content
    if data.shape is None or starts is None or ends is None:
        return [Value(None if data.shape is None else (UNKNOWN,) * len(data.shape), data.dtype)]
    sizes = list(data.shape)
    for axis, (start, end) in enumerate(zip(starts, ends, strict=False)):
        if axis < len(sizes):
            sizes[axis] = _sliced(sizes[axis], start, end)
    return [Value(tuple(sizes), data.dtype)]


def _sliced(size: int, start: int, end: int) -> int:
    # A negative end counts from behind the last: -1 takes all.
    if size == UNKNOWN:
        return end - start if 0 <= start <= end else UNKNOWN
    start = start + size + 1 if start < 0 else min(start, size)
    end = end + size + 1 if end < 0 else min(end, size)
    return max(end - start, 0)


def _mat_mul(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    a, b = inputs[0].shape, inputs[1].shape if len(inputs) > 1 else None
    if a is not None and len(a) > 1 and operator.integer("trans_a"):
        a = (*a[:-2], a[-1], a[-2])
    if b is not None and len(b) > 1 and operator.integer("trans_b"):
        b = (*b[:-2], b[-1], b[-2])
    if operator.type == "BatchMatMul" and a is not None and b is not None and len(a) == len(b) == 1:
        return [Value((1,), inputs[0].dtype)]
    return [Value(matmul(a, b), inputs[0].dtype)]


def _matrix_product(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    """Multiply what ``axis_a`` and ``axis_b`` part into rows and columns."""
    sides = []
    for index, name in enumerate(("a", "b")):
        shape = inputs[index].shape if index < len(inputs) else None
        axis = operator.integer(f"axis_{name}", 1)
        if not shape:
            sides.append((UNKNOWN, UNKNOWN))
            continue
        at = normalise_axis(axis, len(shape))
        rows, columns = count(shape[:at]), count(shape[at:])
        sides.append((columns, rows) if operator.integer(f"trans_{name}") else (rows, columns))
    if len(inputs) > 2:
        return [Value(inputs[2].shape, inputs[0].dtype)]
    return [Value(matmul(*sides), inputs[0].dtype)]


def _top_k(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data = inputs[0]
    if data.shape is None:
        return [data, Value(None, "int64")]
    axis = normalise_axis(operator.integer("axis", -1), len(data.shape))
    shape = (*data.shape[:axis], *_checked((operator.integer("k", UNKNOWN),)), *data.shape[axis + 1 :])
    return [Value(shape, data.dtype), Value(shape, "int64"), Value((count(shape),), "int64")]


def _arg_best(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    keep = operator.integer("keepdims", 1) != 0
    return [Value(reduce(inputs[0].shape, (operator.integer("axis", -1),), keep=keep), "int64")]


def _cast(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    named = {"FLOAT": 1, "INT32": 2, "BYTE": 3, "STRING": 4, "BOOL": 5, "INT64": 10, "FLOAT16": 12, "DOUBLE": 13}
    target = operator.integer("to") or named.get(operator.text("to").upper(), 0)
    return [Value(inputs[0].shape, DTYPES.get(target))]


def _typed(dtype: str) -> Rule:
    def rule(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
        del operator
        return [Value(inputs[0].shape, dtype)]

    return rule


def _shape(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    axes, data = operator.integers("axes"), inputs[0].shape
    if data is None:
        return [Value((len(axes) or UNKNOWN,), "int64")]
    content = tuple(data[normalise_axis(axis, len(data))] for axis in axes) if axes else data
    return [Value((len(content),), "int64", None if UNKNOWN in content else content)]


def _tile(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data = inputs[0]
    if data.shape is None:
        return [data]
    axis = normalise_axis(operator.integer("axis"), len(data.shape))
    tiles = UNKNOWN if len(inputs) > 1 else operator.integer("tiles", 1)
    return [
        Value((*data.shape[:axis], *_checked((count((data.shape[axis], tiles)),)), *data.shape[axis + 1 :]), data.dtype)
    ]


def _one_hot(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    size = inputs[1].content if len(inputs) > 1 else None
    batch = inputs[0].shape[0] if inputs[0].shape else UNKNOWN
    return [Value((batch, size[0] if size and size[0] >= 0 else UNKNOWN), "float32")]


def _averaged(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    return [Value((), inputs[0].dtype)]


def _resize_like(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    return [Value(inputs[1].shape if len(inputs) > 1 else None, inputs[0].dtype)]


def _cell(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    """Give the next states the shapes of the last ones."""
    return [Value(value.shape, "float32") for value in inputs[: len(operator.outputs)]]


def _rules(rule: Rule, *kinds: str) -> dict[str, Rule]:
    return dict.fromkeys(kinds, rule)


#: Operator type to the rule for its outputs.
RULES: Final[Mapping[str, Rule]] = {
    **windows.RULES,
    **detection.RULES,
    **rows.RULES,
    **_rules(_first, "Abs", "Acos", "Alias", "AliasWithName", "Asin", "Atan", "Cbrt", "Ceil", "ChannelShuffle", "Clip"),
    **_rules(_first, "BatchPermutation", "ElementwiseLinear", "Mod", "NormalizeL1", "Not", "ReplaceNaN", "RowMul"),
    **_rules(
        _first, "ReversePackedSegs", "ScatterAssign", "SpatialBNRelu", "SquareRootDivide", "SumRelu", "ThresholdedRelu"
    ),
    **_rules(_first, "Copy", "CopyCPUToGPU", "CopyFromCPUInput", "CopyGPUToCPU", "Cos", "Cosh", "Cube", "Elu"),
    **_rules(_first, "EnsureCPUOutput", "EnsureDense", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "L1Norm"),
    **_rules(_first, "LeakyRelu", "Log", "LogSoftmax", "Logit", "Max", "Mean", "Min", "Mish", "Negative", "Normalize"),
    **_rules(_first, "NormalizePlanarYUV", "PRelu", "Reciprocal", "Relu", "Relu6", "ReluN", "Round", "Rsqrt", "Scale"),
    **_rules(_first, "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Snapshot", "Softmax", "Softplus", "Softsign", "Sqr"),
    **_rules(_first, "Sqrt", "StopGradient", "StumpFunc", "Sum", "Swish", "Tan", "Tanh", "WeightedSum", "ZeroGradient"),
    **_rules(_normalisation, "AffineChannel", "GroupNorm", "InstanceNorm", "LayerNorm", "RMSNorm", "SpatialBN"),
    **_rules(_arithmetic, "Add", "Div", "Mul", "Pow", "Sub"),
    **_rules(_comparison, "And", "EQ", "GE", "GT", "LE", "LT", "NE", "Or", "Xor"),
    **_rules(_filler("float32"), "ConstantFill", "GaussianFill", "GivenTensorFill", "MSRAFill", "UniformFill"),
    **_rules(_filler("float32"), "HeFill", "UniqueUniformFill", "XavierFill"),
    **_rules(_filler("float64"), "GivenTensorDoubleFill"),
    **_rules(_filler("int32"), "GivenTensorIntFill", "Int8GivenIntTensorFill", "UniformIntFill"),
    **_rules(_filler("int64"), "GivenTensorInt64Fill"),
    **_rules(_filler("int16"), "GivenTensorInt16Fill"),
    **_rules(_filler("bool"), "GivenTensorBoolFill"),
    **_rules(_filler("object"), "GivenTensorStringFill"),
    **_rules(_filler("uint8"), "GivenTensorByteStringToUInt8Fill", "Int8GivenTensorFill"),
    **_rules(_filler("float16"), "Float16ConstantFill", "Float16UniformFill"),
    **_rules(_full, "FC", "FCTransposed"),
    **_rules(_reduce, "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"),
    **_rules(_reduce_edge, "ReduceBackMax", "ReduceBackMean", "ReduceBackSum", "ReduceFrontMax", "ReduceFrontMean"),
    **_rules(_reduce_edge, "ReduceFrontSum"),
    **_rules(_lengths(1), "LengthsMax", "LengthsMean", "LengthsSum"),
    **_rules(_lengths(2), "LengthsWeightedSum", "SparseLengthsMax", "SparseLengthsMean", "SparseLengthsSum"),
    **_rules(_lengths(3), "SparseLengthsPositionalWeightedSum", "SparseLengthsWeightedSum"),
    "BatchMatMul": _mat_mul,
    "MatMul": _matrix_product,
    **_rules(_arg_best, "ArgMax", "ArgMin"),
    **_rules(_concat, "Append", "Concat", "DepthConcat"),
    **_rules(_split, "DepthSplit", "Split"),
    **_rules(_to_last, "NCHW2NHWC", "NHWC2NCHW"),
    **_rules(_typed("float32"), "HalfToFloat", "Int8Dequantize"),
    **_rules(_typed("float16"), "FloatToHalf"),
    **_rules(_typed("bool"), "IsNaN"),
    **_rules(_averaged, "AveragedLoss", "SumElements", "SumElementsInt", "SumSqrElements"),
    **_rules(_cell, "GRUUnit", "LSTMUnit"),
    **_rules(_gather, "BatchGather", "Gather"),
    "Cast": _cast,
    "Dropout": _dropout,
    "ExpandDims": _expand_dims,
    "Flatten": _flatten,
    "FlattenToVec": _flatten_to_vector,
    "LRN": _local_response,
    "OneHot": _one_hot,
    "Reshape": _reshape,
    "ResizeLike": _resize_like,
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
}
