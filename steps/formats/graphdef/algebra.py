"""Rules for products of matrices, for ranks that an operator fixes, and for segments, losses and recurrences."""

from collections.abc import Sequence
from typing import Final

from klever.steps.formats.graphdef.call import MAX_OUTPUTS, NOTHING, Call, Known, rule, shape_rule
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, broadcast, matmul, merge, normalise_axis

#: Operators whose result is a scalar: sums, states, and handles of resources and lists.
_SCALARS: Final = """
L2Loss LookupTableSize LookupTableSizeV2 IsVariableInitialized LoopCond VarIsInitializedOp GetDeadline ReadFile
TensorArraySizeV3 TensorArraySizeV2 TensorArrayWriteV3 TensorArrayScatterV3 TensorArraySplitV3 TensorListLength
TensorListReserve TensorListFromTensor TensorListSetItem EmptyTensorList TensorListPushBack
TensorListConcatLists TensorListScatterV2 TensorListResize TensorListScatterIntoExistingList HashTableV2
MutableHashTableV2 VarHandleOp MutableDenseHashTableV2 Timestamp StringFormat TensorListScatter
"""


def _turned(shape: Shape, *, turn: bool) -> Shape:
    return shape if shape is None or not turn or len(shape) < 2 else (*shape[:-2], shape[-1], shape[-2])


