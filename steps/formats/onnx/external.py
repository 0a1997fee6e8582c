"""External data: tensors whose bytes lie in other files (https://onnx.ai/onnx/repo-docs/ExternalData.html).

Only names and sizes are looked at. A location that is absolute or leaves the model's directory is refused before
anything is opened.
"""

import posixpath
from collections.abc import Iterable
from typing import Final

from klever.steps.encodings.protobuf import Message, fields, text
from klever.steps.errors import MissingFilesError, TruncatedModelError, UnsafeModelError
from klever.steps.files import ModelFiles

#: ONNX Runtime's mark for tensors at an address of its own process, which no file may hold.
_MEMORY_ADDRESS: Final = "*/_ORT_MEM_ADDR_/*"
_MAX_NAMED: Final = 8


class ExternalData:
    """The external files of the model at ``path``, collected while it is read and checked afterwards."""

    def __init__(self, files: ModelFiles, path: str) -> None:
        self._sizes = files.sizes
        self._directory = posixpath.dirname(path)
        #: Path in the model to the last byte that a tensor needs of it.
        self._needed: dict[str, int] = {}

    def add(self, name: str, entries: Iterable[bytes | Message]) -> None:
        """Take the ``external_data`` entries of the tensor ``name``; raises `UnsafeModelError`."""
        pairs = dict(_read_entry(entry) for entry in entries)
        location = pairs.get("location", "")
        path = self._resolve(name, location)
        end = _number(pairs.get("offset")) + _number(pairs.get("length"))
        self._needed[path] = max(end, self._needed.get(path, 0))

    def check(self) -> None:
        """Raise `MissingFilesError` for files that are not there, `TruncatedModelError` for those too short."""
        missing = tuple(sorted(path for path in self._needed if path not in self._sizes))
        if missing:
            more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
            named = ", ".join(repr(path[:100]) for path in missing[:_MAX_NAMED])
            raise MissingFilesError(
                f"the weights lie in files that are not there: {named}{more}",
                missing=missing,
                next_step="put them beside the model",
            )
        for path, end in self._needed.items():
            if end > self._sizes[path]:
                raise TruncatedModelError(f"{path[:100]!r} has {self._sizes[path]} bytes where the model needs {end}")

    def _resolve(self, name: str, location: str) -> str:
        plain = location.replace("\\", "/")
        path = posixpath.normpath(plain) if plain else "."
        unsafe = (
            path.startswith(("/", "../"))
            or path in (".", "..")
            or plain[1:2] == ":"
            or "\0" in plain
            or location == _MEMORY_ADDRESS
        )
        if unsafe:
            raise UnsafeModelError(
                f"tensor {name[:100]!r} takes its data from {location[:100]!r}, "
                "which is not a file in the model's directory"
            )
        return posixpath.join(self._directory, path)


def _read_entry(part: bytes | Message) -> tuple[str, str]:
    pair = {number: text(value) for number, value in fields(part) if not isinstance(value, int)}
    return pair.get(1, ""), pair.get(2, "")


def _number(digits: str | None) -> int:
    """Return an offset or length, which the format writes in decimal digits; without one, zero."""
    return int(digits) if digits and digits.isascii() and digits.isdigit() and len(digits) < 20 else 0
