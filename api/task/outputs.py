"""The outputs of a task: a file each, all of them written when the work has succeeded, and none before.

What does not belong here: what the values are.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from klever.steps.errors import storage_error


def make_directory(directory: Path) -> None:
    """Make the directory of the outputs, before any work is done for them; raises `StorageError`."""
    with _storing(directory):
        directory.mkdir(parents=True, exist_ok=True)


def write_outputs(directory: Path, values: Mapping[str, str]) -> None:
    """Write each value to the file of its name; raises `StorageError`.

    No file is ever seen half written. The values have no line end, which Argo would take for a part of them.
    """
    with _storing(directory):
        written = []
        for name, value in values.items():
            new = directory / f".{name}.{os.getpid()}"
            new.write_bytes(value.encode())
            written.append((new, directory / name))
        for new, path in written:
            new.replace(path)


@contextmanager
def _storing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(f"cannot write the outputs to {directory}", error) from error
