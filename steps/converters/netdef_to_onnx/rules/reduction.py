"""Operators that reduce dimensions, and those that find the largest.

Source: ``reduce_ops``, ``reduction_ops``, ``reduce_front_back_*``, ``arg_ops``, ``top_k`` in ``caffe2/operators``.
"""

from typing import Final

from klever.steps.converters.netdef_to_onnx.call import Call, RefusedError, Result, Rule, Rules


def _axes(call: Call) -> list[int] | None:
    """Return the stated axes, from the front where the rank is known; all of them where none is stated."""
    axes = call.integers("axes")
    if not axes:
        return None
    return sorted({call.axis(axis) for axis in axes}) if call.value().shape is not None else list(axes)


def _reduce(op: str) -> Rule:
    def rule(call: Call) -> Result:
        return call.give_reduced(op, call.input(), _axes(call), keepdims=call.flag("keepdims", default=True))

    return rule


def _edge(op: str, *, front: bool) -> Rule:
    """Return the rule for reducing the first or the last ``num_reduce_dim`` dimensions."""

    def rule(call: Call) -> Result:
        if len(call) > 1:
            raise RefusedError("with lengths")
        dims, rank = call.integer("num_reduce_dim", 1), call.rank()
        if not 0 <= dims <= rank:
            raise RefusedError(f"num_reduce_dim {dims} for rank {rank}")
        if dims == 0:
            return call.input()
        axes = range(dims) if front else range(rank - dims, rank)
        return call.give_reduced(op, call.input(), list(axes), keepdims=False)

    return rule


def _largest_of_rows(axis: int) -> Rule:
    def rule(call: Call) -> Result:
        return call.give_reduced("ReduceMax", call.input(), [axis], keepdims=False)

    return rule


def _sum_of(square: bool) -> Rule:
    """Return the rule for the sum of all elements or of their squares, or the average of it."""

    def rule(call: Call) -> Result:
        x = call.add("Mul", call.input(), call.input()) if square else call.input()
        op = "ReduceMean" if call.flag("average") else "ReduceSum"
        return call.give_reduced(op, x, None, keepdims=False)

    return rule


def _average(call: Call) -> Result:
    return call.give_reduced("ReduceMean", call.input(), None, keepdims=False)


def _tail_sum(call: Call) -> Result:
    axes = list(range(1, call.rank()))
    return call.give_reduced("ReduceSum", call.input(), axes, keepdims=False) if axes else call.input()


def _norm(call: Call) -> Result:
    """Sum up absolute values or squares; the root is not taken."""
    power = call.integer("p", 2)
    if power not in (1, 2):
        raise RefusedError(f"with p {power}")
    x = call.add("Abs", call.input()) if power == 1 else call.add("Mul", call.input(), call.input())
    op = "ReduceMean" if call.flag("average") else "ReduceSum"
    return call.give_reshaped(call.reduce(op, x, None, keepdims=False), [1])


def _moments(call: Call) -> Result:
    axes, keep = _axes(call), call.flag("keepdims", default=True)
    mean = call.reduce("ReduceMean", call.input(), axes)
    apart = call.add("Sub", call.input(), mean)
    variance = call.add("Mul", apart, apart)
    return (
        call.give_reduced("ReduceMean", call.input(), axes, keepdims=keep),
        call.give_reduced("ReduceMean", variance, axes, keepdims=keep, at=1),
    )


def _batch_moments(call: Call) -> Result:
    """Give the mean of each channel and that of its squares."""
    rank = call.rank()
    axes = list(range(rank - 1)) if call.last else [0, *range(2, rank)]
    squared = call.add("Mul", call.input(), call.input())
    return (
        call.give_reduced("ReduceMean", call.input(), axes, keepdims=False),
        call.give_reduced("ReduceMean", squared, axes, keepdims=False, at=1),
    )


def _place_of(op: str) -> Rule:
    def rule(call: Call) -> Result:
        return call.give(op, call.input(), axis=call.integer("axis", -1), keepdims=call.integer("keepdims", 1) and 1)

    return rule


def _top(call: Call) -> Result:
    """Give the largest, where they are along the axis, and where they are in the whole tensor."""
    axis = call.integer("axis", -1)
    if len(call) > 1:
        k = call.reshape(call.int64(1), [1])
    else:
        wanted = call.integer("k")
        if wanted < 1:
            raise RefusedError(f"with k {wanted}")
        shape = call.value().shape
        if shape is not None and -1 < shape[call.axis(axis)] < wanted:
            raise RefusedError(f"the {wanted} largest of {shape[call.axis(axis)]}")
        k = call.integers_of([wanted])
    values, places = call.add("TopK", call.input(), k, outputs=2, axis=axis)
    given: list[str | None] = [call.give("Identity", values), call.give("Identity", places, at=1)]
    if len(call.operator.outputs) > 2:
        x = call.input()
        counted = call.add("Range", call.constant(0), call.add("Size", x), call.constant(1))
        numbered = call.reshape(counted, call.sizes(x))
        flat = call.add("GatherElements", numbered, places, axis=axis)
        given.append(call.give_reshaped(flat, [-1], at=2))
    return given


RULES: Final[Rules] = {
    **{kind: _reduce(kind) for kind in ("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")},
    **{f"ReduceFront{kind}": _edge(f"Reduce{kind}", front=True) for kind in ("Max", "Mean", "Sum")},
    **{f"ReduceBack{kind}": _edge(f"Reduce{kind}", front=False) for kind in ("Max", "Mean", "Sum")},
    "ArgMax": _place_of("ArgMax"),
    "ArgMin": _place_of("ArgMin"),
    "AveragedLoss": _average,
    "BatchMoments": _batch_moments,
    "ColwiseMax": _largest_of_rows(1),
    "LpNorm": _norm,
    "Moments": _moments,
    "ReduceTailSum": _tail_sum,
    "RowwiseMax": _largest_of_rows(2),
    "SumElements": _sum_of(square=False),
    "SumElementsInt": _sum_of(square=False),
    "SumSqrElements": _sum_of(square=True),
    "TopK": _top,
}
