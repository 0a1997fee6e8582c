"""The job that an artifact calls for: its document, whose name says of what it is.

What does not belong here: whether an artifact calls for one.
"""

from dataclasses import dataclass
from typing import Any

from klever.api.intake.policy import Rule
from klever.api.modeljob import names
from klever.api.modeljob.model import API_VERSION, KIND
from klever.steps.oci.descriptor import Digest
from klever.steps.oci.reference import Reference
from klever.workflows.manifest import Document


@dataclass(frozen=True, slots=True)
class Wanted:
    """An artifact, and the rule by which it is worked on."""

    #: With the host that our own configuration names.
    host: str
    project: str
    #: With the project.
    repository: str
    digest: Digest
    tag: str | None
    rule: Rule

    def name(self, extra: str = "") -> str:
        """Return the job's name: the same whatever the tag, since a job works on every tag of its digest."""
        spec = self._spec(Reference(self.host, self.repository, None, self.digest))
        return names.job_name(self.repository.rpartition("/")[2], self.digest, spec, extra)

    def document(self, origin: str, extra: str = "") -> Document:
        """Return the ModelJob, to be created.

        ``origin`` is how the push became known. With ``extra`` the name is another than that of the digest's own job.
        """
        labels = {
            names.PROJECT: names.label_value(self.project),
            names.MODEL: names.label_value(self.repository.partition("/")[2]),
            names.ORIGIN: origin,
        }
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": self.name(extra),
                "namespace": self.rule.namespace,
                "labels": {key: value for key, value in labels.items() if value},
                "annotations": {names.DIGEST: self.digest},
            },
            "spec": self._spec(Reference(self.host, self.repository, self.tag, self.digest)),
        }

    def _spec(self, model: Reference) -> dict[str, Any]:
        spec: dict[str, Any] = {"model": str(model)}
        if self.rule.pipeline is None:
            return {**spec, "extraction": {}}
        chosen = self.rule.pipeline
        return {**spec, "pipeline": {"template": chosen.template, "arguments": dict(chosen.arguments)}}
