"""What surrounds the templates of one WorkflowTemplate: its name, its face in Argo's UI, its arguments and its entry.

A workflow that is submitted from it starts at ``main``, which calls the template that does the work and shows that
one's outputs as those of the whole workflow. Somebody else's workflow calls the template itself, by ``templateRef``,
and its own outputs stay its own. What does not belong here: what is done.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hera.workflows import Step, Steps, WorkflowTemplate
from hera.workflows.models import LabelValueFrom, PodGC, TTLStrategy, WorkflowMetadata

from klever.workflows.templates.expressions import argument, given, label, model_of, project_of
from klever.workflows.templates.parameters import Input, Output
from klever.workflows.templates.pods import DISPLAY_NAME, named
from klever.workflows.templates.settings import Settings

MAIN: Final = "main"
TITLE: Final = "workflows.argoproj.io/title"
DESCRIPTION: Final = "workflows.argoproj.io/description"


class CompleteTemplate(WorkflowTemplate):
    """A WorkflowTemplate whose nodes have names for people: Argo reads them where Hera's authors write none."""

    def build(self) -> Any:
        """Build it, with the display names at the templates themselves and not at their pods."""
        built: Any = super().build()
        for template in built.spec.templates:
            annotations = template.metadata.annotations
            template.annotations = {DISPLAY_NAME: annotations.pop(DISPLAY_NAME)}
            if not annotations:
                template.metadata = None
        return built


class TemplateOfArgo3(CompleteTemplate):
    """A WorkflowTemplate with a field that Hera's models lack, as they are those of Argo 4.

    The schema of Argo 3 requires a key for the ConfigMap of a cache, which nothing reads; that of Argo 4 has none.
    """

    def to_dict(self) -> Any:
        """Build it and return the document."""
        document = super().to_dict()
        for template in document["spec"]["templates"]:
            if memoize := template.get("memoize"):
                memoize["cache"]["configMap"]["key"] = "results"
        return document


def workflow_template(
    verb: str,
    settings: Settings,
    *,
    title: str,
    description: str,
    inputs: Sequence[Input],
    subject: str,
    format_of: str,
) -> WorkflowTemplate:
    """Return ``klever-VERB`` without its templates.

    ``subject`` is the input whose reference names project and model, ``format_of`` the one that names the format.
    """
    reference = argument(subject)
    made_by = CompleteTemplate if settings.argo == "4" else TemplateOfArgo3
    return made_by(
        kind="WorkflowTemplate",
        name=f"klever-{verb}",
        labels={"app.kubernetes.io/name": "klever", "app.kubernetes.io/part-of": "klever", "kleveross.io/stage": verb},
        annotations={TITLE: title, DESCRIPTION: description},
        workflow_metadata=WorkflowMetadata(
            annotations={
                TITLE: f"{title}: {{{{workflow.parameters.{subject}}}}}",
                DESCRIPTION: description,
            },
            labels={"kleveross.io/stage": verb},
            labels_from={
                f"kleveross.io/{name}": LabelValueFrom(expression=expression)
                for name, expression in (
                    ("project", project_of(reference)),
                    ("model", model_of(reference)),
                    ("format", label(argument(format_of))),
                )
            },
        ),
        arguments=[each.as_argument() for each in inputs],
        entrypoint=MAIN,
        service_account_name=settings.service_account,
        active_deadline_seconds=settings.workflow_deadline,
        pod_gc=PodGC(strategy="OnPodSuccess", delete_delay_duration=settings.keep_logs),
        ttl_strategy=TTLStrategy(
            seconds_after_success=settings.keep_succeeded, seconds_after_failure=settings.keep_failed
        ),
    )


def main(verb: str, *, inputs: Sequence[Input], outputs: Sequence[Output], subject: str) -> Steps:
    """Return the entry that calls the template ``verb`` of the same WorkflowTemplate.

    Argo makes outputs of steps those of the workflow where they have a global name; of a DAG it does not.
    """
    entry = Steps(
        name=MAIN,
        inputs=[each.as_parameter() for each in inputs],
        outputs=[each.of_workflow(verb) for each in outputs],
        annotations=named(f"'klever {verb}'", model_of(given(subject))),
    )
    with entry:
        Step(name=verb, template=verb, arguments=passed(inputs))
    return entry


def passed(inputs: Sequence[Input], others: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return arguments that hand on the template's own inputs, and others."""
    return dict(each.passed() for each in inputs) | dict(others or {})
