"""What an answer says when it is not the one that was asked for: ``{"message": ..., "reason": ...}``.

``message`` is for people, ``reason`` one word for programs. What does not belong here: when something is refused.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from klever.api.harbor.errors import MalformedEventError
from klever.api.http.queue import RETRY_AFTER_SECONDS
from klever.steps.errors import InvalidReferenceError, KleverError, NotFoundError, TemporaryError, printable

_log = logging.getLogger(__name__)
#: The first that fits counts.
_STATUS: Final[tuple[tuple[type[KleverError], HTTPStatus], ...]] = (
    (MalformedEventError, HTTPStatus.BAD_REQUEST),
    (InvalidReferenceError, HTTPStatus.BAD_REQUEST),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (TemporaryError, HTTPStatus.SERVICE_UNAVAILABLE),
)


class Problem(BaseModel):
    """Why a request was not answered as asked."""

    message: str = Field(description="One sentence for a person, with what to do.")
    reason: str = Field(description="One word for a program.")


class Refused(Exception):  # noqa: N818 - it is an answer
    """A request is answered with a problem."""

    def __init__(self, status: HTTPStatus, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.headers = headers


def describe(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return for OpenAPI that a route may answer these statuses with a problem."""
    return {int(status): {"model": Problem, "description": status.phrase} for status in statuses}


def install(app: FastAPI) -> None:
    """Have every failure answered in this shape."""
    for kind in (Refused, KleverError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _answer)


async def _answer(_request: Request, error: Exception) -> JSONResponse:
    match error:
        case Refused():
            return _problem(error.status, error.reason, error.message, error.headers)
        case KleverError():
            return _answer_error(error)
        case RequestValidationError():
            first = error.errors()[0]
            place = printable(".".join(map(str, first["loc"])))
            return _problem(HTTPStatus.BAD_REQUEST, "Invalid", f"{place}: {printable(first['msg'], 300)}")
        case HTTPException():
            status = HTTPStatus(error.status_code)
            is_unknown = status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
            message = f"{status.phrase}; GET /openapi.json lists what there is" if is_unknown else error.detail
            return _problem(status, status.phrase.title().replace(" ", ""), message, error.headers)
    # Starlette raises it again for the server to log, with its trace.
    return _problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", "a fault of Klever itself; the server's log says more"
    )


def _answer_error(error: KleverError) -> JSONResponse:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("a request failed: %s", error)
    message = f"{error.cause}; {error.next_step}" if error.next_step else error.cause
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return _problem(status, type(error).__name__.removesuffix("Error"), message, headers)


def _problem(status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"message": message, "reason": reason}, status, headers)
