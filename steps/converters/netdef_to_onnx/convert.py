"""The graph of the nets, written as ONNX. Imports numpy and onnx, so it is imported when a model is converted."""

from contextlib import ExitStack
from pathlib import Path

from klever.steps.converters.interface import Conversion, Options, Progress, SourceModel
from klever.steps.converters.netdef_to_onnx.fillers import Filled
from klever.steps.converters.netdef_to_onnx.source import read_nets
from klever.steps.converters.netdef_to_onnx.translate import translate
from klever.steps.converters.netdef_to_onnx.weights import weight_of
from klever.steps.errors import ConversionError
from klever.steps.writers.onnx import GraphBuilder, write_model


def write(model: SourceModel, options: Options, directory: Path, progress: Progress) -> Conversion:
    """Translate a model that the survey found nothing against, and write ``model.onnx``."""
    with ExitStack() as stack:
        nets = read_nets(model, options, stack)
        graph = GraphBuilder(nets.predict.name or "net", options.opset)

        def fill(name: str, filled: Filled) -> str:
            return graph.weight(name, weight_of(filled))

        findings = translate(nets, graph, fill, graph.reserve)
        if findings.uncovered() or findings.needs:
            raise ConversionError("the nets are not what they were when they were surveyed", stage="convert")
        progress(0.1, "writing")
        write_model(
            graph,
            directory / "model.onnx",
            half=options.dtype == "float16",
            progress=lambda part: progress(0.1 + 0.9 * part, "writing"),
        )
    ranges = {name: found for name, found in findings.ranges.items() if name in nets.inputs}
    return Conversion(tuple(findings.notes), ranges)
