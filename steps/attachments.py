"""Documents that hang on an artifact: certificates, records of conversions. OCI calls them referrers.

Source: OCI image specification 1.1, ``manifest.md``, "Guidelines for Artifact Usage". What does not belong here: what
a document says.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from klever.steps.artifact import read_blob
from klever.steps.errors import ManifestError, NotFoundError
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.manifest import annotations_of, build_attachment, children_of, load_document
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Store

#: The proof that a conversion's result computes what its source does; on the result.
CERTIFICATE: Final = "application/vnd.kleveross.certificate.v1+json"
#: What an artifact was converted to, where the annotations say; on the source.
CONVERSION: Final = "application/vnd.kleveross.conversion.v1+json"

_EMPTY: Final = b"{}"
#: A certificate of ten thousand outputs has a tenth.
_MAX_DOCUMENT_BYTES: Final = 16 << 20


class Place(NamedTuple):
    """A repository of a store."""

    store: Store
    repository: str


def attach(
    store: Store,
    reference: Reference,
    subject: Descriptor,
    kind: str,
    document: bytes,
    annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """Attach a JSON ``document`` of the media type ``kind`` to ``subject``, a manifest in the reference's repository.

    The same document attached twice is one.
    """
    empty = Descriptor.of(_EMPTY, media.EMPTY)
    described = Descriptor.of(document, kind)
    store.put_blob(reference.repository, lambda: (_EMPTY,), expected=empty)
    store.put_blob(reference.repository, lambda: (document,), expected=described)
    manifest = build_attachment(kind, empty, described, subject, annotations)
    return store.put_manifest(reference.repository, manifest, media.MANIFEST)


def attachments(store: Store, reference: Reference, kind: str) -> Iterator[Descriptor]:
    """Yield descriptors of what of one kind is attached to the digest that ``reference`` is pinned to."""
    if reference.digest is None:
        raise ValueError(f"{reference} is not pinned to a digest")
    for descriptor in store.referrers(reference.repository, reference.digest):
        if descriptor.artifact_type == kind:
            yield descriptor


def carry_over(
    store: Store, reference: Reference, subject: Descriptor, kinds: Collection[str], *, to: Place | None = None
) -> int:
    """Attach to ``subject`` what hangs on the digest that ``reference`` is pinned to; return how many there were.

    In the same repository the documents are the same blobs, so nothing but manifests is written; ``to`` is another
    one. What is malformed or gone is passed over: anybody may attach anything.
    """
    carried = 0
    for kind in kinds:
        for found in list(attachments(store, reference, kind)):
            with suppress(ManifestError, NotFoundError):
                data = store.get_manifest(reference.repository, found.digest).data
                document = load_document(data, "the attachment")
                children = list(children_of(document))
                if [child.media_type for child in children] != [media.EMPTY, kind]:
                    continue
                empty, described = children
                manifest = build_attachment(kind, empty, described, subject, annotations_of(document))
                there, repository = to or Place(store, reference.repository)
                for child in children if to else ():
                    data = read_blob(store, reference.repository, child, _MAX_DOCUMENT_BYTES)
                    there.put_blob(repository, partial(iter, (data,)), expected=child)
                there.put_manifest(repository, manifest, media.MANIFEST)
                carried += 1
    return carried
