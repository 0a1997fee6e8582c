"""Turn arguments into a verb, and what becomes of it into outputs, a message and an exit code.

Exit codes: 0 done; 1 a permanent failure; 75 a temporary one (EX_TEMPFAIL of sysexits.h), the only one worth another
try; 2 wrong usage; 130 interrupted, 143 terminated.
"""

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Final

from klever.api.task.contract import VERBS
from klever.api.task.inputs import DIRECTORY, Inputs, UsageError
from klever.api.task.outputs import make_directory, write_outputs
from klever.api.task.telling import Progress, message_of, tell_failure
from klever.steps.errors import KleverError, PermanentError, storage_error
from klever.steps.stores import Stores

_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})


class Terminated(BaseException):
    """Somebody wants this process to end: a deadline, a deleted pod, a cancelled run."""


#: As every command line of ours.
_WRONG_USAGE: Final = 2


class _FaultError(PermanentError):
    """A fault of Klever itself."""

    usual_step = "report this with the log"


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    verb = arguments[0] if arguments else ""
    if verb in ("", "-h", "--help"):
        (sys.stdout if verb else sys.stderr).write(help_text())
        return 0 if verb else _WRONG_USAGE
    try:
        _run(verb, arguments[1:])
    except KleverError as error:
        return _failed(error, verb)
    except Terminated:
        tell_failure(f"{verb}: it was told to end before it was done, and left nothing half done; next: run it again")
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        tell_failure(f"{verb}: it was interrupted before it was done, and left nothing half done; next: run it again")
        return 128 + signal.SIGINT
    except MemoryError:
        return _failed(PermanentError("the memory does not suffice", next_step="give this step more memory"), verb)
    except OSError as error:
        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a file"
        return _failed(storage_error(f"cannot use {place}", error), verb)
    except Exception as error:  # noqa: BLE001 - whatever it is, the message says so
        import traceback

        traceback.print_exc()
        return _failed(_FaultError(f"a fault of Klever itself: {type(error).__name__}: {error}"), verb)
    return 0


def _run(verb: str, arguments: Sequence[str]) -> None:
    if verb not in VERBS:
        raise UsageError(f"there is no verb {verb[:40]!r}", stage="usage", next_step=f"use one of {', '.join(VERBS)}")
    inputs = Inputs.parse(verb, arguments)
    directory = Path(inputs.text(DIRECTORY.name)) if inputs.text(DIRECTORY.name) else None
    if directory is not None:
        make_directory(directory)
    stores, progress = _stores(), Progress()
    try:
        values = import_module(f"klever.api.task.verbs.{verb}").run(inputs, stores, progress)
    finally:
        stores.close()
    if directory is not None:
        write_outputs(directory, {name: values[name] for name in VERBS[verb].outputs})
    progress.report(1.0)


def help_text() -> str:
    """Return what ``klever-task --help`` prints."""
    lines = ["Usage: klever-task VERB --NAME=VALUE ... [--directory=DIRECTORY]", ""]
    for name, verb in VERBS.items():
        lines += [f"{name}: {verb.about}"]
        lines += [f"  --{each.name}=  {each.about}{' (repeatable)' * each.repeated}" for each in verb.inputs]
        lines += [f"  {output}  <- {about}" for output, about in verb.outputs.items()]
    return "\n".join(lines) + "\n"


def _terminate(_number: int, _frame: FrameType | None) -> None:
    # Once is enough: what is cleaning up is not to be interrupted.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def _failed(error: KleverError, verb: str) -> int:
    tell_failure(message_of(error, verb))
    return _WRONG_USAGE if isinstance(error, UsageError) else error.exit_code


def _stores() -> Stores:
    """Return the stores as the variables of the connection say, which the command line ``klever`` takes too."""
    ca_file = os.environ.get("KLEVER_CA_FILE")
    return Stores(
        plain_http=os.environ.get("KLEVER_PLAIN_HTTP", "").lower() in _TRUE,
        insecure=os.environ.get("KLEVER_INSECURE", "").lower() in _TRUE,
        ca_file=Path(ca_file) if ca_file else None,
    )
