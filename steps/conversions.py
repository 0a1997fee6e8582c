"""What names a conversion, and where its result lies when it was made before.

``(digest of the source, converters and their versions, options)`` names a result. It is found at the destination itself
or through a record that hangs on the source. What does not belong here: making one.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from klever.steps.artifact import StoredArtifact, load_artifact
from klever.steps.attachments import CERTIFICATE, CONVERSION, attach, attachments
from klever.steps.converters.interface import Options
from klever.steps.converters.table import Pair
from klever.steps.copy import copy
from klever.steps.errors import (
    KleverError,
    ManifestError,
    MetadataError,
    NotFoundError,
    PermanentError,
    RegistryRefusedError,
    StorageError,
    UnauthorizedError,
)
from klever.steps.model.certificate import Certificate, ConverterVersion, Level
from klever.steps.model.metadata import Metadata
from klever.steps.oci.descriptor import Digest
from klever.steps.oci.reference import Reference, parse_reference
from klever.steps.publish import digest_of_package
from klever.steps.recognise import CERTIFICATE_FILE, recognise
from klever.steps.stores import Stores

#: On a manifest: what names the conversion that made it, and the digest of the layer that it was made from.
CONVERSION_KEY: Final = "kleveross.io/conversion"
CONVERTED_FROM: Final = "kleveross.io/converted-from"
#: On the record of a conversion, which hangs on its source: where the result is.
CONVERTED_TO: Final = "kleveross.io/converted-to"
#: On a certificate: its level.
PROOF_LEVEL: Final = "kleveross.io/proof-level"


@dataclass(frozen=True)
class Demands:
    """What a person asks of a conversion beside its options."""

    #: The level of proof without which nothing is kept; at `Level.NONE` nothing is run.
    level: Level = Level.EXECUTED
    #: What the inputs of the proof are made from.
    seed: int = 0
    #: Keep a result that differs from its source, or whose level is too low.
    unsafe_publish_unverified: bool = False
    #: Convert again what was converted before.
    again: bool = False

    def accept(self, certificate: Certificate) -> bool:
        """Say whether a certificate is as good as asked."""
        enough = certificate.level.rank >= self.level.rank and certificate.within_tolerance
        return enough or self.unsafe_publish_unverified


@dataclass(frozen=True)
class Wanted:
    """A conversion by all that names it."""

    source: Digest
    path: tuple[ConverterVersion, ...]
    options: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The name, a digest."""
        return _key(self.source, self.path, self.options)

    def is_of(self, certificate: Certificate) -> bool:
        """Say whether a certificate is about this conversion."""
        return _key(certificate.source.digest, certificate.path, certificate.options) == self.key


def name_conversion(source: Digest, path: Iterable[Pair], options: Options) -> Wanted:
    """Return the name of the conversion of a layer along ``path``."""
    versions = tuple(ConverterVersion(converter=each.id, version=each.load().version) for each in path)
    return Wanted(source, versions, options_as_json(options))


def options_as_json(options: Options) -> dict[str, Any]:
    """Return the options as JSON values, those that were left alone left out."""
    usual = asdict(Options())
    given = {name: value for name, value in asdict(options).items() if value != usual[name]}
    plain: dict[str, Any] = json.loads(json.dumps({"opset": options.opset, **given}))
    return plain


def _key(digest: str, path: Sequence[ConverterVersion], options: Mapping[str, Any]) -> str:
    named = {"source": digest, "path": [each.to_json() for each in path], "options": options}
    return "sha256:" + hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def find_in_directory(wanted: Wanted, demands: Demands, directory: Path) -> Metadata | None:
    """Return the metadata of the package in ``directory`` where it is this conversion's result, whole and proven."""
    if not (directory / CERTIFICATE_FILE).is_file():
        return None
    with suppress(PermanentError):
        model = recognise(directory)
        certificate = model.author.certificate if model.author else None
        if certificate is None or not wanted.is_of(certificate) or not demands.accept(certificate):
            return None
        return model.author if digest_of_package(model) == certificate.result.digest else None
    return None


def find_in_store(
    wanted: Wanted, demands: Demands, source: StoredArtifact | None, destination: Reference, stores: Stores
) -> StoredArtifact | None:
    """Return the result at ``destination``: it was there, or a record on ``source`` led to it and it was copied."""
    if found := _load(wanted, demands, destination, stores):
        return found
    for place in _recorded(wanted, source, stores) if source else ():
        if _is_there(wanted, demands, place, stores):
            return _load(wanted, demands, copy(parse_reference(place), destination, stores), stores)
    return None


def attach_certificate(artifact: StoredArtifact, destination: Reference, stores: Stores) -> None:
    """Attach the certificate that is in an artifact's metadata to it, where other tools find it."""
    certificate = artifact.metadata.certificate
    if certificate is None:
        return
    document = json.dumps(certificate.to_json(), ensure_ascii=False, separators=(",", ":")).encode()
    annotations = {PROOF_LEVEL: certificate.level.value}
    attach(stores.open(destination), destination, artifact.descriptor, CERTIFICATE, document, annotations)


def record(wanted: Wanted, source: StoredArtifact, result: Reference, stores: Stores) -> tuple[str, ...]:
    """Attach to ``source`` where its result is, so that the next request finds it; a note says where we may not."""
    annotations = {CONVERSION_KEY: wanted.key, CONVERTED_TO: str(result)}
    document = json.dumps({"key": wanted.key, "result": str(result)}, sort_keys=True).encode()
    try:
        store = stores.open(source.reference)
        attach(store, source.reference, source.descriptor, CONVERSION, document, annotations)
    except (UnauthorizedError, RegistryRefusedError, StorageError) as error:
        return (f"the conversion is not recorded on its source: {error.cause}",)
    return ()


def _load(wanted: Wanted, demands: Demands, reference: Reference, stores: Stores) -> StoredArtifact | None:
    """Return the artifact where it is what this conversion makes, bytes and proof."""
    with suppress(NotFoundError, ManifestError, MetadataError):
        artifact = load_artifact(stores.open(reference), reference)
        certificate = artifact.metadata.certificate
        named = artifact.manifest.annotations.get(CONVERSION_KEY) == wanted.key
        if named and certificate and certificate.result.digest == artifact.manifest.layer.digest:
            return artifact if demands.accept(certificate) else None
    return None


def _is_there(wanted: Wanted, demands: Demands, place: str, stores: Stores) -> bool:
    """Say whether a record leads to a result; anybody may have written it, and what it names may be out of reach."""
    with suppress(KleverError):
        return _load(wanted, demands, parse_reference(place), stores) is not None
    return False


def _recorded(wanted: Wanted, source: StoredArtifact, stores: Stores) -> Iterator[str]:
    for found in attachments(stores.open(source.reference), source.reference, CONVERSION):
        if found.annotations.get(CONVERSION_KEY) == wanted.key and (place := found.annotations.get(CONVERTED_TO)):
            yield place
