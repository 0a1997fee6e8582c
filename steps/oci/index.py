"""The index of an image layout: which manifests it names, and under what names.

A name is ``repository:tag``, or the tag alone for layouts of other tools, in the annotation that image specification
1.1 gives for it (``annotations.md``); an entry without it is reached by its digest, and by ``latest`` where it is the
only one. What other tools wrote, entries, fields and annotations, survives every change. What does not belong here:
files.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any, Final, Self

from klever.steps.errors import InvalidReferenceError, ManifestError
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor, Digest
from klever.steps.oci.manifest import load_document
from klever.steps.oci.reference import DEFAULT_TAG, parse_tag

#: Some 200,000 entries.
MAX_INDEX_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Entry:
    """One manifest under one name. ``tag`` is None where it is reached by its digest alone."""

    repository: str
    tag: str | None
    descriptor: Descriptor

    @property
    def name(self) -> str:
        """The entry's name as a person writes it."""
        name = f"{self.repository}:{self.tag}" if self.repository and self.tag else self.repository or self.tag or ""
        return name if self.tag else f"{name}@{self.descriptor.digest}"


@dataclass(frozen=True)
class LayoutIndex:
    """A parsed ``index.json``; a change returns a new one."""

    document: Mapping[str, Any]

    @classmethod
    def empty(cls) -> Self:
        """Return the index of a new layout."""
        return cls({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": []})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse an ``index.json``; raises `ManifestError`. A malformed entry is kept, but is under no name."""
        document = load_document(data, "the layout's index.json", max_bytes=MAX_INDEX_BYTES)
        if not isinstance(document.get("manifests", []), list):
            raise ManifestError("the layout's index.json has manifests that are no list")
        return cls(document)

    def to_json(self) -> bytes:
        """Return the bytes to write."""
        return json.dumps(self.document, separators=(",", ":"), ensure_ascii=False).encode()

    def __iter__(self) -> Iterator[Entry]:
        """Yield the well-formed entries in their order."""
        for value in self._values:
            entry = _parse_entry(value)
            if entry:
                yield entry

    @property
    def malformed(self) -> int:
        """How many entries are no descriptors."""
        return sum(_parse_entry(value) is None for value in self._values)

    def find(self, repository: str, *, tag: str | None = None, digest: Digest | None = None) -> Entry | None:
        """Return an entry of the repository by tag or by digest."""
        found = self._places.get((repository, tag if tag is not None else digest))
        if found is not None:
            return found
        return self.unnamed if not repository and tag == DEFAULT_TAG else None

    @property
    def unnamed(self) -> Entry | None:
        """The only entry, if it has no name at all: what skopeo writes to ``oci:DIRECTORY``."""
        first = list(islice(self, 2))
        return first[0] if len(first) == 1 and not first[0].repository and first[0].tag is None else None

    def add(self, repository: str, tag: str | None, descriptor: Descriptor) -> Self:
        """Put a manifest under a name, in the place of what had the name before."""
        annotations = dict(descriptor.annotations)
        if tag is not None:
            annotations[media.REF_NAME] = f"{repository}:{tag}" if repository else tag
        elif self.find(repository, digest=descriptor.digest):
            return self
        elif repository:
            annotations[media.REPOSITORY] = repository
        value = replace(descriptor, annotations=annotations).to_json()

        def is_replaced(entry: Entry) -> bool:
            same = entry.descriptor.digest == descriptor.digest and entry.tag is None
            return entry.repository == repository and (same or (tag is not None and entry.tag == tag))

        without = self.remove(is_replaced)
        return type(self)({**without.document, "manifests": [*without._values, value]})

    def remove(self, is_removed: Callable[[Entry], bool]) -> Self:
        """Leave out the entries for which ``is_removed`` is true."""
        values = [v for v in self._values if not ((entry := _parse_entry(v)) and is_removed(entry))]
        return type(self)({**self.document, "manifests": values})

    @cached_property
    def _places(self) -> Mapping[tuple[str, str | None], Entry]:
        """Repository with tag or with digest, which hold no colon and one, to the first entry that is there."""
        places: dict[tuple[str, str | None], Entry] = {}
        for entry in self:
            for version in (entry.tag, entry.descriptor.digest):
                if version is not None:
                    places.setdefault((entry.repository, version), entry)
        return places

    @property
    def _values(self) -> list[Any]:
        values: list[Any] = self.document.get("manifests", [])
        return values


def _parse_entry(value: object) -> Entry | None:
    try:
        descriptor = Descriptor.from_json(value, "an entry of the layout's index")
    except ManifestError:
        return None
    name = descriptor.annotations.get(media.REF_NAME)
    if name is None:
        return Entry(descriptor.annotations.get(media.REPOSITORY, ""), None, descriptor)
    repository, _, tag = name.rpartition(":")
    try:
        return Entry(repository, parse_tag(tag), descriptor)
    except InvalidReferenceError:
        return Entry(name, None, descriptor)
