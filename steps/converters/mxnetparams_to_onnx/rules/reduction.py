"""Reductions: sums, means, products, extrema, norms, and where extrema stand.

Outside of numpy's rules a reduction over everything leaves one dimension of size 1. Source: ``broadcast_reduce_*`` in
MXNet's ``src/operator/tensor``, ``np_broadcast_reduce_op*`` in ``src/operator/numpy``. What does not belong here:
pooling, products of matrices.
"""

from collections.abc import Sequence
from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import FLOATS, Call, Results, Rule, UncoveredError
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import normalise_axis

_EVERYTHING: Final = None


def axes_of(call: Call, key: str = "axis") -> list[int] | None:
    """Return the axes to reduce, None for all of them; ``exclude`` turns the choice round."""
    axes = call.integers(key) or None
    if axes is None:
        return _EVERYTHING
    if call.flag("exclude"):
        rank = call.rank()
        chosen = {normalise_axis(axis, rank) for axis in axes}
        return [axis for axis in range(rank) if axis not in chosen]
    shape = call.shape()
    if shape is None:
        return list(axes)
    rank = len(shape)
    return [normalise_axis(axis, rank) for axis in axes]


def _leaves_nothing(call: Call, axes: Sequence[int] | None, *, keep: bool) -> bool:
    """Say whether the result has no dimensions by ONNX's rules, but one by MXNet's."""
    shape = call.shape()
    everything = axes is None or (shape is not None and len(set(axes)) == len(shape))
    return everything and not keep and not call.scalars


def reduced(call: Call, op: str, data: str, axes: Sequence[int] | None, *, keep: bool) -> str:
    """Add a reduction that is the operator's result."""
    if axes is not None and not axes:
        return call.graph.identity(data, call.last["outputs"][0], reserved=True)
    if _leaves_nothing(call, axes, keep=keep):
        return call.graph.reshape(call.graph.reduce(op, data, axes, keepdims=False), [1], **call.last)
    return call.graph.reduce(op, data, axes, keepdims=keep, **call.last)


def _plain(op: str) -> Rule:
    def rule(call: Call) -> Results:
        data, dtype = call.input(), _result_type(call)
        data = call.as_type(data, call.dtype(), dtype)
        call.typed(dtype)
        return reduced(call, op, data, axes_of(call), keep=call.flag("keepdims"))

    return rule


def _result_type(call: Call) -> str:
    """Return the type that is reduced in: as ``dtype`` says; numpy's means of whole numbers are float32."""
    dtype = call.element_type(call.dtype())
    if dtype == call.dtype() and call.operator in ("_npi_mean", "_npi_average") and dtype not in FLOATS:
        return "float32"
    return "int64" if dtype == "bool" else dtype


def _without_nan(op: str, neutral: float) -> Rule:
    """``nansum``, ``nanprod``: what is no number counts for nothing."""

    def rule(call: Call) -> Results:
        data = call.input()
        if call.is_float():
            data = call.emit("Where", [call.emit("IsNaN", [data]), call.constant(neutral), data])
        return reduced(call, op, data, axes_of(call), keep=call.flag("keepdims"))

    return rule


def _norm(call: Call) -> Results:
    order, axes, keep = call.integer("ord", 2), axes_of(call), call.flag("keepdims")
    dtype = call.word("out_dtype", call.dtype())
    call.typed(dtype)
    data = call.as_type(call.input(), call.dtype(), dtype)
    if order in (1, 2):
        # Of matrices too, these are norms of all elements.
        return reduced(call, f"ReduceL{order}", data, axes, keep=keep)
    raise UncoveredError(f"only for an ord of 1 or 2, this has {order}")


def _moments(call: Call) -> Results:
    axes, keep = axes_of(call, "axes"), call.flag("keepdims")
    data = call.input()
    mean = call.graph.reduce("ReduceMean", data, axes, keepdims=True)
    centred = call.emit("Sub", [data, mean])
    variance = call.graph.reduce("ReduceMean", call.emit("Mul", [centred, centred]), axes, keepdims=True)
    if keep:
        return [mean, variance]
    if axes is None or len(set(axes)) == call.rank():
        return [call.graph.reshape(each, [] if call.scalars else [1]) for each in (mean, variance)]
    return [call.graph.squeeze(each, axes) for each in (mean, variance)]


