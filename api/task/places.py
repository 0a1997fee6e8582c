"""What a reference may mean where this process runs: a pod has no store of its own.

What does not belong here: the grammar of references.
"""

import os
from collections.abc import Mapping
from typing import Final

from klever.api.task.telling import MESSAGE_VARIABLE
from klever.steps.errors import InvalidReferenceError
from klever.steps.oci.reference import Reference, parse_reference

#: Set by Argo in every container of a pod. A task of a local run inside of one has a message file of its own, too.
_NODE_VARIABLE: Final = "ARGO_NODE_ID"


def parse_place(text: str, environment: Mapping[str, str] = os.environ) -> Reference:
    """Parse a reference; raises `InvalidReferenceError`, in a pod also where it names no registry.

    A directory of a pod holds what somebody mounted there for another purpose, or nothing.
    """
    reference = parse_reference(text)
    is_pod = _NODE_VARIABLE in environment and MESSAGE_VARIABLE not in environment
    if is_pod and not reference.host:
        raise InvalidReferenceError(
            f"{text[:140]!r} names no registry, and a pod has no store of its own",
            stage="reference",
            next_step="write the reference as HOST[:PORT]/NAME[:TAG][@DIGEST]",
        )
    return reference
