"""Decide whether a failed try is tried again (Argo's ``processNodeRetries``).

What does not belong here: starting the next try.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from klever.workflows.local.durations import describe, parse_duration
from klever.workflows.local.errors import TemplateError
from klever.workflows.local.expressions import ExpressionError, environment, parse
from klever.workflows.local.gotext import as_text, format_value
from klever.workflows.local.nodes import LocalNode
from klever.workflows.status import Phase

#: What makes a failure transient by its message (Argo's ``isTransientNetworkErr`` and ``isTransientEtcdErr``).
_TRANSIENT: Final = (
    "Connection closed by foreign host", "net/http: TLS handshake timeout", "i/o timeout", "connection timed out",
    "connection reset by peer", "http2: client connection lost",
    "http2: server sent GOAWAY and closed the connection", "connect: connection refused", "invalid connection",
    "etcdserver: leader changed", "etcdserver: request timed out", "etcdserver: too many requests",
)  # fmt: skip


class Next(Enum):
    """What becomes of a retry node."""

    #: It has ended, as the verdict says.
    ENDED = "ended"
    #: Another try may start now.
    TRY = "try"
    #: Another try may start later.
    WAIT = "wait"


@dataclass(frozen=True)
class Verdict:
    """A decision, with the phase and message for the retry node."""

    next: Next
    phase: Phase | None = None
    message: str | None = None
    #: When the wait ends.
    until: datetime | None = None
    #: When a try has to have ended (``backoff.maxDuration``).
    deadline: datetime | None = None


def decide(strategy: Mapping[str, Any], tries: list[LocalNode], *, now: datetime, stopped: str) -> Verdict:
    """Return what follows the last try, which has failed.

    ``stopped`` is the reason why no try may follow, empty where there is none. Raises `TemplateError` for a strategy
    that makes no sense, `ExpressionError`.
    """
    last = tries[-1]
    if stopped:
        return Verdict(Next.ENDED, last.phase, stopped)
    until: datetime | None = None
    deadline: datetime | None = None
    limit = _whole(strategy.get("limit"), "limit")
    if backoff := strategy.get("backoff"):
        until, deadline = _backoff(backoff, tries)
        if deadline is not None and now > deadline:
            return Verdict(Next.ENDED, last.phase, "Max duration limit exceeded")
        if deadline is not None and until > deadline:
            return Verdict(Next.ENDED, last.phase, "Backoff would exceed max duration limit")
        if now < until and limit is not None and len(tries) <= limit:
            wait = until - (last.finished or now)
            return Verdict(Next.WAIT, None, f"Backoff for {describe(wait.total_seconds())}", until, deadline)
    if not _policy_allows(strategy, last):
        return Verdict(Next.ENDED, last.phase, last.message)
    if limit is not None and len(tries) > limit:
        return Verdict(Next.ENDED, last.phase, "No more retries left")
    source = strategy.get("expression")
    if source and not parse(source).evaluate_bool(environment(_variables(tries))):
        return Verdict(Next.ENDED, last.phase, "retryStrategy.expression evaluated to false")
    return Verdict(Next.TRY, None, "" if backoff else None, None, deadline)


def _backoff(backoff: Mapping[str, Any], tries: list[LocalNode]) -> tuple[datetime, datetime | None]:
    """Return when the next try may start, and when all has to have ended."""
    first, last = tries[0], tries[-1]
    if first.started is None or last.finished is None:
        raise TemplateError("a try that ended has no times")
    deadline = None
    if longest := as_text(backoff.get("maxDuration") or ""):
        deadline = first.started + timedelta(seconds=parse_duration(longest))
    base = as_text(backoff.get("duration") or "")
    if not base:
        raise TemplateError("no base duration specified for retryStrategy")
    wait = parse_duration(base)
    factor = _whole(backoff.get("factor"), "backoff.factor")
    if factor is not None and factor > 0:
        # timedelta ends at a billion days; no run waits for one.
        wait = min(wait * math.pow(factor, len(tries) - 1), 86400.0 * 365 * 100)
    if cap := as_text(backoff.get("cap") or ""):
        wait = min(wait, parse_duration(cap))
    return last.finished + timedelta(seconds=wait), deadline


def _policy_allows(strategy: Mapping[str, Any], last: LocalNode) -> bool:
    policy = strategy.get("retryPolicy") or ("Always" if strategy.get("expression") else "OnFailure")
    match policy:
        case "Always":
            return True
        case "OnFailure":
            return last.phase is Phase.FAILED
        case "OnError":
            return last.phase is Phase.ERROR
        case "OnTransientError":
            return any(sign in last.message for sign in _TRANSIENT)
    raise TemplateError(f"{policy} is not a valid RetryPolicy")


def last_try_variables(last: LocalNode | None, *, missing_code: str = "0") -> dict[str, str]:
    """Return ``lastRetry.*``; before the first try the values that Argo has then."""
    if last is None:
        return {
            "lastRetry.exitCode": missing_code,
            "lastRetry.status": "",
            "lastRetry.duration": "0",
            "lastRetry.message": "",
        }
    code = last.given.exit_code if last.given else None
    return {
        "lastRetry.exitCode": missing_code if code is None else str(code),
        "lastRetry.status": last.phase.value,
        "lastRetry.duration": format_value(last.seconds()),
        "lastRetry.message": last.message,
    }


def _variables(tries: list[LocalNode]) -> dict[str, str]:
    return {"retries": str(len(tries) - 1), **last_try_variables(tries[-1], missing_code="-1")}


def _whole(value: Any, field: str) -> int | None:
    if value is None:
        return None
    try:
        return int(as_text(value))
    except ValueError as error:
        raise TemplateError(f"retryStrategy.{field} is {as_text(value)!r}, no whole number") from error


__all__ = ["ExpressionError", "Next", "Verdict", "decide", "last_try_variables"]
