"""Frozen graphs of TensorFlow become ONNX by tf2onnx; inputs are the placeholders, outputs what nothing reads.

What does not belong here: TensorFlow, which the program `export_tensorflow_onnx` runs.
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
from klever.steps.errors import MalformedModelError
from klever.steps.formats.graphdef.reader import read_contents
from klever.steps.model.signature import Tensor

_VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})


class GraphDefToONNX(Converter):
    """Frozen graph to ONNX."""

    version = "2"
    environment = ENVIRONMENT

    def survey(self, model: SourceModel, options: Options) -> Survey:
        """List the operators that the outputs need and nothing converts."""
        return survey_graph(_graph(model), options)

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Write ``model.onnx``."""
        source = {"source": "graphdef", "path": str(model.path(model.claim.files[0]).absolute())}
        return export(_graph(model), source, options, directory, progress)


def _graph(model: SourceModel) -> TensorFlowGraph:
    """Read the graph; raises `MalformedModelError` where it is not frozen."""
    contents = read_contents(model.files, model.claim.files[0])
    if variables := [node.name for node in contents.nodes.values() if node.op in _VARIABLES]:
        raise MalformedModelError(
            f"the graph is not frozen: variables, as {variables[0]:.100}, have no value in it",
            next_step="freeze it, or give the SavedModel that it is of",
        )
    signature = model.signature
    known = contents.nodes.keys()
    inputs, outputs = (
        tuple(_at_its_node(tensor) for tensor in tensors or () if tensor.name.partition(":")[0] in known)
        for tensors in (signature.inputs, signature.outputs)
    )
    return TensorFlowGraph(tuple(contents.nodes.values()), contents.functions, inputs, outputs)


def _at_its_node(tensor: Tensor) -> Tensor:
    name = tensor.name if ":" in tensor.name else f"{tensor.name}:0"
    return tensor.model_copy(update={"tensor_name": name})


CONVERTER = GraphDefToONNX()
