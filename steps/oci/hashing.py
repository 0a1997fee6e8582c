"""A digest computed beside the work: hashing in a second thread while the first reads or writes.

`hashlib` lets go of the interpreter while it works on more than 2 KiB, so the two overlap.
"""

import hashlib
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread
from types import TracebackType
from typing import Final, Self

from klever.steps.oci.descriptor import Digest

#: Chunks in flight: enough to smooth, few enough to bound memory.
_QUEUE_CHUNKS: Final = 4
#: Below this many bytes a thread costs more than it saves.
_THREAD_FROM_BYTES: Final = 1 << 20


class Hasher:
    """Digest and size of a stream of chunks. Chunks must not change after they were given."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.size = 0
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._room = BoundedSemaphore(_QUEUE_CHUNKS)
        self._thread: Thread | None = None

    def update(self, chunk: bytes) -> None:
        """Take the next chunk; waits while several chunks are still to be hashed."""
        self.size += len(chunk)
        if self._thread is None:
            if self.size < _THREAD_FROM_BYTES:
                self._hash.update(chunk)
                return
            self._thread = Thread(target=self._run, name="hasher", daemon=True)
            self._thread.start()
        self._room.acquire()
        self._queue.put(chunk)

    def digest(self) -> Digest:
        """Return the digest of all chunks; nothing may be added afterwards."""
        self.close()
        return Digest(f"{self._algorithm}:{self._hash.hexdigest()}")

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while (chunk := self._queue.get()) is not None:
            self._hash.update(chunk)
            self._room.release()
