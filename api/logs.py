"""Logs of the processes that serve: one JSON object a line, on standard error.

    {"time": "2026-01-31T12:00:00.125Z", "level": "info", "logger": "klever.api.controller.service", "message": "..."}

What a record has in ``extra={"fields": {...}}`` stands beside these. What does not belong here: what is logged.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
#: Longest text of one field, in characters.
_MAX_TEXT: Final = 4_000


class JsonFormatter(logging.Formatter):
    """One line for each record, whatever is in its message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        moment = datetime.fromtimestamp(record.created, UTC)
        document: dict[str, object] = {
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_MAX_TEXT],
        }
        document |= getattr(record, "fields", {})
        if record.exc_info:
            document["trace"] = self.formatException(record.exc_info)[-_MAX_TEXT:]
        return json.dumps(document, default=str)


def configure(level: str) -> None:
    """Send every log of this process to standard error, from ``level`` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It tells of every request that is tried again; our own errors say it once.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
