"""Move the tags of a repository that still point at one manifest to another one.

A registry has no conditional write: each tag is looked up right before it is moved. What does not belong here: which
tag a person named, and what the new manifest says.
"""

from itertools import islice
from typing import Final, NamedTuple

from klever.steps.errors import NotFoundError, RegistryRefusedError, UnauthorizedError
from klever.steps.oci.descriptor import Descriptor, Digest
from klever.steps.oci.store import Store

#: Tags of one repository that are looked up, each by a request: some seconds' worth.
MAX_TAGS: Final = 1000


class Retagged(NamedTuple):
    """The tags that were moved, and a sentence for each thing that was not as it should be."""

    tags: tuple[str, ...]
    notes: tuple[str, ...]


def retag(
    store: Store, repository: str, manifest: bytes, new: Descriptor, old: Digest, *, but: str | None = None
) -> Retagged:
    """Point every tag that points at ``old`` at ``manifest``, which ``new`` describes; ``but`` is left as it is.

    A tag that the registry keeps where it is, by a rule or a right, is a note. Raises what fails for now: to call it
    again moves what is left.
    """
    tags, notes = _listed(store, repository)
    moved = []
    for tag in tags:
        if tag == but or _digest_of(store, repository, tag) != old:
            continue
        try:
            store.put_manifest(repository, manifest, new.media_type, tag=tag)
        except (RegistryRefusedError, UnauthorizedError) as error:
            notes = (*notes, f"the tag {tag} points at the {old} that was read and cannot be moved: {error.cause}")
        else:
            moved.append(tag)
    return Retagged(tuple(moved), notes)


def _listed(store: Store, repository: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tags to look up, in lexical order, and a note where there are more."""
    try:
        every = store.tags(repository)
        tags = tuple(islice(every, MAX_TAGS))
        more = sum(1 for _ in every)
    except NotFoundError:
        # A repository whose manifests have no tag.
        return (), ()
    if not more:
        return tags, ()
    return tags, (
        f"of {len(tags) + more} tags the first {MAX_TAGS} were looked at, and those that had to be were moved",
    )


def _digest_of(store: Store, repository: str, tag: str) -> Digest | None:
    try:
        return store.find_digest(repository, tag)
    except NotFoundError:
        # Removed meanwhile.
        return None
