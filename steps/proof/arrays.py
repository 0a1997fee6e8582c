"""The arrays that go to a program and come from it: an npz whose keys are names of a signature, without pickles.

The other side of `klever.steps.programs.arrays`.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klever.steps.errors import ConversionError

Array = NDArray[Any]


def save(path: Path, named: Mapping[str, Array]) -> None:
    """Write arrays; ``numpy.savez`` takes names as keyword arguments, and so not every name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in named.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def load(path: Path) -> dict[str, Array]:
    """Read arrays that a program wrote; raises `ConversionError` where it wrote none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConversionError(f"the program wrote no outputs that can be read: {error}") from error
