"""Find a Python of the version that an environment needs, among those that this machine has.

What does not belong here: installing a Python.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from klever.steps.environments.table import Environment
from klever.steps.errors import EnvironmentMissingError

#: What a Python has to answer: its version, and that it can make virtual environments with pip in them.
_PROBE: Final = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
#: A Python that takes longer to start is broken, or on a network that is; in seconds.
_PROBE_TIMEOUT: Final = 30.0


def find_python(wanted: Environment) -> Path:
    """Return a Python that ``wanted`` can be made with, of the version that it prefers among those there are.

    Looked for, in this order: the running one, ``KLEVER_PYTHON_3_8`` (of that version), ``python3.8`` on the PATH,
    pyenv's, what ``uv python find`` knows. Raises `EnvironmentMissingError`.
    """
    for version in wanted.pythons:
        for python in _candidates(*version):
            if _answers(python, version):
                return python
    names = " or ".join(f"{major}.{minor}" for major, minor in wanted.pythons)
    major, minor = wanted.pythons[0]
    raise EnvironmentMissingError(
        f"the environment {wanted.id} needs Python {names} with venv and pip, and none is on this machine",
        next_step=f"install one, or set {variable_of(major, minor)} to its path; or use a container image that has it",
    )


def variable_of(major: int, minor: int) -> str:
    """Return the variable that may name a Python of this version."""
    return f"KLEVER_PYTHON_{major}_{minor}"


def _candidates(major: int, minor: int) -> Iterator[Path]:
    if given := os.environ.get(variable_of(major, minor)):
        yield Path(given)
    if sys.version_info[:2] == (major, minor) and sys.executable:
        yield Path(sys.executable)
    if found := shutil.which(f"python{major}.{minor}"):
        yield Path(found)
    yield from _of_pyenv(major, minor)
    if known := _of_uv(major, minor):
        yield known


def _of_pyenv(major: int, minor: int) -> Iterator[Path]:
    """Yield the Pythons that pyenv built, the newest patch first; its shims answer for the chosen version alone."""
    root = Path(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"))  # noqa: PTH111 - for a user without a home
    found = [
        (int(match[1]), path)
        for path in root.glob(f"versions/{major}.{minor}.*")
        if (match := _PATCH.search(path.name))
    ]
    yield from (path / "bin" / "python" for _, path in sorted(found, reverse=True))


_PATCH: Final = re.compile(r"^\d+\.\d+\.(\d+)$")


def _of_uv(major: int, minor: int) -> Path | None:
    uv = shutil.which("uv")
    answer = _ask([uv, "python", "find", "--no-python-downloads", f"{major}.{minor}"]) if uv else ""
    return Path(answer) if answer else None


def _answers(python: Path, version: tuple[int, int]) -> bool:
    """Say whether a Python starts, is of this version and can make environments."""
    return _ask([str(python), "-I", "-c", _PROBE]) == "{}.{}".format(*version)


def _ask(command: list[str]) -> str:
    try:
        answer = subprocess.run(  # noqa: S603 - a Python, or uv
            command, capture_output=True, text=True, timeout=_PROBE_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeError):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
