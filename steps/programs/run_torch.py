"""Run a TorchScript archive on given inputs: the proof's side of the source. In the environment ``convert-torch``."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torchscript import RefusalError, flatten, load, name_results


def run(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Run ``path`` on the arrays of ``inputs``, an npz file, and write those of ``outputs``.

    ``input_names`` are the arguments' names in their order, by default those in the file; ``output_names`` those of the
    results as the signature lists them. Arguments that are not given keep their defaults.
    """
    try:
        progress(0.1, "loading the archive")
        module = load(request["path"])
        with np.load(request["inputs"]) as arrays:
            order = request.get("input_names") or arrays.files
            tensors = {name: torch.from_numpy(arrays[name]) for name in order if name in arrays.files}
        arguments = [argument.name for argument in module.forward.schema.arguments[1:]]
        given = {argument: tensors[name] for argument, name in zip(arguments, order, strict=False) if name in tensors}
        progress(0.5, "running the model")
        with torch.no_grad():
            result = module(**given)
        named = name_results(list(flatten(result)), request.get("output_names") or [])
    except RefusalError as refusal:
        return {"refused": str(refusal)}
    np.savez(request["outputs"], **{name: tensor.numpy() for name, _, tensor in named})
    return {"runtime": "torch", "version": torch.__version__, "outputs": [name for name, _, _ in named]}
