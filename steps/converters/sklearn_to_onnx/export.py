"""The run of skl2onnx. What does not belong here: what is found out without scikit-learn."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    inputs = [_plain(tensor, options) for tensor in given]
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
            "outputs": [_plain(tensor, Options()) for tensor in model.signature.outputs or ()],
            "rows": rows,
        },
        progress,
    )
    ranges = {str(name): (int(low), int(high)) for name, (low, high) in reply.get("ranges", {}).items()}
    return Conversion(tuple(map(str, reply.get("notes", ()))), ranges)


def _plain(tensor: Tensor, options: Options) -> dict[str, Any]:
    shape = options.shapes.get(tensor.name, tensor.shape)
    if shape and options.batch is not None and tensor.name not in options.shapes:
        shape = (options.batch, *shape[1:])
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": None if shape is None else list(shape)}
