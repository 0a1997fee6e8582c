"""SavedModels become ONNX: the signature ``serving_default``, or the first there is, by tf2onnx.

Inputs and outputs are named as the signature's. What does not belong here: TensorFlow, which the program
`export_tensorflow_onnx` runs.
"""

from pathlib import Path

from klever.steps.converters.interface import (
    Conversion,
    Converter,
    Options,
    Progress,
    SourceModel,
    Survey,
    no_progress,
)
from klever.steps.converters.tensorflow_graphs import ENVIRONMENT, TensorFlowGraph, export, survey_graph
from klever.steps.formats.savedmodel.reader import MetaGraph, read_served, served_signature


class SavedModelToONNX(Converter):
    """SavedModel to ONNX."""

    version = "2"
    environment = ENVIRONMENT

    def survey(self, model: SourceModel, options: Options) -> Survey:
        """List the operators that the signature needs and nothing converts, functions included."""
        return survey_graph(_graph(read_served(model.files, model.claim.files[0])), options)

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Write ``model.onnx``."""
        name = model.claim.files[0]
        served = read_served(model.files, name)
        source = {"source": "savedmodel", "path": str(model.path(name).absolute()), "tags": served.tags}
        return export(_graph(served), source, options, directory, progress)


def _graph(served: MetaGraph) -> TensorFlowGraph:
    chosen = served_signature(served)
    signature = served.signatures[chosen] if chosen is not None else None
    inputs = (signature.inputs if signature else None) or ()
    outputs = (signature.outputs if signature else None) or ()
    return TensorFlowGraph(served.nodes, served.functions, tuple(inputs), tuple(outputs))


CONVERTER = SavedModelToONNX()
