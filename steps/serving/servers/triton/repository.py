"""Where a model's files lie in the directory of its version, under the names that Triton's backends look for.

What does not belong here: ``config.pbtxt``.
"""

import posixpath
from dataclasses import dataclass
from typing import Final

from klever.steps.errors import ServingError
from klever.steps.serving.servers.interface import ServedModel
from klever.steps.serving.servers.triton.backends import BACKENDS

#: The only version that the repository has: an artifact is one.
VERSION: Final = "1"
_SAVED_MODEL: Final = "saved_model.pb"
_NETDEF_INIT: Final = "init_model.netdef"


@dataclass(frozen=True)
class Files:
    """Path in the model's directory to the path below ``model/``, and the model's name where it is not the usual."""

    places: dict[str, str]
    file_name: str = ""


def place_files(model: ServedModel) -> Files:
    """Return where which file lies; raises `ServingError` where one is missing."""
    if not model.claim.files:
        raise ServingError(f"{model.name} has no files")
    usual, first = BACKENDS[model.format].file, model.claim.files[0]
    match model.format:
        case "SavedModel":
            return Files(_beside(model, first, f"{VERSION}/{usual}/", _SAVED_MODEL))
        case "ONNX":
            # External data are named relative to the model, under any name: what lies beside and below comes along.
            names = _beside(model, first, f"{VERSION}/", usual)
            if f"{VERSION}/{usual}" in names and names[f"{VERSION}/{usual}"] != first:
                own = posixpath.basename(first)
                return Files(names | {f"{VERSION}/{own}": first}, own)
            return Files(names)
        case "NetDef":
            if len(model.claim.files) < 2:
                raise ServingError(f"{model.name} has no net that fills the weights")
            return Files({f"{VERSION}/{usual}": first, f"{VERSION}/{_NETDEF_INIT}": model.claim.files[1]})
        case _:
            return Files({f"{VERSION}/{usual}": first})


def _beside(model: ServedModel, first: str, target: str, name: str) -> dict[str, str]:
    """Return the places of a file under ``name`` and of everything in its directory, whose names win."""
    folder = posixpath.dirname(first)
    prefix = f"{folder}/" if folder else ""
    others = [path for path in model.files.sizes if path.startswith(prefix) and path != first]
    return {f"{target}{name}": first} | {f"{target}{path.removeprefix(prefix)}": path for path in others}
