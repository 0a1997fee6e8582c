"""Whether something else answers: asked again and again, and told.

What does not belong here: what is asked.
"""

import time
from collections.abc import Callable
from typing import Final, NoReturn

from klever.steps.errors import KleverError

#: How often it is asked, and for how long an answer counts: two may be missed.
_PROBE_SECONDS: Final = 10.0
_RECENT_SECONDS: Final = 35.0


class Reachability:
    """Whether something has answered lately, as somebody tells who asks it again and again."""

    def __init__(self, recent: float = _RECENT_SECONDS) -> None:
        self._recent = recent
        self._answered = float("-inf")
        self._problem = "it has not been asked yet"

    def tell(self, problem: str) -> None:
        """Note why it does not answer; nothing where it does."""
        if problem:
            self._problem = problem
        else:
            self._answered = time.monotonic()

    def check(self) -> str:
        """Return why it counts as away, nothing while it has answered lately."""
        return "" if time.monotonic() - self._answered < self._recent else self._problem


def watch(ask: Callable[[], object], tell: Callable[[str], None], every: float = _PROBE_SECONDS) -> NoReturn:
    """Ask again and again, and tell why there is no answer, or nothing where there is."""
    while True:
        try:
            ask()
        except KleverError as error:
            tell(error.cause)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no answer
            tell(f"it cannot be asked: {type(error).__name__}")
        else:
            tell("")
        time.sleep(every)
