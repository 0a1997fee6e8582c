"""How a template was called: what its node hangs in, and what goes for all below it. Data only."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Call:
    """The circumstances of one call of a template."""

    #: The id of the DAG's or steps' node that the call stands in.
    boundary: str = ""
    #: Part of an exit handler, which a stop does not end.
    exiting: bool = False
    hooked: bool = False
    retried: bool = False
    #: When a pod below has to have ended (``backoff.maxDuration``).
    deadline: datetime | None = None
