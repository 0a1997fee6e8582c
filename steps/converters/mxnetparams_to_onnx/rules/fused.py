"""Operators that MXNet's oneDNN backend fused, and its arithmetic in eight bits.

A fused operator keeps the graph that it replaced, which is converted in its place. What oneDNN computes in eight bits
depends on its kernels' rounding, so that nothing could prove a conversion: such models are converted from the network
before it was quantised. What does not belong here: the operators in a replaced graph.
"""

from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, UncoveredError
from klever.steps.errors import MalformedModelError


def _unfold(call: Call) -> Results:
    """Convert what was replaced; the operator's inputs are its variables, in their order."""
    if call.flag("quantized"):
        return _eight_bits(call)
    if len(call.subgraphs) != 1:
        raise MalformedModelError(f"node {call.name!r} ({call.operator}) lacks the graph that it replaced")
    (graph,) = call.subgraphs
    names = [node.name for node in graph.nodes if node.is_variable]
    operands = {name: call.operand(place) for place, name in enumerate(names)}
    results = call.translate(graph, call.graph, operands)
    for place, value in enumerate(results):
        call.typed(value.dtype, place)
    return [
        str(call.graph.add("Identity", [value.name], **call.last_of([place]))) if place in call.wanted else ""
        for place, value in enumerate(results)
    ]


def _eight_bits(_call: Call) -> Results:
    raise UncoveredError("arithmetic in eight bits follows oneDNN's own rounding; convert the network before it")


RULES: Final[dict[str, Rule]] = {
    "sgmkldnnconv": _unfold,
    "sgmkldnnfullyconnected": _unfold,
    **dict.fromkeys(
        (
            *("quantize", "quantizev2", "quantizeasym", "dequantize", "requantize", "quantizedact", "quantizedconv"),
            *("quantizedbatchnorm", "quantizedconcat", "quantizedelemwiseadd", "quantizedelemwisemul"),
            *("quantizedembedding", "quantizedflatten", "quantizedfullyconnected", "quantizedpooling", "quantizedrnn"),
        ),
        _eight_bits,
    ),
}
