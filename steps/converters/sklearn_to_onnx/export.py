"""The run of skl2onnx. What does not belong here: what is found out without scikit-learn."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from klever.steps.converters.asked import asked_shapes
from klever.steps.converters.interface import Conversion, Options, Progress, SourceModel
from klever.steps.environments import run
from klever.steps.model.signature import Tensor

if TYPE_CHECKING:
    from klever.steps.converters.sklearn_to_onnx import Judgement


def export(
    model: SourceModel, judgement: "Judgement", options: Options, directory: Path, progress: Progress
) -> Conversion:
    """Write ``model.onnx`` into ``directory``; raises what `environments.run` raises."""
    # Where the file does not tell the number of features, a person did.
    given = model.signature.inputs or (Tensor(name="input", dtype="float64"),)
    asked = asked_shapes(given, options)
    inputs = [_plain(tensor.model_copy(update={"shape": asked.get(tensor.name, tensor.shape)})) for tensor in given]
    rows = inputs[0]["shape"][0] if inputs and inputs[0]["shape"] else -1
    reply = run(
        judgement.environment,
        "export_sklearn",
        {
            "path": str(model.path(model.claim.files[0]).absolute()),
            "output": str((directory / "model.onnx").absolute()),
            "opset": options.opset,
            "names": dict(judgement.names.allowed),
            "inputs": inputs,
            "outputs": [_plain(tensor) for tensor in model.signature.outputs or ()],
            "rows": rows,
        },
        progress,
    )
    ranges = {str(name): (int(low), int(high)) for name, (low, high) in reply.get("ranges", {}).items()}
    return Conversion(tuple(map(str, reply.get("notes", ()))), ranges)


def _plain(tensor: Tensor) -> dict[str, Any]:
    shape = None if tensor.shape is None else list(tensor.shape)
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": shape}
