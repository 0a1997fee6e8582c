"""What a check finds, and how checks are run: all at once, each for a few seconds, none in the way of another.

What does not belong here: what is checked.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from klever.steps.errors import KleverError, printable
from klever.workflows.argo.errors import ForbiddenError

#: Seconds that one check may take.
SECONDS: Final = 5.0


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, what was seen, and for all that is not well what to do."""

    name: str
    state: State
    detail: str
    next_step: str = ""


#: Looks at one thing and says what it found; it may raise whatever it meets.
Probe = Callable[[], Iterable[Check]]


def ok(name: str, detail: str) -> Check:
    """Return the finding that all is well."""
    return Check(name, State.OK, detail)


def warning(name: str, detail: str, next_step: str) -> Check:
    """Return the finding of what works and should be otherwise."""
    return Check(name, State.WARNING, detail, next_step)


def failed(name: str, detail: str, next_step: str) -> Check:
    """Return the finding of what does not work."""
    return Check(name, State.FAILED, detail, next_step)


def skipped(name: str, detail: str, next_step: str = "") -> Check:
    """Return that something could not be looked at, with the reason."""
    return Check(name, State.SKIPPED, detail, next_step)


def run(probes: Mapping[str, Probe], seconds: float = SECONDS) -> list[Check]:
    """Run probes at the same time and return their findings in the order of the probes.

    One that raises or takes longer than ``seconds`` is a finding of that name, and stops no other.
    """
    found: dict[str, Sequence[Check]] = {}
    # Not a pool, which waits at its end for what never answers.
    threads = {
        name: threading.Thread(target=_look, args=(name, probe, found), name=f"doctor-{name}", daemon=True)
        for name, probe in probes.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + seconds
    checks: list[Check] = []
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        late = failed(
            name, f"no answer within {seconds:g} s", "check the network between here and there, then try again"
        )
        checks += found.get(name, (late,))
    return checks


def _look(name: str, probe: Probe, found: dict[str, Sequence[Check]]) -> None:
    try:
        found[name] = tuple(probe())
    except ForbiddenError as error:
        # Whoever asks need not have the rights of an administrator.
        found[name] = (skipped(name, error.cause, error.next_step),)
    except KleverError as error:
        found[name] = (failed(name, error.cause, error.next_step or "see above, and try again"),)
    except Exception as error:  # noqa: BLE001 - whatever one check meets, the others are made
        cause = f"{type(error).__name__}: {printable(str(error), 200)}"
        found[name] = (failed(name, cause, "report this: the check itself is wrong"),)
