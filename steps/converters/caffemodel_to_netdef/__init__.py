"""Caffe's network and weights into Caffe2's two nets, layer by layer from the definitions of both.

Light: what touches weights is imported when a model is converted. The rules of layers: ``layers``.
"""

from pathlib import Path

from klever.steps.converters.caffemodel_to_netdef.source import read_source
from klever.steps.converters.caffemodel_to_netdef.translate import Translation, translate
from klever.steps.converters.interface import (
    Conversion,
    Converter,
    Options,
    Progress,
    Question,
    SourceModel,
    Survey,
    check_survey,
    no_progress,
)
from klever.steps.model.shapes import UNKNOWN, Shape


class CaffeModelToNetDef(Converter):
    """A ``*.caffemodel`` and its prototxt into ``init_net.pb`` and ``predict_net.pb``."""

    version = "1"

    def survey(self, model: SourceModel, options: Options) -> Survey:
        """Translate without reading or writing a weight, and say what came in the way."""
        graph, _, weights = read_source(model, options)
        return _survey(translate(graph, weights))

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Write the two nets into ``directory``, and beside them the shapes of the inputs."""
        graph, file, weights = read_source(model, options)
        translation = translate(graph, weights)
        check_survey(_survey(translation))
        from klever.steps.converters.caffemodel_to_netdef.convert import write

        return write(translation, graph.name or "caffe", model.files, file, directory, progress)


def _survey(translation: Translation) -> Survey:
    shapes = {given.name: given.shape for given in translation.inputs}
    questions = tuple(
        Question(f"the shape of the input {name!r} is not in the files", f"--shape {name}={_example(shapes.get(name))}")
        for name in translation.asked
    )
    return Survey(translation.uncovered, questions, translation.notes)


def _example(shape: Shape) -> str:
    """Complete a shape by what images usually have."""
    usual = (1, 3, 224, 224)
    if shape is None or len(shape) > len(usual):
        shape = usual
    return ",".join(str(usual[at] if size == UNKNOWN else size) for at, size in enumerate(shape))


CONVERTER = CaffeModelToNetDef()
