"""What an argument PATH_OR_REFERENCE means: a path wins over a reference of the same spelling."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from klever.steps.errors import InvalidReferenceError, NotFoundError
from klever.steps.files import exists

# A local path needs no store.
if TYPE_CHECKING:
    from klever.steps.oci.reference import Reference


def path_or_reference(target: str) -> "Path | Reference":
    """Return the path or the parsed reference; raises `NotFoundError` for what is neither."""
    path = Path(target)
    if exists(path) or target.startswith(("/", "./", "../", "~")):
        return path
    from klever.steps.oci.reference import parse_reference

    try:
        return parse_reference(target)
    except InvalidReferenceError as error:
        raise NotFoundError(
            f"{target} is neither an existing path nor a reference", stage="recognise", next_step=error.next_step
        ) from error


@contextmanager
def looked_for(target: str, reference: "Reference") -> Iterator[None]:
    """Say of a reference without a host that was not found that it is no path either."""
    try:
        yield
    except NotFoundError as error:
        if reference.host or reference.layout is not None:
            raise
        raise NotFoundError(
            f"{target} is neither a path nor a model in this machine's store",
            stage="pull",
            next_step="check the path, or see klever models",
        ) from error
