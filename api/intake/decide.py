"""Whether a push starts a job: what was said is a hint, what counts is what the registry answers.

    >>> decide(push, policy, RegistryStore("harbor.example")).reason  # doctest: +SKIP
    'its signature was read from this very layer'

What does not belong here: creating the job (`klever.api.intake.submit`), and finding what no event told of
(`klever.api.intake.relist`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from klever.api.harbor.events import Push
from klever.api.intake.jobs import Wanted
from klever.api.intake.policy import Policy, Rule
from klever.api.modeljob.names import FROM_EVENT
from klever.steps.artifact import DERIVED_FROM, StoredArtifact, read_blob
from klever.steps.conversions import CONVERTED_FROM
from klever.steps.errors import ManifestError, MetadataError, NotFoundError, at_stage
from klever.steps.model.metadata import MAX_CONFIG_BYTES, Metadata
from klever.steps.oci.manifest import parse_manifest
from klever.steps.oci.reference import Reference
from klever.steps.oci.registry import RegistryStore
from klever.workflows.manifest import Document

NOT_COVERED: Final = "the policy covers no such push"
CARRIES_SIGNATURE: Final = "its signature was read from this very layer"
IS_RESULT: Final = "it is the result of a pipeline"
BY_ROBOT: Final = "a robot of ours pushed it"
IS_REFERRER: Final = "it hangs on another artifact"
IS_GONE: Final = "the registry has no such manifest any more"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a push leads to: a job, or a reason why there is none."""

    wanted: Wanted | None = None
    reason: str = ""

    @property
    def job(self) -> Document | None:
        """The ModelJob to create, None where nothing is to be done."""
        return None if self.wanted is None else self.wanted.document(FROM_EVENT)


def decide(push: Push, policy: Policy, registry: RegistryStore) -> Decision:
    """Return what a push leads to, by the policy and by the manifest that the registry has under its digest.

    ``registry`` is that of our own configuration; where the payload says that it was pushed to does not count. Raises
    what the registry raises: a `TemporaryError` is worth another try.
    """
    name = push.repository.partition("/")[2]
    rule = policy.rule_for(push.project, name, push.tag)
    if rule is None:
        return Decision(reason=NOT_COVERED)
    if rule.pipeline is not None and policy.is_robot(push.operator):
        return Decision(reason=BY_ROBOT)
    if reason := _reason_to_leave(push, rule, registry):
        return Decision(reason=reason)
    return Decision(Wanted(registry.host, push.project, push.repository, push.digest, push.tag, rule))


def is_result(annotations: Mapping[str, str]) -> bool:
    """Say whether a manifest with these annotations was made by a pipeline of ours from another."""
    return DERIVED_FROM in annotations or CONVERTED_FROM in annotations


def _reason_to_leave(push: Push, rule: Rule, registry: RegistryStore) -> str:
    """Return why the artifact calls for no job; nothing where it does."""
    with at_stage("event"):
        try:
            stored = registry.get_manifest(push.repository, push.digest)
        except NotFoundError:
            return IS_GONE
        try:
            manifest = parse_manifest(stored.data, stored.descriptor.media_type)
        except ManifestError as error:
            return error.cause
        if manifest.subject is not None:
            return IS_REFERRER
        if rule.pipeline is not None:
            # Also what carries its signature is released, but no result is: it would be for ever.
            return IS_RESULT if is_result(manifest.annotations) else ""
        try:
            config = read_blob(registry, push.repository, manifest.config, MAX_CONFIG_BYTES)
            metadata = Metadata.from_config(config)
        except (ManifestError, MetadataError, NotFoundError):
            # Whoever pushed it learns from the job what is wrong with it.
            return ""
        reference = Reference(registry.host, push.repository, None, push.digest)
        artifact = StoredArtifact(reference, stored.descriptor, manifest, metadata)
        return CARRIES_SIGNATURE if artifact.has_full_signature else ""
