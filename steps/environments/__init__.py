"""Interpreters of their own for what a framework has to do, and how a program is run in one.

    from klever.steps.environments import run
    run("prove-mxnet", "run_mxnet", {"files": {...}, "inputs": "inputs.npz", "outputs": "outputs.npz"})

A framework is never imported by Klever: it needs its own versions of Python and numpy, runs native code over a user's
file, and takes seconds to load. What does not belong here: what is done in an environment, which is a program of
`klever.steps.programs`, and who asks for it.
"""

from typing import TYPE_CHECKING, Any

from klever.steps.environments.locate import find_interpreter, is_available
from klever.steps.environments.table import ENVIRONMENTS, Environment, environment

if TYPE_CHECKING:
    from klever.steps.environments.process import ProgramFailedError, run

__all__ = [
    "ENVIRONMENTS",
    "Environment",
    "ProgramFailedError",
    "environment",
    "find_interpreter",
    "is_available",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import what starts processes where it is asked for: a plan only looks at the table."""
    if name in ("ProgramFailedError", "run"):
        from klever.steps.environments import process

        return getattr(process, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
