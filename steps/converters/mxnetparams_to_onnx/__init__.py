"""MXNetParams to ONNX, operator by operator, from the symbol file and the params file alone.

The survey runs the rules on a builder that keeps nothing; `convert` imports numpy and onnx. What does not belong here:
any operator.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from klever.steps.converters.interface import (
    Conversion,
    Converter,
    Options,
    Progress,
    Question,
    SourceModel,
    Survey,
    Uncovered,
    check_survey,
    no_progress,
)
from klever.steps.converters.mxnetparams_to_onnx.call import Operand, Value
from klever.steps.converters.mxnetparams_to_onnx.network import Network, computed_type, describe_doubts, read_network
from klever.steps.converters.mxnetparams_to_onnx.sketch import Sketch, SketchWeight
from klever.steps.converters.mxnetparams_to_onnx.walk import Finding, Walk
from klever.steps.model.shapes import UNKNOWN

#: What the sizes of an image, a sequence and a volume are called.
_LETTERS: Final = {3: "NCW", 4: "NCHW", 5: "NCDHW"}


class MXNetParamsToONNX(Converter):
    """MXNet's symbol and arrays to an ONNX model."""

    version = "1"

    def survey(self, model: SourceModel, options: Options) -> Survey:
        """Find what has no rule, and which sizes the rules would need to know."""
        return _survey(read_network(model, options), options)

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Write ``model.onnx``."""
        progress(0.0, "reading")
        network = read_network(model, options)
        check_survey(_survey(network, options))
        from klever.steps.converters.mxnetparams_to_onnx.convert import convert_network

        return convert_network(model, network, options, directory, progress)


def _survey(network: Network, options: Options) -> Survey:
    operands: dict[str, Operand] = {
        tensor.name: Operand(Value(tensor.name, str(tensor.dtype), network.shapes.of(tensor.name)))
        for tensor in network.inputs
    }
    for name, array in network.arrays.items():
        dtype, shape = computed_type(array.dtype), array.shape or ()
        operands[name] = Operand(Value(name, dtype, shape), cast(Any, SketchWeight(dtype, shape)))
    walk = Walk(operands)
    walk.run(network.graph, network.shapes, operands, cast(Any, Sketch(options.opset)), {})
    uncovered, questions = list(walk.uncovered), _questions(network, walk.lacking)
    if walk.lacking and not questions:
        uncovered += [
            Finding(each.operator, each.node, "the shape of what it reads does not follow from the inputs' shapes")
            for each in walk.lacking
        ]
    return Survey(uncovered=_grouped(uncovered), questions=questions, notes=describe_doubts(network))


def _questions(network: Network, lacking: Sequence[Finding]) -> tuple[Question, ...]:
    """Ask for the shape of each input without a rank, and of all that are not fully known where a rule needs sizes."""
    if not lacking:
        return tuple(
            Question(f"the shape of input {tensor.name!r} is not in the files", f"--shape {tensor.name}=1,...")
            for tensor in network.inputs
            if tensor.shape is None
        )
    first = lacking[0]
    others = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return tuple(
        Question(
            f"the shape of input {tensor.name!r} is not fully known, and node {first.node!r} ({first.operator})"
            f"{others} needs it",
            f"--shape {tensor.name}={_example(tensor.shape)}",
        )
        for tensor in network.inputs
        if tensor.shape is None or UNKNOWN in tensor.shape
    )


def _example(shape: tuple[int, ...] | None) -> str:
    """Write a shape with what has to be filled in: a batch of 1, letters elsewhere."""
    if shape is None:
        return "1,..."
    letters = _LETTERS.get(len(shape), "NABDEFGHIJKLMOPQRSTUVWXYZ" * 2)
    sizes = ("1" if letter == "N" else letter for letter in letters)
    return ",".join(letter if size == UNKNOWN else str(size) for size, letter in zip(shape, sizes, strict=False))


def _grouped(findings: Sequence[Finding]) -> tuple[Uncovered, ...]:
    nodes: dict[tuple[str, str], list[str]] = {}
    for each in findings:
        nodes.setdefault((each.operator, each.reason), []).append(each.node)
    return tuple(Uncovered(operator, tuple(names), reason) for (operator, reason), names in nodes.items())


CONVERTER = MXNetParamsToONNX()
