"""Named arrays in an npz: any name, no pickles; strings as numpy's unicode arrays.

``numpy.savez`` takes names as keyword arguments, and so not ``file``; `save` writes the same container without it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np


def load(path: str) -> dict[str, Any]:
    """Return name to array."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def save(path: str, named: Mapping[str, Any]) -> None:
    """Write arrays by name; text becomes unicode arrays, any other object is an error."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, value in named.items():
            array = np.asanyarray(value)
            if array.dtype == object:
                array = np.vectorize(_text, otypes=[str])(array) if array.size else array.astype(str)
            with archive.open(name + ".npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    raise TypeError("an array holds %s objects, which are neither numbers nor text" % type(value).__name__)
