"""Whether the server lives, and whether it can do its work: ``GET /healthz``, ``GET /readyz``.

What does not belong here: what the checks look at.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from klever.api.http.problems import Problem

#: Returns what is wrong, in words; nothing where nothing is.
Check = Callable[[], str]


class Live(BaseModel):
    """The server answers and its threads run."""

    status: str = "ok"


class Ready(BaseModel):
    """Everything that the work takes is there."""

    status: str = "ready"
    checks: dict[str, str] = Field(description="What was looked at, each ok.")


class NotReady(Problem):
    """Something that the work takes is missing."""

    checks: dict[str, str] = Field(description="What was looked at: ok, or what is wrong.")


def build_router(is_working: Callable[[], bool], checks: Mapping[str, Check]) -> APIRouter:
    """Return both routes; ``checks`` are looked at in their order."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/healthz",
        summary="Whether the server lives",
        response_model=Live,
        responses={int(HTTPStatus.INTERNAL_SERVER_ERROR): {"model": Problem, "description": "It has to be restarted."}},
    )
    async def read_health() -> JSONResponse:
        if is_working():
            return JSONResponse({"status": "ok"})
        document = {"message": "nobody handles what is accepted; restart the server", "reason": "Broken"}
        return JSONResponse(document, HTTPStatus.INTERNAL_SERVER_ERROR)

    # Files are looked at, so not by the event loop's own thread.
    @router.get(
        "/readyz",
        summary="Whether the server can do its work",
        response_model=Ready,
        responses={int(HTTPStatus.SERVICE_UNAVAILABLE): {"model": NotReady, "description": "Something is missing."}},
    )
    def read_readiness() -> JSONResponse:
        problems = {name: check() for name, check in checks.items()}
        found = {name: problem or "ok" for name, problem in problems.items()}
        wrong = [f"{name}: {problem}" for name, problem in problems.items() if problem]
        if not wrong:
            return JSONResponse({"status": "ready", "checks": found})
        document = {"message": "; ".join(wrong), "reason": "NotReady", "checks": found}
        return JSONResponse(document, HTTPStatus.SERVICE_UNAVAILABLE)

    return router
