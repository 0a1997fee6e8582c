"""Caffe2's two nets into ONNX, operator by operator from the definitions of both.

Light: what writes is imported when a model is converted. The rules of operators: ``rules``.
"""

from contextlib import ExitStack
from pathlib import Path

from klever.steps.converters.interface import (
    Conversion,
    Converter,
    Options,
    Progress,
    SourceModel,
    Survey,
    Uncovered,
    check_survey,
    no_progress,
)
from klever.steps.converters.netdef_to_onnx.fillers import Filled
from klever.steps.converters.netdef_to_onnx.sketch import Sketch
from klever.steps.converters.netdef_to_onnx.source import read_nets
from klever.steps.converters.netdef_to_onnx.translate import translate


class NetDefToOnnx(Converter):
    """``init_net.pb`` and ``predict_net.pb`` into ``model.onnx``."""

    version = "1"

    def survey(self, model: SourceModel, options: Options) -> Survey:
        """Draw the nets without keeping anything, and say what came in the way."""
        sketch = Sketch(options.opset)

        def fill(name: str, filled: Filled) -> str:
            del filled
            return sketch.unique(name)

        with ExitStack() as stack:
            nets = read_nets(model, options, stack)
            findings = translate(nets, sketch, fill, lambda _: None)
        questions = tuple(findings.questions(nets))
        uncovered = findings.uncovered()
        if findings.needs and not questions:
            # No answer would help: the shapes of all inputs are known.
            uncovered += tuple(
                Uncovered(kind, (node,), "the shape of what it reads cannot be known beforehand")
                for kind, _, node in (needing.partition(" for ") for needing in findings.needs)
            )
        return Survey(uncovered, questions, tuple(findings.notes))

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Write ``model.onnx`` into ``directory``."""
        check_survey(self.survey(model, options))
        from klever.steps.converters.netdef_to_onnx.convert import write

        return write(model, options, directory, progress)


CONVERTER = NetDefToOnnx()
