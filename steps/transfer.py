"""What the verbs that move bytes share: being watched, and trying a spoilt transfer again."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, TypeVar

from klever.steps.errors import TransferError
from klever.steps.oci.store import Progress, no_progress

_Result = TypeVar("_Result")

#: Makes a progress callback for a piece of work: its label, and its size in bytes where that is known.
Watch = Callable[[str, int | None], AbstractContextManager[Progress]]

#: A store resumes and retries by itself; only bytes that prove wrong at the very end have to be fetched anew.
_TRIES: Final = 3


def unwatched(_label: str, _total: int | None) -> AbstractContextManager[Progress]:
    """Watch nothing."""
    return nullcontext(no_progress)


def watched(report: Callable[[float, str], None], begin: float = 0.0, end: float = 1.0) -> Watch:
    """Return what reports bytes that go through as the part from ``begin`` to ``end`` of the whole work."""

    @contextmanager
    def watch(label: str, total: int | None) -> Iterator[Progress]:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            report(begin + (end - begin) * min(done / total, 1.0) if total else begin, label)

        yield advance

    return watch


def try_again(transfer: Callable[[], _Result]) -> _Result:
    """Carry out a transfer from its beginning, again where its bytes arrive with another digest or length."""
    for _ in range(_TRIES - 1):
        try:
            return transfer()
        except TransferError:
            continue
    return transfer()
