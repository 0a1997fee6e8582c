"""Softmax in its forms, and the heads of losses, of which the prediction is kept and the labels are not.

Source: ``softmax-inl.h`` in MXNet's ``src/operator/nn``, ``softmax_output-inl.h``, ``regression_output-inl.h``,
``svm_output-inl.h`` and ``make_loss-inl.h`` in ``src/operator``. What does not belong here: losses that
return the loss.
"""

from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, UncoveredError
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import normalise_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _softmax(call: Call) -> Results:
    return _normalised(call, "Softmax")


def _log_softmax(call: Call) -> Results:
    return _normalised(call, "LogSoftmax")


def _softmin(call: Call) -> Results:
    return _normalised(call, "Softmax", negated=True)


def _normalised(call: Call, op: str, *, negated: bool = False) -> Results:
    """``temperature`` divides, ``dtype`` is that of the result, ``use_length`` masks what lies behind a length."""
    axis = call.integer("axis", -1)
    data = call.emit("Neg", [call.input()]) if negated else call.input()
    temperature = call.number("temperature", 1.0)
    if temperature != 1.0:
        data = call.emit("Div", [data, call.constant(temperature)])
    dtype = call.element_type(call.dtype())
    call.typed(dtype)
    if call.flag("use_length"):
        return _masked(call, op, data, normalise_axis(axis, call.rank()), dtype)
    data = call.as_type(data, call.dtype(), dtype)
    return call.finish(op, [data], axis=axis)


def _masked(call: Call, op: str, data: str, axis: int, dtype: str) -> Results:
    """Give no weight to elements at or behind the length, of which there is one for each of the other places."""
    lengths = call.graph.unsqueeze(call.as_type(call.input(1), call.dtype(1), "int64"), [axis])
    rank = call.rank()
    size = call.dims()[axis]
    if size >= 0:
        places = call.computed(lambda: _arange(size), "int64", (size,), "places")
    else:
        count = call.emit("Squeeze", [call.size_of(call.input(), axis), call.integers_constant([0])])
        places = call.emit("Range", [call.integers_constant(0), count, call.integers_constant(1)])
    places = call.graph.reshape(places, [-1 if at == axis else 1 for at in range(rank)])
    inside = call.emit("Less", [places, lengths])
    # A length of zero leaves nothing to divide by: the result is zero there too, as MXNet's is.
    low = call.emit("Where", [inside, data, call.constant(-1e30 if call.dtype() != "float16" else -6e4)])
    low = call.as_type(low, call.dtype(), dtype)
    return call.finish("Where", [inside, call.emit(op, [low], axis=axis), call.constant(0.0, dtype)])


def _arange(size: int) -> "NDArray[Any]":
    import numpy as np

    return np.arange(size)


def _softmax_output(call: Call) -> Results:
    """Over channels where each place has its classes, over the last axis, or over everything but the batch."""
    if call.flag("multi_output"):
        return call.finish("Softmax", [call.input()], axis=1)
    shape = call.shape()
    if call.flag("preserve_shape") or (shape is not None and len(shape) <= 2):
        return call.finish("Softmax", [call.input()], axis=-1)
    flat = call.emit("Flatten", [call.input()], axis=1)
    return call.finish("Reshape", [call.emit("Softmax", [flat], axis=-1), call.emit("Shape", [call.input()])])


def _softmax_activation(call: Call) -> Results:
    """``channel`` is over the second dimension; ``instance`` over the last, whatever its name says."""
    mode = call.word("mode", "instance")
    if mode not in ("instance", "channel"):
        raise MalformedModelError(f"node {call.name!r} has mode {mode[:20]!r}")
    return call.finish("Softmax", [call.input()], axis=1 if mode == "channel" else -1)


def _keep(call: Call) -> Results:
    return call.input()


def _logistic(call: Call) -> Results:
    return call.finish("Sigmoid", [call.input()])


def _refuse_loss(_call: Call) -> Results:
    raise UncoveredError("its result is a loss, which needs labels")


RULES: Final[dict[str, Rule]] = {
    "softmax": _softmax,
    "logsoftmax": _log_softmax,
    "softmin": _softmin,
    "softmaxoutput": _softmax_output,
    "softmaxactivation": _softmax_activation,
    # A plugin of text recognition networks: its forward pass is a softmax of (time * batch, classes).
    "warpctc": _softmax_output,
    "linearregressionoutput": _keep,
    "maeregressionoutput": _keep,
    "svmoutput": _keep,
    "logisticregressionoutput": _logistic,
    "makeloss": _keep,
    "blockgrad": _keep,
    "stopgradient": _keep,
    "identityattachklsparsereg": _keep,
    "gradientmultiplier": _keep,
    "softmaxcrossentropy": _refuse_loss,
    "ctcloss": _refuse_loss,
}
