"""``templateRef`` and ``workflowTemplateRef``: templates that live elsewhere."""

from hera.workflows import DAG, Parameter, Step, Steps, Task, WorkflowTemplate, models

from .cases import case
from .exits import TOLD
from .parts import fail, output, python, say, write


def library() -> list[WorkflowTemplate]:
    """Templates that others refer to, one of which refers to its neighbour and one to another library."""
    with WorkflowTemplate(name="comparison-library", entrypoint="pair", arguments={"text": "of the library"}) as first:
        write()
        fail()
        with DAG(
            name="pair",
            inputs=[Parameter(name="text", default="{{workflow.name}}")],
            outputs=[output("value", parameter="{{tasks.b.outputs.parameters.value}}")],
        ):
            Task(name="a", template="write", arguments={"text": "{{inputs.parameters.text}}"})
            Task(name="b", template="write", depends="a", arguments={"text": "{{tasks.a.outputs.parameters.value}}+"})
    with WorkflowTemplate(name="comparison-second") as second, Steps(name="twice", inputs=[Parameter(name="text")]):
        for name in ("one", "two"):
            Step(
                name=name,
                template_ref=models.TemplateRef(name="comparison-library", template="write"),
                arguments={"text": "{{inputs.parameters.text}} " + name},
            )
    return [first, second]


def ref(template: str, name: str = "comparison-library") -> models.TemplateRef:
    return models.TemplateRef(name=name, template=template)


@case(templates=library)
def ref_to_template() -> None:
    say()
    with DAG(name="main"):
        Task(name="a", template_ref=ref("write"), arguments={"text": "x"})
        Task(name="b", template="say", depends="a", arguments={"text": "{{tasks.a.outputs.parameters.value}}"})


@case(templates=library)
def ref_to_dag() -> None:
    say()
    with Steps(name="main", outputs=[output("value", parameter="{{steps.pair.outputs.parameters.value}}")]):
        Step(name="pair", template_ref=ref("pair"), arguments={"text": "x"})
        Step(name="say", template="say", arguments={"text": "{{steps.pair.outputs.parameters.value}}"})


@case(templates=library)
def ref_of_ref() -> None:
    say()
    with DAG(name="main"):
        Task(
            name="twice",
            template_ref=ref("twice", "comparison-second"),
            with_items=["a", "b"],
            arguments={"text": "{{item}}"},
        )


@case(templates=library)
def ref_fails() -> None:
    say()
    with DAG(name="main"):
        Task(name="bad", template_ref=ref("fail"))
        Task(name="clean", template_ref=ref("write"), depends="bad.Failed")
        Task(name="next", template="say", depends="bad")


@case(templates=library, on_exit="finish")
def ref_fails_and_exit_tells() -> None:
    python("told", TOLD)
    say()
    with Steps(name="finish"):
        Step(name="told", template="told")
        Step(name="say", template="say", arguments={"text": "{{steps.told.outputs.result}}"})
    with DAG(name="main"):
        Task(name="bad", template_ref=ref("fail"))


@case(templates=library)
def ref_missing() -> None:
    with DAG(name="main"):
        Task(name="bad", template_ref=ref("absent"))
