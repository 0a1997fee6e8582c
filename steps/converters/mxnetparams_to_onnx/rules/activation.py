"""Activation functions, those with a slope of their own included.

Source: ``activation-inl.h`` in MXNet's ``src/operator/nn``, ``leaky_relu-inl.h`` in ``src/operator``. What does not
belong here: softmax, which looks at more than one element.
"""

from collections.abc import Callable
from math import sqrt
from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, UncoveredError
from klever.steps.errors import MalformedModelError


def _simple(op: str) -> Callable[[Call], Results]:
    def rule(call: Call) -> Results:
        return call.finish(op, [call.input()])

    return rule


def _log_sigmoid(call: Call) -> Results:
    """-softplus(-x) does not underflow where log(sigmoid(x)) does."""
    return call.finish("Neg", [call.emit("Softplus", [call.emit("Neg", [call.input()])])])


def _mish(call: Call) -> Results:
    data = call.input()
    if call.graph.opset >= 18:
        return call.finish("Mish", [data])
    return call.finish("Mul", [data, call.emit("Tanh", [call.emit("Softplus", [data])])])


def _silu(call: Call) -> Results:
    data = call.input()
    return call.finish("Mul", [data, call.emit("Sigmoid", [data])])


def _gelu(call: Call) -> Results:
    """Use the error function, as MXNet does, and not its approximation by tanh."""
    data = call.input()
    if call.graph.opset >= 20:
        return call.finish("Gelu", [data])
    error = call.emit("Erf", [call.emit("Mul", [data, call.constant(1 / sqrt(2))])])
    share = call.emit("Mul", [call.emit("Add", [error, call.constant(1.0)]), call.constant(0.5)])
    return call.finish("Mul", [data, share])


def _hard_sigmoid(call: Call) -> Results:
    alpha, beta = call.number("alpha", 0.2), call.number("beta", 0.5)
    return call.finish("HardSigmoid", [call.input()], alpha=alpha, beta=beta)


_ACTIVATIONS: Final[dict[str, Rule]] = {
    "relu": _simple("Relu"),
    "sigmoid": _simple("Sigmoid"),
    "tanh": _simple("Tanh"),
    "softrelu": _simple("Softplus"),
    "softsign": _simple("Softsign"),
    "log_sigmoid": _log_sigmoid,
    "mish": _mish,
    "silu": _silu,
    "gelu": _gelu,
}


def _activate(call: Call) -> Results:
    return _chosen(call, _ACTIVATIONS, call.word("act_type"))


def _chosen(call: Call, table: dict[str, Rule], kind: str) -> Results:
    if kind not in table:
        raise MalformedModelError(f"node {call.name!r} has act_type {kind[:20]!r}")
    return table[kind](call)


def _leak(call: Call) -> Results:
    return _chosen(call, _LEAKS, call.word("act_type", "leaky"))


def _leaky(call: Call) -> Results:
    return call.finish("LeakyRelu", [call.input()], alpha=call.number("slope", 0.25))


def _randomly_leaky(call: Call) -> Results:
    """``rrelu`` draws its slope while it trains, and takes the middle of the range afterwards."""
    if 1 in call.wanted:
        raise UncoveredError("its second result, the slopes drawn at random, is not there when the network is used")
    low, high = call.number("lower_bound", 0.125), call.number("upper_bound", 0.334)
    return call.finish("LeakyRelu", [call.input()], alpha=(low + high) / 2)


def _exponential(call: Call) -> Results:
    return call.finish("Elu", [call.input()], alpha=call.number("slope", 0.25))


def _leaky_by_weight(call: Call) -> Results:
    """``prelu``: one slope, or one for each channel, which stands at the second place of the data."""
    slopes = call.shape(1)
    if slopes is not None and len(slopes) == 1 and slopes[0] != 1:
        rank = call.rank()
        if rank > 2:
            shape = (slopes[0], *[1] * (rank - 2))
            weight = call.weight(1)
            if weight is not None and slopes[0] > 0:
                return call.finish("PRelu", [call.input(), call.replaced(1, weight.reshape(shape))])
            return call.finish("PRelu", [call.input(), call.graph.reshape(call.input(1), shape)])
    return call.finish("PRelu", [call.input(), call.input(1)])


_LEAKS: Final[dict[str, Rule]] = {
    "leaky": _leaky,
    "rrelu": _randomly_leaky,
    "elu": _exponential,
    "selu": _simple("Selu"),
    "gelu": _gelu,
    "prelu": _leaky_by_weight,
}

RULES: Final[dict[str, Rule]] = {
    "activation": _activate,
    "leakyrelu": _leak,
    "relu": _simple("Relu"),
    "sigmoid": _simple("Sigmoid"),
    "softsign": _simple("Softsign"),
    "hardsigmoid": _hard_sigmoid,
    "logsigmoid": _log_sigmoid,
    "mish": _mish,
    "silu": _silu,
    "gelu": _gelu,
}
