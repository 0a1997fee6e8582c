"""Run a TorchScript archive for its proof, in the environment ``convert-torch``; the request is the folder's."""

from collections.abc import Callable
from typing import Any

import torch
from arrays import load as load_arrays
from arrays import save
from torchscript import RefusalError, flatten, load, name_results


def run(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Run ``forward`` once on the processor; arguments that no array is given for keep their defaults."""
    try:
        progress(0.1, "loading the archive")
        module = load(request["path"])
        progress(0.5, "running the model")
        given = _arguments(module, request["input_names"], load_arrays(request["inputs"]))
        with torch.no_grad():
            result = module(**given)
        named = name_results(list(flatten(result)), request["fetches"])
    except RefusalError as refusal:
        return {"refused": str(refusal)}
    save(request["outputs"], {name: tensor.numpy() for name, _, tensor in named})
    return {"runtime": "torch", "version": torch.__version__, "outputs": [name for name, _, _ in named]}


def _arguments(module: Any, names: list[str], arrays: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors under the names that the code gives them; ``names`` are the signature's, in its order."""
    own = [argument.name for argument in module.forward.schema.arguments[1:]]
    return {
        argument: torch.from_numpy(arrays[name]) for argument, name in zip(own, names, strict=False) if name in arrays
    }
