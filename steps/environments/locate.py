"""Find the interpreter that serves an environment: this very one inside an image, else one made on request.

What does not belong here: making an environment.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from klever.steps.environments.table import Environment
from klever.steps.errors import EnvironmentMissingError
from klever.steps.stores import home_directory

#: The directory that holds environments, where not ``KLEVER_HOME/environments`` does.
ENVIRONMENTS_VARIABLE: Final = "KLEVER_ENVIRONMENTS"
#: Written last: an environment without it is one that was never finished.
MARKER: Final = "klever-environment.json"


def environments_directory(variables: Mapping[str, str] = os.environ) -> Path:
    """Return the directory that environments are made in and looked for, absolute: programs run in another one."""
    if given := variables.get(ENVIRONMENTS_VARIABLE):
        return Path(os.path.expanduser(given)).absolute()  # noqa: PTH111 - leaves an unknown user's name as it is
    return (home_directory(variables) / "environments").absolute()


def directory_of(wanted: Environment) -> Path:
    """Return where an environment lies, or would if it were made."""
    return environments_directory() / wanted.directory_name


def python_of(directory: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return directory / "bin" / "python"


def find_interpreter(wanted: Environment) -> Path:
    """Return the interpreter that serves ``wanted``; raises `EnvironmentMissingError` where there is none."""
    if serves(wanted):
        return Path(sys.executable)
    directory = directory_of(wanted)
    if is_made(directory):
        return python_of(directory)
    raise EnvironmentMissingError(
        f"the environment {wanted.id}, which is needed to {wanted.purpose}, is not on this machine",
        next_step=f"run klever environments create {wanted.id}",
    )


def is_available(wanted: Environment) -> bool:
    """Say whether an interpreter serves ``wanted``."""
    return serves(wanted) or is_made(directory_of(wanted))


def is_made(directory: Path) -> bool:
    """Say whether an environment was made in ``directory`` to the end."""
    # The interpreter is a link to the Python it was made of, which a user may have removed since.
    return (directory / MARKER).is_file() and os.access(python_of(directory), os.X_OK)


def made_with(directory: Path) -> str:
    """Return the version of Python that an environment was made with; empty where its marker does not tell."""
    try:
        marker = json.loads((directory / MARKER).read_bytes())
        return str(marker["python"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def serves(wanted: Environment) -> bool:
    """Say whether the running interpreter has what ``wanted`` asks for, by the metadata of its distributions."""
    if sys.version_info[:2] not in wanted.pythons or not sys.executable:
        return False
    from importlib.metadata import PackageNotFoundError, version

    try:
        if wanted.at_least:
            return all(_release(version(name)) >= _release(least) for name, least in wanted.at_least.items())
        # The part behind a plus is the builder's: 1.8.1+cpu is 1.8.1 (PEP 440, local versions).
        return all(
            version(name).partition("+")[0] == pinned.partition("+")[0]
            for name, _, pinned in (requirement.partition("==") for requirement in wanted.requirements)
        )
    except PackageNotFoundError:
        return False


def _release(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()
