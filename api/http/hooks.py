"""``POST /hooks/harbor``: what Harbor's webhook policies call.

It checks who asks, reads the payload, puts its pushes into the queue and answers. What does not belong here: what a
push leads to; the payload is a hint and nothing waits for its work.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from klever.api.harbor.errors import MalformedEventError
from klever.api.harbor.events import MAX_EVENT_BYTES, parse_event
from klever.api.http.bodies import read_body
from klever.api.http.metrics import Metrics
from klever.api.http.problems import Refused, describe
from klever.api.http.queue import RETRY_AFTER_SECONDS, Queue, QueueFullError, Result
from klever.api.http.secret import SecretFile
from klever.api.http.seldom import Seldom

PATH: Final = "/hooks/harbor"
#: Of the Default format, and of CloudEvents in structured mode (CloudEvents HTTP binding, section 3.2).
_MEDIA_TYPES: Final = ("application/json", "application/cloudevents+json")
#: A larger payload is parsed in a thread, so that others do not wait for it; Harbor's have less than a kilobyte.
_LARGE_BYTES: Final = 1 << 15
_SCHEMA: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": f"What Harbor sends, in either format; at most {MAX_EVENT_BYTES} bytes.",
        "content": {media_type: {"schema": {"type": "object"}} for media_type in _MEDIA_TYPES},
    },
    "parameters": [
        {
            "name": "Authorization",
            "in": "header",
            "required": True,
            "schema": {"type": "string"},
            "description": "The text that the webhook policy was given as Auth Header.",
        }
    ],
}

_log = logging.getLogger(__name__)


class Accepted(BaseModel):
    """What became of the pushes of an event."""

    accepted: int = Field(description="Pushes that are looked at now.")
    duplicate: int = Field(description="Pushes that were told of a moment ago.")
    ignored: int = Field(description="1 for an event that is no push: a pull, a deletion, a scan.")


def build_router(secret: SecretFile | None, queue: Queue, metrics: Metrics) -> APIRouter:
    """Return the route; without a secret it refuses everything."""
    router = APIRouter(tags=["hooks"])
    hook = _Hook(secret, queue, metrics)

    @router.post(
        PATH,
        summary="Take an event of Harbor",
        description=(
            "Answers at once. A push of an artifact that has no signature becomes a ModelJob in the namespace that the "
            "policy names for its project; what is in the payload is held against the registry first."
        ),
        status_code=HTTPStatus.ACCEPTED,
        response_model=Accepted,
        responses=describe(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
        openapi_extra=_SCHEMA,
    )
    async def take_event(request: Request) -> JSONResponse:
        return await hook.answer(request)

    return router


class _Hook:
    def __init__(self, secret: SecretFile | None, queue: Queue, metrics: Metrics) -> None:
        self._secret = secret
        self._queue = queue
        self._metrics = metrics
        self._refusals = Seldom()

    async def answer(self, request: Request) -> JSONResponse:
        try:
            self._admit(request)
            _check_media_type(request)
            body = await read_body(request, MAX_EVENT_BYTES)
            event = parse_event(body) if len(body) < _LARGE_BYTES else await asyncio.to_thread(parse_event, body)
            self._metrics.count(Result.RECEIVED)
            offered = self._queue.offer(event.pushes)
        except (Refused, MalformedEventError, QueueFullError) as error:
            self._metrics.count(Result.REFUSED)
            if count := self._refusals.count():
                _log.warning("%d requests to %s were refused, the last because %s", count, PATH, error)
            raise
        self._metrics.taken(offered)
        ignored = int(not event.pushes)
        self._metrics.count(Result.IGNORED, ignored)
        answer = {"accepted": offered.accepted, "duplicate": offered.duplicate, "ignored": ignored}
        return JSONResponse(answer, HTTPStatus.ACCEPTED)

    def _admit(self, request: Request) -> None:
        """Let through whoever sends the secret; raises `Refused`."""
        if self._secret is None:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "NotConfigured",
                "this server takes no events of Harbor: it was given no secret, or no registry's host",
            )
        # Two of them may mean one thing to a proxy and another to us.
        given = [value for name, value in request.scope["headers"] if name == b"authorization"]
        if len(given) == 1 and self._secret.accepts(given[0]):
            return
        if self._secret.problem:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "SecretMissing",
                "the secret of Harbor's webhook is not there; GET /readyz says more",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        raise Refused(
            HTTPStatus.UNAUTHORIZED,
            "Unauthorized",
            "the Authorization header is not the text that this webhook was set up with",
            {"WWW-Authenticate": 'Bearer realm="klever"'},
        )


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type not in _MEDIA_TYPES or coding != "identity":
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            f"the body has to be {' or '.join(_MEDIA_TYPES)}, not compressed",
        )
