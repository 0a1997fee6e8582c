"""Constants: zeros, ones, ranges, and those as large as another tensor.

Source: ``init_op*`` in MXNet's ``src/operator/tensor``, ``np_init_op*`` in ``src/operator/numpy``. What does not belong
here: random numbers.
"""

from math import prod
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import (
    MAX_COMPUTED_ELEMENTS,
    Call,
    Results,
    Rule,
    ShapeNeededError,
)
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.model.shapes import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _dtype(call: Call, default: str = "float32") -> str:
    dtype = call.element_type(default)
    call.typed(dtype)
    return dtype


def _filled(key: str | None, value: float = 0.0) -> Rule:
    """Fill a shape with an attribute or a number; sizes of 0 are those that the rest of the graph demands."""

    def rule(call: Call) -> Results:
        dtype = _dtype(call)
        sizes = call.integers("shape")
        if not call.scalars and (sizes is None or not sizes or min(sizes) < 1):
            sizes = call.result()
        layout = call.word("__layout__")
        if sizes is not None and len(layout) == len(sizes) and UNKNOWN in sizes:
            # The state that a recurrent cell begins with is the same for every example: one is stretched to all.
            sizes = tuple(
                1 if axis == "N" and size == UNKNOWN else size for axis, size in zip(layout, sizes, strict=True)
            )
        if sizes is None or UNKNOWN in sizes:
            raise ShapeNeededError(0)
        if prod(sizes) > MAX_COMPUTED_ELEMENTS:
            raise LimitExceededError(f"node {call.name!r} asks for {prod(sizes)} elements")
        return _spread(call, call.number(key, value) if key else value, dtype, call.integers_constant(sizes))

    return rule


def _spread(call: Call, value: float, dtype: str, shape: str) -> Results:
    number = call.graph.constant(value if dtype.startswith("float") else int(value), dtype=dtype)
    return call.finish("Expand", [number, shape])


def _alike(key: str | None, value: float = 0.0) -> Rule:
    """Fill the shape of a tensor."""

    def rule(call: Call) -> Results:
        dtype = _dtype(call, call.dtype())
        number = call.number(key, value) if key else value
        return _spread(call, number, dtype, call.emit("Shape", [call.input()]))

    return rule


def _range(call: Call) -> Results:
    """From ``start`` to ``stop`` in steps, each element ``repeat`` times; alone, ``start`` is the end."""
    dtype = _dtype(call, "float32")
    start, step, times = call.number("start", 0.0), call.number("step", 1.0), call.integer("repeat", 1)
    stop = call.number("stop", float("nan"))
    shape = call.result()
    if call.flag("infer_range"):
        if shape is None or UNKNOWN in shape:
            raise ShapeNeededError(0)
        count = shape[0]
    else:
        if stop != stop:
            start, stop = 0.0, start
        count = _count(start, stop, step) * times
    return _series(call, start, step, times, count, dtype)


def _count(start: float, stop: float, step: float) -> int:
    steps = (stop - start) / step
    if not abs(steps) < MAX_COMPUTED_ELEMENTS:
        raise LimitExceededError(f"a range of {steps} elements")
    return max(int(-(-steps // 1)), 0)


def _series(call: Call, start: float, step: float, times: int, count: int, dtype: str) -> Results:
    return call.computed(lambda: _arange(start, step, times, count, dtype), dtype, (count,), "output")


def _arange(start: float, step: float, times: int, count: int, dtype: str) -> "NDArray[Any]":
    import numpy as np

    return (start + step * (np.arange(count) // times)).astype(dtype)


def _range_like(call: Call) -> Results:
    """``arange_like``: as many elements as a tensor has, or along one of its axes."""
    start, step, times = call.number("start", 0.0), call.number("step", 1.0), call.integer("repeat", 1)
    data, axis = call.input(), call.optional("axis")
    dtype = call.dtype()
    shape = call.result()
    if shape is not None and UNKNOWN not in shape and axis is not None:
        return _series(call, start, step, times, shape[0], dtype)
    if axis is None:
        count = call.emit("Size", [data])
    else:
        count = call.emit("Squeeze", [call.size_of(data, call.axis("axis", 0)), call.integers_constant([0])])
    places = call.emit("Range", [call.integers_constant(0), count, call.integers_constant(1)])
    if times != 1:
        places = call.emit("Div", [places, call.integers_constant(times)])
    numbers = call.emit("Mul", [call.graph.cast(places, dtype), call.constant(step)])
    if axis is not None:
        return call.finish("Add", [numbers, call.constant(start)])
    numbers = call.emit("Add", [numbers, call.constant(start)])
    return call.finish("Reshape", [numbers, call.emit("Shape", [data])])


def _space(call: Call) -> Results:
    """``linspace``, and the powers of its numbers, which ``logspace`` makes."""
    dtype = _dtype(call)
    start, stop, count = call.number("start", 0.0), call.number("stop", 0.0), call.integer("num", 50)
    closed = call.flag("endpoint", default=True)
    base = call.number("base", 10.0) if call.operator.endswith("logspace") else None
    if not max(abs(start), abs(stop)) < float("inf"):
        raise MalformedModelError(f"node {call.name!r} makes numbers from {start} to {stop}")

    def numbers() -> "NDArray[Any]":
        import numpy as np

        spaced = np.linspace(start, stop, count, endpoint=closed)
        with np.errstate(over="ignore", invalid="ignore"):
            return (spaced if base is None else base**spaced).astype(dtype)

    return call.computed(numbers, dtype, (count,), "output")


def _window(name: str) -> Rule:
    """``blackman``, ``hamming`` and ``hanning``: numpy's windows of M numbers."""

    def rule(call: Call) -> Results:
        dtype, count = _dtype(call), call.integer("M", 0)

        def numbers() -> "NDArray[Any]":
            import numpy as np

            window: NDArray[Any] = getattr(np, name)(count).astype(dtype)
            return window

        return call.computed(numbers, dtype, (max(count, 0),), "output")

    return rule


def _eye(call: Call) -> Results:
    dtype = _dtype(call)
    rows, columns, offset = call.integer("N", 1), call.integer("M", 0), call.integer("k", 0)
    columns = columns or rows

    def numbers() -> "NDArray[Any]":
        import numpy as np

        return np.eye(rows, columns, k=offset, dtype=dtype)

    return call.computed(numbers, dtype, (rows, columns), "output")


RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("zeros", "zeroswithoutdtype"), _filled(None)),
    "ones": _filled(None, 1.0),
    "full": _filled("value"),
    "zeroslike": _alike(None),
    "oneslike": _alike(None, 1.0),
    "fulllike": _alike("fill_value"),
    "arange": _range,
    "arangelike": _range_like,
    **dict.fromkeys(("linspace", "logspace"), _space),
    **{name: _window(name) for name in ("blackman", "hamming", "hanning")},
    "eye": _eye,
}
