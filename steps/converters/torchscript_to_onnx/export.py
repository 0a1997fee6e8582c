"""The run of the exporter, and what is done with the file that it leaves.

What does not belong here: what is found out without torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from klever.steps.converters.interface import Conversion, Options, Progress, SourceModel
from klever.steps.converters.torchscript_to_onnx.arguments import Argument
from klever.steps.environments import run

#: Nothing depends on the values; a fixed seed makes the same file of the same archive.
_SEED: Final = 0


def export(
    model: SourceModel,
    given: Sequence[Argument],
    options: Options,
    directory: Path,
    progress: Progress,
    environment: str,
) -> Conversion:
    """Write ``model.onnx`` into ``directory``; raises what `environments.run` raises."""
    reply = run(
        environment,
        "export_torchscript",
        {
            "path": str(model.path(model.claim.files[0]).absolute()),
            "output": str((directory / "model.onnx").absolute()),
            "opset": options.opset,
            "inputs": [argument.to_json() for argument in given],
            "outputs": [tensor.name for tensor in model.signature.outputs or ()],
            "seed": _SEED,
        },
        progress,
    )
    if options.dtype == "float16":
        from klever.steps.writers.onnx.rewrite import halve_file

        progress(0.9, "halving the precision")
        halve_file(directory / "model.onnx")
    ranges = {str(name): (int(low), int(high)) for name, (low, high) in reply.get("ranges", {}).items()}
    return Conversion(tuple(map(str, reply.get("notes", ()))), ranges)
