"""Hold converted artifacts against the proof that is asked of them, by what lies in the store.

    >>> gate([parse_reference("harbor.example/vision/resnet:v1-onnx")], Stores())  # doctest: +SKIP

What does not belong here: making a proof; what a step said that it made, which nobody has to believe.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from klever.steps.artifact import StoredArtifact, load_artifact, read_blob
from klever.steps.attachments import CERTIFICATE, attachments
from klever.steps.errors import ManifestError, MetadataError, NotFoundError, UnprovenError, at_stage
from klever.steps.model.certificate import Certificate, Level, parse_certificate
from klever.steps.oci.manifest import children_of, load_document
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Store
from klever.steps.stores import Stores

#: Certificates that hang on one artifact and are looked at; a conversion attaches one.
_MAX_ATTACHED = 100
#: A certificate lists inputs and outputs, as a config does, in bytes.
_MAX_BYTES = 8 << 20


@dataclass(frozen=True)
class Judgement:
    """What the store says of one artifact."""

    #: Pinned to its digest, where it is there.
    reference: Reference
    format: str | None = None
    #: The one that is about the artifact's bytes.
    certificate: Certificate | None = None
    #: Why it does not pass, in words that follow its name; empty where it does.
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object."""
        document: dict[str, Any] = {"reference": str(self.reference), "digest": self.reference.digest}
        if self.format is not None:
            document["format"] = self.format
        if self.certificate is not None:
            document |= {
                "level": self.certificate.level.value,
                "withinTolerance": self.certificate.within_tolerance,
                "source": self.certificate.source.digest,
                "result": self.certificate.result.digest,
            }
        return document | ({"fault": self.fault} if self.fault else {})


def gate(references: Sequence[Reference], stores: Stores, *, level: Level = Level.EXECUTED) -> tuple[Judgement, ...]:
    """Judge every artifact; raises `UnprovenError` that names each one that does not pass, and why."""
    judgements = tuple(judge(reference, stores, level=level) for reference in references)
    check(judgements)
    return judgements


def judge(reference: Reference, stores: Stores, *, level: Level = Level.EXECUTED) -> Judgement:
    """Judge one artifact by its certificate: the one in its metadata, else one that hangs on it.

    Raises what stores raise where they cannot be asked; what is not there, or is no artifact, is a fault.
    """
    store = stores.open(reference)
    with at_stage("gate"):
        try:
            artifact = load_artifact(store, reference)
        except NotFoundError:
            return Judgement(reference, fault="is not there")
        except (ManifestError, MetadataError) as error:
            return Judgement(reference, fault=f"is no artifact that can be read: {error.cause}")
        certificates = list(_certificates(store, artifact))
    form, layer = artifact.metadata.format, artifact.manifest.layer.digest
    about = [certificate for certificate in certificates if certificate.result.digest == layer]
    if not about:
        fault = "has a certificate that is about other bytes" if certificates else "has no certificate"
        return Judgement(artifact.reference, form, fault=fault)
    fault = "" if (best := about[0]) and best.within_tolerance else "does not compute what its source does"
    if not fault and best.level.rank < level.rank:
        fault = f"was proven to the level {best.level.value}, and {level.value} is required"
    return Judgement(artifact.reference, form, best, fault)


def check(judgements: Sequence[Judgement]) -> None:
    """Raise `UnprovenError` that names each artifact that does not pass."""
    failed = [f"{each.reference} {each.fault}" for each in judgements if each.fault]
    if failed:
        raise UnprovenError(
            "; ".join(failed),
            stage="gate",
            next_step="look at the conversion of each; what lacks a proof can be converted again with a lower require",
        )


def _certificates(store: Store, artifact: StoredArtifact) -> Iterator[Certificate]:
    """Yield the certificate in the metadata, and where there is none those that hang on the manifest."""
    if artifact.metadata.certificate is not None:
        yield artifact.metadata.certificate
        return
    repository = artifact.reference.repository
    for count, found in enumerate(attachments(store, artifact.reference, CERTIFICATE)):
        if count == _MAX_ATTACHED:
            return
        # Anybody may attach anything.
        with suppress(ManifestError, MetadataError, NotFoundError):
            document = load_document(store.get_manifest(repository, found.digest).data, "the attachment")
            for child in children_of(document):
                if child.media_type == CERTIFICATE:
                    yield parse_certificate(read_blob(store, repository, child, _MAX_BYTES))
