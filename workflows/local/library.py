"""The templates that a run can reach: the workflow's own, and those of workflow templates.

What does not belong here: whether a template can run on one machine.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from klever.workflows.local.errors import TemplateError
from klever.workflows.manifest import Document


@dataclass(frozen=True)
class Base:
    """Where a template's name is looked up: the workflow, or one workflow template."""

    name: str
    spec: Mapping[str, Any]
    templates: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, spec: Mapping[str, Any]) -> "Base":
        """Return the base that a spec makes."""
        return cls(name, spec, {template.get("name", ""): template for template in spec.get("templates") or []})


@dataclass(frozen=True)
class Library:
    """Workflow templates by name."""

    documents: Mapping[str, Document]

    @classmethod
    def of(cls, documents: Iterable[Document]) -> "Library":
        """Take workflow templates; the last of a name counts."""
        found: dict[str, Document] = {}
        for document in documents:
            # What a cluster needs besides, such as service accounts, stands in the same files.
            if document.get("kind") == "WorkflowTemplate":
                found[(document.get("metadata") or {}).get("name") or ""] = document
        return cls(found)

    def base(self, name: str) -> Base:
        """Return a workflow template as a base; raises `TemplateError`."""
        if name not in self.documents:
            raise TemplateError(f"workflow template {name} not found", next_step=self._known())
        return Base.of(name, self.documents[name].get("spec") or {})

    def _known(self) -> str:
        return f"the workflow templates here are {', '.join(sorted(self.documents)) or 'none'}"

    def resolve(self, holder: Mapping[str, Any], base: Base) -> tuple[Base, dict[str, Any]]:
        """Return the template that a task, step or hook names, and where its own names are looked up.

        Raises `TemplateError`.
        """
        if inline := holder.get("inline"):
            return base, inline
        if reference := holder.get("templateRef"):
            found = self.base(reference.get("name") or "")
            name = reference.get("template") or ""
            if name not in found.templates:
                raise TemplateError(f"template {name} not found in workflow template {found.name}")
            return found, found.templates[name]
        name = holder.get("template") or ""
        if name not in base.templates:
            raise TemplateError(f"template {name} not found" if name else "failed to get a template")
        return base, base.templates[name]


def template_label(holder: Mapping[str, Any]) -> str:
    """Return the name of a node's template, wherever that is from (``GetTemplateFromNode``)."""
    reference = holder.get("templateRef") or {}
    return str(reference.get("template") or holder.get("template") or "")
