"""The pace of an answer: a server that keeps a connection alive with a trickle is given up.

A time-out of a socket begins anew with every byte, so that one byte in time lets a server hold its client for days, be
it in the head of an answer or in its body. What does not belong here: trying again.
"""

import io
import re
import time
from http.client import HTTPException, HTTPResponse, LineTooLong
from typing import Any, Final

#: Slower than any line that a model is fetched over.
SLOWEST_BYTES_PER_SECOND: Final = 1 << 10
#: Bytes of an answer before its body; interim answers, of which there may be any number, count as well.
MAX_HEAD_BYTES: Final = 1 << 20

_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class TrickleError(TimeoutError):
    """The server sends next to nothing."""


class _PacedBytes(io.RawIOBase):
    """The bytes of a connection, with the time that was waited for them from the first one on."""

    def __init__(self, raw: io.RawIOBase, patience_seconds: float | None) -> None:
        super().__init__()
        self._raw = raw
        self._patience = patience_seconds
        self._waited = 0.0
        self._got = 0
        self._begun = False
        #: How many bytes may still come; None for any number.
        self.allowance: int | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        begin = time.monotonic()
        count = self._raw.readinto(buffer)
        if self._begun:
            # How long the first byte may take, the socket's own time-out tells.
            self._waited += time.monotonic() - begin
        self._begun = True
        self._got += count or 0
        if self._patience is not None and self._waited > self._patience:
            if self._got < SLOWEST_BYTES_PER_SECOND * self._waited:
                raise TrickleError("the server sends next to nothing")
            self._waited, self._got = 0.0, 0
        if self.allowance is not None:
            self.allowance -= count or 0
            if self.allowance < 0:
                raise LineTooLong("head of an answer")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class PacedResponse(HTTPResponse):
    """An answer whose bytes have to keep coming."""

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._paced = _PacedBytes(self.fp.detach(), sock.gettimeout())
        self.fp = io.BufferedReader(self._paced)

    def begin(self) -> None:
        """Read the head; raises `http.client.HTTPException` for one that is endless or gives an odd length."""
        self._paced.allowance = MAX_HEAD_BYTES
        super().begin()
        self._paced.allowance = None
        length = self.headers.get("Content-Length")
        if length is not None and not _LENGTH.fullmatch(length):
            raise HTTPException("an answer of no clear length")
