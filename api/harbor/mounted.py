"""A robot's name and password, as a pod has them: two files of a mounted secret.

What does not belong here: credentials of people, which `klever login` keeps (`klever.steps.oci.credentials`).
"""

from pathlib import Path
from typing import Final

from klever.steps.errors import UnauthorizedError, storage_error
from klever.steps.oci.credentials import Credentials

#: Longest name or password that is read, in bytes.
_MAX_BYTES: Final = 1 << 16


def read_credentials(username_file: Path, password_file: Path) -> Credentials:
    """Return what the files hold now, for a mounted secret changes. Raises `StorageError`, `UnauthorizedError`."""
    return Credentials(_read(username_file), _read(password_file))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode().strip("\r\n")
    except OSError as error:
        raise storage_error(f"cannot read {path}", error) from error
    except UnicodeDecodeError:
        raise UnauthorizedError(f"{path} is not UTF-8 text", stage="registry") from None
