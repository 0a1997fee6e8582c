"""Names that are functions of what they name, so that doing something twice gives one object; labels and annotations.

What does not belong here: what the objects hold.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

#: Labels of Workflows: the job that they belong to, by its name (or a digest of a long one) and by its uid.
JOB: Final = "kleveross.io/modeljob"
JOB_UID: Final = "kleveross.io/modeljob-uid"
#: Annotation of jobs that a push made: the digest that was pushed, whole.
DIGEST: Final = "kleveross.io/digest"
#: Labels of jobs that a push made: the parts of the repository's name, and how the push became known.
PROJECT: Final = "kleveross.io/project"
MODEL: Final = "kleveross.io/model"
ORIGIN: Final = "kleveross.io/origin"
FROM_EVENT: Final = "harbor-event"
FROM_RELIST: Final = "harbor-relist"

#: Longest DNS label (RFC 1123), and longest value of a label; names of Workflows become such values.
MAX_LABEL: Final = 63
#: Letters of base 32: of a job's name 80 bits, for a collision would lose somebody's job; of a Workflow's 60, which are
#: only held against those of jobs that begin alike.
_JOB_DIGITS: Final = 16
_WORKFLOW_DIGITS: Final = 12
_FOREIGN: Final = re.compile(r"[^a-z0-9]+", re.ASCII)
_NO_LABEL: Final = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
_EDGES: Final = re.compile(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", re.ASCII)


def workflow_name(uid: str, generation: int, name: str) -> str:
    """Return the name of the Workflow of one generation of a job: the beginning of the job's, and a digest."""
    return _named(name, _digest([uid, generation], _WORKFLOW_DIGITS))


def job_name(prefix: str, digest: str, spec: Mapping[str, Any], extra: str = "") -> str:
    """Return a job's name: ``prefix``, and a digest of the artifact's digest, the spec as JSON, and ``extra``.

    A DNS label. The order of keys makes no difference.
    """
    return _named(prefix, _digest([digest, spec, extra], _JOB_DIGITS))


def job_label(name: str) -> str:
    """Return a job's name as the value of a label: itself, or a digest where it is longer than such a value may be."""
    return name if len(name) <= MAX_LABEL else _named(name, _digest([name], _JOB_DIGITS))


def label_value(text: str) -> str:
    """Return text as the value of a label, as the labels of Workflows have it; may become empty."""
    return _EDGES.sub("", _NO_LABEL.sub("-", text)[:MAX_LABEL])


def _digest(parts: list[Any], letters: int) -> str:
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    return base64.b32encode(hashlib.sha256(canonical).digest()).decode().lower()[:letters]


def _named(beginning: str, digest: str) -> str:
    start = _FOREIGN.sub("-", beginning.lower()).strip("-")[: MAX_LABEL - len(digest) - 1].strip("-")
    return f"{start}-{digest}" if start else f"j-{digest}"
