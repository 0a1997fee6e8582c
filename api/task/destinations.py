"""Where the results of conversions go when nobody says so, or says so by a pattern.

What does not belong here: the grammar of references, which is that of `klever.steps.oci.reference`.
"""

from dataclasses import replace
from typing import Final

from klever.api.task.places import parse_place
from klever.steps.errors import InvalidReferenceError
from klever.steps.oci.descriptor import Digest
from klever.steps.oci.reference import DEFAULT_TAG, Reference, parse_tag

#: In a pattern: the format in lower case, and the tag of the source.
_FORMAT: Final = "{format}"
_TAG: Final = "{tag}"
#: Of a digest, where the source has no tag: as many hex digits as tools show.
_SHOWN_DIGITS: Final = 12


def destination(source: Reference, digest: Digest, target: str, pattern: str = "") -> Reference:
    """Return where the result in the format ``target`` goes: by ``pattern``, or beside the source.

    Raises `InvalidReferenceError` where that is no reference with a tag.
    """
    tag = source.tag or (digest.partition(":")[2][:_SHOWN_DIGITS] if source.digest else DEFAULT_TAG)
    if not pattern:
        return replace(source, tag=parse_tag(f"{tag}-{target.lower()}"), digest=None)
    found = parse_place(pattern.replace(_FORMAT, target.lower()).replace(_TAG, tag))
    if found.digest is not None:
        raise InvalidReferenceError(
            f"{pattern!r} names a digest, which follows from what is published",
            stage="reference",
            next_step="give a name and a tag",
        )
    return found