def _spread(root: bool) -> Rule:
    """``var`` and ``std`` of numpy's namespace; ``ddof`` is taken from the count."""

    def rule(call: Call) -> Results:
        axes, keep = axes_of(call), call.flag("keepdims")
        dtype = call.element_type(call.dtype() if call.is_float() else "float32")
        call.typed(dtype)
        data = call.as_type(call.input(), call.dtype(), dtype)
        centred = call.emit("Sub", [data, call.graph.reduce("ReduceMean", data, axes, keepdims=True)])
        squares = call.emit("Mul", [centred, centred])
        offset = call.integer("ddof", 0)
        if offset:
            sizes = call.sizes()
            count = 1
            for axis in range(len(sizes)) if axes is None else axes:
                count *= sizes[axis]
            if count <= offset:
                raise MalformedModelError(f"node {call.name!r} takes {offset} from a count of {count}")
            squares = call.emit("Mul", [squares, call.constant(count / (count - offset), dtype)])
        if not root:
            return reduced(call, "ReduceMean", squares, axes, keep=keep)
        return call.finish("Sqrt", [call.graph.reduce("ReduceMean", squares, axes, keepdims=keep)])

    return rule


def _truths(op: str) -> Rule:
    """``any`` and ``all``: the extrema of truth values."""

    def rule(call: Call) -> Results:
        truths = call.as_type(call.as_type(call.input(), call.dtype(), "bool"), "bool", "int32")
        found = call.graph.reduce(op, truths, axes_of(call), keepdims=call.flag("keepdims"))
        call.typed("bool")
        return call.graph.cast(found, "bool", **call.last)

    return rule


def _find(op: str) -> Rule:
    """``argmax`` and ``argmin``: positions as numbers of the data's type, as int64 under numpy's names."""

    def rule(call: Call) -> Results:
        keep = call.flag("keepdims")
        axis = call.optional("axis")
        data = call.input()
        dtype = "int64" if call.operator.startswith("_np") else call.dtype()
        call.typed(dtype)
        if axis is None:
            flat = call.graph.reshape(data, [-1])
            found = call.emit(op, [flat], axis=0, keepdims=0 if call.scalars else 1)
            if keep:
                found = call.graph.reshape(found, [1] * call.rank())
        else:
            alone = call.shape() is not None and call.rank() == 1 and not call.scalars
            found = call.emit(op, [data], axis=axis, keepdims=int(keep or alone))
        return call.as_type(found, "int64", dtype, last=True)

    return rule


def _find_channel(call: Call) -> Results:
    found = call.emit("ArgMax", [call.input()], axis=1, keepdims=0)
    return call.as_type(found, "int64", call.dtype(), last=True)


def _square_sum(call: Call) -> Results:
    return reduced(call, "ReduceSumSquare", call.input(), axes_of(call), keep=call.flag("keepdims"))


RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("sum", "sumaxis"), _plain("ReduceSum")),
    **dict.fromkeys(("max", "maxaxis", "amax"), _plain("ReduceMax")),
    **dict.fromkeys(("min", "minaxis", "amin"), _plain("ReduceMin")),
    "mean": _plain("ReduceMean"),
    **dict.fromkeys(("prod", "product"), _plain("ReduceProd")),
    "nansum": _without_nan("ReduceSum", 0.0),
    "nanprod": _without_nan("ReduceProd", 1.0),
    "norm": _norm,
    "squaresum": _square_sum,
    "moments": _moments,
    "var": _spread(root=False),
    "std": _spread(root=True),
    **dict.fromkeys(("any", "sometrue"), _truths("ReduceMax")),
    "all": _truths("ReduceMin"),
    "argmax": _find("ArgMax"),
    "argmin": _find("ArgMin"),
    "argmaxchannel": _find_channel,
}
