"""Look at a tag all the time, as a reader in a hurry does: whatever it points at has to be whole.

What does not belong here: what is done to the tag meanwhile.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from klever.steps.artifact import load_artifact
from klever.steps.errors import RegistryUnavailableError, TransferError
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Store

#: Seconds between two looks.
_PAUSE_SECONDS = 0.02


@dataclass
class Sight:
    """What was seen of a tag."""

    #: The digests that it pointed at, in the order in which they came.
    digests: list[str] = field(default_factory=list)
    looks: int = 0
    #: What was wrong with what it pointed at.
    wrong: list[str] = field(default_factory=list)
    #: How often nobody answered.
    unanswered: int = 0


@contextmanager
def watched_tag(store: Store, reference: Reference) -> Iterator[Sight]:
    """Read manifest and config, and ask for the layer, of a tag that is there, until the block ends."""
    sight, stopped = Sight(), threading.Event()
    thread = threading.Thread(target=_watch, args=(store, reference, sight, stopped.is_set), daemon=True)
    thread.start()
    try:
        yield sight
    finally:
        stopped.set()
        thread.join()
        # After the last change as well.
        _look(store, reference, sight)


def _watch(store: Store, reference: Reference, sight: Sight, stopped: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not stopped():
        _look(store, reference, sight)
        pause.wait(_PAUSE_SECONDS)


def _look(store: Store, reference: Reference, sight: Sight) -> None:
    try:
        artifact = load_artifact(store, reference)
        if not store.has_blob(reference.repository, artifact.manifest.layer.digest):
            sight.wrong.append(f"{artifact.descriptor.digest} has no layer")
    except (RegistryUnavailableError, TransferError):
        sight.unanswered += 1
    except Exception as error:  # noqa: BLE001 - whatever it is, a reader would have met it
        sight.wrong.append(f"{type(error).__name__}: {error}")
    else:
        if artifact.descriptor.digest not in sight.digests[-1:]:
            sight.digests.append(artifact.descriptor.digest)
    sight.looks += 1
