"""A finished ONNX file that a library wrote, changed as the options ask. Graphs of our own do not belong here."""

from pathlib import Path

import onnx
from onnx import TensorProto

from klever.steps.errors import ConversionError, storage_error
from klever.steps.writers.onnx.half import halve
from klever.steps.writers.onnx.skeleton import infer


def halve_file(path: Path) -> None:
    """Store and compute a model in half precision, in place; inputs and outputs keep their types.

    Raises `ConversionError` where the result breaks a rule, or where the weights lie outside of the file: half of more
    than 2 GB would have to be in memory at once.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
        if any(each.data_location == TensorProto.EXTERNAL for each in model.graph.initializer):
            raise ConversionError("a model with external data cannot be halved", next_step="convert it in float32")
        halved, _ = halve(infer(model), {})
        onnx.save(halved, str(path))
    except OSError as error:
        raise storage_error(f"cannot write {path}", error) from error