@shape_rule("MatMul", "SparseMatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "_FusedMatMul")
def _product(call: Call) -> Shape:
    """Multiply matrices; the operators spell transposition in three ways."""
    flat = "Batch" not in call.node.op
    names = (("transpose_a", "adj_x"), ("transpose_b", "adj_y"))
    turns = [any(call.flag(name) for name in pair) for pair in names]
    a, b = (_turned(call.shape(index), turn=turn) for index, turn in enumerate(turns))
    if flat:
        a = (UNKNOWN, UNKNOWN) if a is None else a
        b = (UNKNOWN, UNKNOWN) if b is None else b
    if a is None or b is None:
        return None
    if len(a) < 2 or len(b) < 2:
        raise ShapeMismatchError("a matrix product needs matrices")
    return matmul(a, b)


@shape_rule("SparseTensorDenseMatMul")
def _sparse_product(call: Call) -> Shape:
    dense, form = call.shape(3), call.sizes(2) or (UNKNOWN, UNKNOWN)
    if len(form) != 2 or (dense is not None and len(dense) != 2):
        raise ShapeMismatchError("a matrix product needs matrices")
    rows = form[1] if call.flag("adjoint_a") else form[0]
    columns = UNKNOWN if dense is None else dense[0] if call.flag("adjoint_b") else dense[1]
    return (rows, columns)


@shape_rule("Einsum")
def _einsum(call: Call) -> Shape:
    """Follow the labels of an equation; an ellipsis stands for dimensions that broadcast."""
    left, arrow, right = call.text("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or len(terms) != len(call.inputs):
        return None
    sizes: dict[str, int] = {}
    spread: Shape = ()
    for term, given in zip(terms, call.inputs, strict=True):
        if given.shape is None:
            if "..." in term:
                spread = None
            continue
        before, dots, after = term.partition("...")
        inner = len(given.shape) - len(before) - len(after)
        if inner < 0 or (inner and not dots):
            raise ShapeMismatchError(f"rank {len(given.shape)} does not fit {term!r}")
        spread = broadcast(spread, given.shape[len(before) : len(before) + inner])
        tail = given.shape[len(before) + inner :]
        for label, size in (*zip(before, given.shape, strict=False), *zip(after, tail, strict=True)):
            sizes[label] = size if sizes.get(label, UNKNOWN) == UNKNOWN else sizes[label]
    before, dots, after = right.partition("...")
    if dots and spread is None:
        return None
    middle = spread if dots and spread is not None else ()
    return (*(sizes.get(label, UNKNOWN) for label in before), *middle, *(sizes.get(label, UNKNOWN) for label in after))


@rule("ArgMax", "ArgMin")
def _arg(call: Call) -> Sequence[Known]:
    given, axis = call.shape(0), call.integer(1)
    if given is None:
        return (NOTHING,)
    if axis is None:
        return (Known((UNKNOWN,) * max(len(given) - 1, 0)),)
    axis = normalise_axis(axis, len(given))
    return (Known(given[:axis] + given[axis + 1 :]),)


@rule("SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits")
def _cross_entropy(call: Call) -> Sequence[Known]:
    given = call.shape(0)
    return (Known((given[0] if given else UNKNOWN,)), Known(given))


@shape_rule(*_SCALARS.split())
def _one(call: Call) -> Shape:
    del call
    return ()


@shape_rule("InTopK", "InTopKV2")
def _in_top(call: Call) -> Shape:
    return call.shape(1)


@shape_rule("Bincount", "HistogramFixedWidth")
def _histogram(call: Call) -> Shape:
    number = call.integer(1 if call.node.op == "Bincount" else 2)
    return (UNKNOWN if number is None else number,)


@shape_rule(
    "SegmentSum",
    "SegmentMean",
    "SegmentMax",
    "SegmentMin",
    "SegmentProd",
    "SparseSegmentSum",
    "SparseSegmentMean",
    "SparseSegmentSqrtN",
)
def _segment(call: Call) -> Shape:
    given = call.shape(0)
    return None if not given else (UNKNOWN, *given[1:])


@shape_rule(
    "UnsortedSegmentSum",
    "UnsortedSegmentMax",
    "UnsortedSegmentMin",
    "UnsortedSegmentProd",
    "SegmentSumV2",
    "SegmentMaxV2",
    "SegmentMinV2",
    "SegmentProdV2",
    "SparseSegmentSumWithNumSegments",
    "SparseSegmentMeanWithNumSegments",
    "SparseSegmentSqrtNWithNumSegments",
)
def _segments(call: Call) -> Shape:
    given, places, number = call.shape(0), call.shape(1), call.integer(3 if "Sparse" in call.node.op else 2)
    if given is None or places is None:
        return None
    return (UNKNOWN if number is None else number, *given[len(places) :])


@shape_rule("SparseToDense")
def _densify(call: Call) -> Shape:
    return call.sizes(1)


@rule("SparseReshape")
def _reshape_sparse(call: Call) -> Sequence[Known]:
    indices, target = call.shape(0), call.size(2)
    return (Known((indices[0] if indices else UNKNOWN, target)), Known((target,)))


@rule("SparseFillEmptyRows")
def _fill_rows(call: Call) -> Sequence[Known]:
    indices, shape = call.shape(0), call.sizes(2)
    rank = indices[1] if indices and len(indices) == 2 else UNKNOWN
    number = indices[0] if indices else UNKNOWN
    return (Known((UNKNOWN, rank)), Known((UNKNOWN,)), Known((shape[0] if shape else UNKNOWN,)), Known((number,)))


@rule("StringSplit", "StringSplitV2")
def _split_text(call: Call) -> Sequence[Known]:
    del call
    return (Known((UNKNOWN, 2)), Known((UNKNOWN,)), Known((2,)))


@rule("LookupTableFind", "LookupTableFindV2")
def _look_up(call: Call) -> Sequence[Known]:
    """Look keys up; where the default value is no scalar, each key yields a tensor of its shape."""
    keys, default = call.shape(1), call.shape(2)
    return (Known(keys) if default == () else NOTHING,)


@rule("CTCGreedyDecoder", "CTCBeamSearchDecoder")
def _decode_paths(call: Call) -> Sequence[Known]:
    given = call.shape(0)
    batch = given[1] if given and len(given) == 3 else UNKNOWN
    paths = 1 if call.node.op == "CTCGreedyDecoder" else min(max(call.attribute("top_paths", 1), 0), MAX_OUTPUTS)
    parts = [Known((UNKNOWN, 2))] * paths + [Known((UNKNOWN,))] * paths + [Known((2,))] * paths
    return (*parts, Known((batch, paths)))


@rule("RFFT", "IRFFT", "RFFT2D", "IRFFT2D", "RFFT3D", "IRFFT3D")
def _real_fourier(call: Call) -> Sequence[Known]:
    """Transform the inner dimensions to the lengths that are given; half the spectrum of real values suffices."""
    given, lengths = call.shape(0), call.sizes(1)
    order = 1 if call.node.op.endswith("T") else int(call.node.op[-2])
    if given is None or len(given) < order:
        return (NOTHING,)
    inner = list(lengths) if lengths is not None and len(lengths) == order else [UNKNOWN] * order
    if not call.node.op.startswith("I") and inner[-1] > 0:
        inner[-1] = inner[-1] // 2 + 1
    return (Known((*given[:-order], *inner)),)


_GATES: Final = 4


@rule("BlockLSTM", "BlockLSTMV2")
def _block_lstm(call: Call) -> Sequence[Known]:
    given, bias = call.shape(1), call.shape(8)
    cells = bias[0] // _GATES if bias and bias[0] != UNKNOWN else UNKNOWN
    time, batch = (given[0], given[1]) if given and len(given) == 3 else (UNKNOWN, UNKNOWN)
    return (Known((time, batch, cells)),) * 7


@rule("LSTMBlockCell")
def _lstm_cell(call: Call) -> Sequence[Known]:
    given, state = call.shape(0), call.shape(1)
    batch = given[0] if given else UNKNOWN
    return (Known((batch, state[1] if state and len(state) == 2 else UNKNOWN)),) * 7


@rule("GRUBlockCell")
def _gru_cell(call: Call) -> Sequence[Known]:
    given, state = call.shape(0), call.shape(1)
    cells = state[1] if state and len(state) == 2 else UNKNOWN
    batch = given[0] if given else UNKNOWN
    return (Known((batch, cells)), Known((batch, cells)), Known((batch, cells)), Known((batch, cells)))


@rule("ParseExample", "ParseExampleV2", "ParseSingleExample")
def _parse_example(call: Call) -> Sequence[Known]:
    """Parse records: sparse features are indices, values and a shape each; dense ones have theirs in an attribute."""
    number = call.attribute("Nsparse", call.attribute("num_sparse", 0))
    sparse = min(max(number, 0), MAX_OUTPUTS)
    records = call.shape(0)
    if records is None or call.node.dtypes("ragged_value_types"):
        return ()
    rank = len(records) + 1
    dense = [Known(None if shape is None else (*records, *shape)) for shape in call.node.shapes("dense_shapes") or ()]
    parts = [Known((UNKNOWN, rank))] * sparse + [Known((UNKNOWN,))] * sparse + [Known((rank,))] * sparse
    return (*parts, *dense)


@rule("QuantizeV2")
def _quantize(call: Call) -> Sequence[Known]:
    ends = Known(() if call.attribute("axis", -1) == -1 else None)
    return (Known(call.shape(0)), ends, ends)


@rule("TensorListStack")
def _stack_list(call: Call) -> Sequence[Known]:
    number = call.attribute("num_elements", -1)
    shape = call.sizes(1)
    # The element shape may be a scalar -1: of unknown rank.
    unknown = shape is None or call.shape(1) == ()
    return (NOTHING if unknown or shape is None else Known((max(number, UNKNOWN), *shape)),)


@rule("TensorListGetItem")
def _list_item(call: Call) -> Sequence[Known]:
    return (NOTHING if call.shape(2) == () else Known(call.sizes(2)),)


@rule("TensorArrayV3")
def _array(call: Call) -> Sequence[Known]:
    del call
    return (Known((2,)), Known(()))


@rule("TensorArrayGatherV3")
def _gather_array(call: Call) -> Sequence[Known]:
    element = call.node.shape("element_shape")
    return (NOTHING if element is None else Known((call.size(1), *element)),)


@rule("TensorArrayConcatV3")
def _concat_array(call: Call) -> Sequence[Known]:
    element = call.node.shape("element_shape_except0")
    return (NOTHING if element is None else Known((UNKNOWN, *element)), Known((UNKNOWN,)))


@rule("SelfAdjointEigV2", "Svd", "Qr", "Lu")
def _decompose(call: Call) -> Sequence[Known]:
    given = call.shape(0)
    if given is None or len(given) < 2:
        return (NOTHING,) * 3
    batch, (rows, columns) = given[:-2], given[-2:]
    if call.node.op == "SelfAdjointEigV2":
        return (Known((*batch, rows)), Known(given) if call.flag("compute_v", default=True) else Known((0,)))
    if call.node.op == "Lu":
        return (Known(given), Known((*batch, rows)))
    least = UNKNOWN if UNKNOWN in (rows, columns) else min(rows, columns)
    full = call.flag("full_matrices")
    left, right = (rows, columns) if full else (least, least)
    if call.node.op == "Qr":
        return (Known((*batch, rows, left)), Known((*batch, rows if full else least, columns)))
    if not call.flag("compute_uv", default=True):
        return (Known((*batch, least)), NOTHING, NOTHING)
    return (Known((*batch, least)), Known((*batch, rows, left)), Known((*batch, columns, right)))


@shape_rule("MatrixDeterminant", "BatchMatrixDeterminant")
def _determinant(call: Call) -> Shape:
    given = call.shape(0)
    return None if given is None or len(given) < 2 else given[:-2]


@shape_rule("MatrixSolve", "MatrixTriangularSolve")
def _solve(call: Call) -> Shape:
    a, b = call.shape(0), call.shape(1)
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return None
    return (*(broadcast(a[:-2], b[:-2]) or ()), *(merge(a[-1:], b[-2:-1]) or ()), b[-1])
