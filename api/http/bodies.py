"""Read a request's body within limits of size and time.

What does not belong here: what is in it.
"""

import asyncio
from http import HTTPStatus
from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from klever.api.http.problems import Refused

#: Harbor itself waits three seconds for the whole exchange.
_SECONDS: Final = 10.0
#: What still comes of such a body is not worth reading.
_HANG_UP: Final = {"Connection": "close"}


async def read_body(request: Request, limit: int, seconds: float = _SECONDS) -> bytes:
    """Return the whole body; raises `Refused` where it has more than ``limit`` bytes, stalls or ends early."""
    declared = request.headers.get("content-length")
    if declared is not None and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
    except TimeoutError:
        raise Refused(
            HTTPStatus.REQUEST_TIMEOUT, "Timeout", f"the body did not arrive within {seconds:.0f} seconds", _HANG_UP
        ) from None
    except ClientDisconnect:
        # Nobody is there to read it.
        raise Refused(HTTPStatus.BAD_REQUEST, "Disconnected", "the connection ended before the body did") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> Refused:
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "TooLarge", f"the body is larger than {limit} bytes", _HANG_UP)
