"""The text that Harbor sends in ``Authorization``, from a mounted file.

A line is an accepted text; while one replaces another the file holds both. What does not belong here: other ways to
tell who asks.
"""

import hashlib
import hmac
import threading
from pathlib import Path
from typing import Final

#: A Kubernetes secret may be larger; a header may not.
_MAX_BYTES: Final = 1 << 16
_MAX_LINES: Final = 16
#: What of a file's status changes with it. A mounted secret changes by a symbolic link that is swapped.
_Look = tuple[int, int, int, int]


class SecretFile:
    """The accepted texts, read again when the file changes; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: _Look | None = None
        # Digests: of equal length, and of no use to whoever sees them.
        self._accepted: tuple[bytes, ...] = ()
        self._problem = "it has not been read yet"

    @property
    def problem(self) -> str:
        """Why nobody can be let in, in words; empty when somebody can."""
        self._refresh()
        return self._problem

    def accepts(self, given: bytes) -> bool:
        """Say whether a text is one of the accepted, in a time that does not depend on where it differs."""
        digest = _digest(given)
        accepted = False
        for each in self._refresh():
            # No way out before the last: how many are compared tells nothing.
            accepted |= hmac.compare_digest(each, digest)
        return accepted

    def _refresh(self) -> tuple[bytes, ...]:
        try:
            status = self._path.stat()
            look = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            if look == self._seen:
                return self._accepted
            with self._path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except OSError as error:
            return self._keep(None, (), f"{self._path} cannot be read: {error.strerror or error}")
        texts = [line.strip() for line in content.splitlines() if line.strip()]
        if not texts:
            return self._keep(look, (), f"{self._path} is empty")
        if len(texts) > _MAX_LINES or len(content) > _MAX_BYTES:
            return self._keep(look, (), f"{self._path} is larger than a secret")
        return self._keep(look, tuple(map(_digest, texts)), "")

    def _keep(self, look: _Look | None, accepted: tuple[bytes, ...], problem: str) -> tuple[bytes, ...]:
        with self._lock:
            self._seen, self._accepted, self._problem = look, accepted, problem
        return accepted


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
