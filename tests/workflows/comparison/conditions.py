"""``when``: what decides, and what follows from a task that was skipped."""

from hera.workflows import DAG, Step, Steps, Task

from .cases import case
from .parts import fail, output, say, shell, write

COLOUR = "{{workflow.parameters.colour}}"
NUMBER = "{{workflow.parameters.number}}"


@case(defaults={"colour": "green"}, arguments={"colour": "red"})
def when_quoted() -> None:
    say()
    with DAG(name="main"):
        Task(name="equal", template="say", when=f'"{COLOUR}" == "red"')
        Task(name="single-quotes", template="say", when=f"'{COLOUR}' == 'red'")
        Task(name="unequal", template="say", when=f'"{COLOUR}" != "red"')
        Task(name="default", template="say", when=f'"{COLOUR}" == "green"')


@case(defaults={"colour": "red"})
def when_unquoted() -> None:
    say()
    with DAG(name="main"):
        Task(name="equal", template="say", when=f"{COLOUR} == red")
        Task(name="unequal", template="say", when=f"{COLOUR} != red")
        Task(name="within", template="say", when=f"{COLOUR} in (red, blue)")
        Task(name="matches", template="say", when=f"{COLOUR} =~ 'e'")
        Task(name="does-not-match", template="say", when=f"{COLOUR} !~ 'e'")


@case(defaults={"number": 5})
def when_numbers() -> None:
    say()
    conditions = {
        "greater": f"{NUMBER} > 3",
        "not-greater": f"{NUMBER} > 10",
        "as-text": f"'{NUMBER}' > '10'",
        "float": f"{NUMBER} == 5.0",
        "sum": f"{NUMBER} * 2 + 1 == 11",
        "both": f"{NUMBER} >= 5 && {NUMBER} <= 5",
        "either": f"({NUMBER} < 1 || {NUMBER} == 5) && !({NUMBER} == 6)",
        "text-and-number": f"'{NUMBER}' == {NUMBER}",
    }
    with DAG(name="main"):
        for name, condition in conditions.items():
            Task(name=name, template="say", when=condition)


@case(defaults={"on": "true", "off": "false"})
def when_booleans() -> None:
    say()
    with DAG(name="main"):
        Task(name="true", template="say", when="true")
        Task(name="false", template="say", when="false")
        Task(name="parameter", template="say", when="{{workflow.parameters.on}}")
        Task(name="negated", template="say", when="!{{workflow.parameters.on}}")
        Task(name="compared", template="say", when="{{workflow.parameters.off}} == false")


@case(defaults={"number": 5})
def when_expression_tag() -> None:
    say()
    with DAG(name="main"):
        Task(name="true", template="say", when="{{=workflow.parameters.number == '5'}}")
        Task(name="false", template="say", when="{{=asInt(workflow.parameters.number) > 5}}")


@case()
def when_result() -> None:
    say()
    with DAG(name="main"):
        Task(name="flip", template="say", arguments={"text": "heads"})
        Task(name="heads", template="say", depends="flip", when="{{tasks.flip.outputs.result}} == heads")
        Task(name="tails", template="say", depends="flip", when="{{tasks.flip.outputs.result}} == tails")
        Task(name="status", template="say", depends="flip", when="{{tasks.flip.status}} == Succeeded")


@case()
def when_steps() -> None:
    say()
    write()
    with Steps(name="main") as steps:
        Step(name="first", template="write", arguments={"text": "yes"})
        with steps.parallel():
            Step(name="yes", template="say", when="{{steps.first.outputs.parameters.value}} == yes")
            Step(name="no", template="say", when="{{steps.first.outputs.parameters.value}} == no")
        Step(name="after", template="say", when="{{steps.no.status}} == Skipped")


@case()
def when_skipped_dependents() -> None:
    say()
    with DAG(name="main"):
        Task(name="skipped", template="say", when="1 == 2")
        Task(name="plain", template="say", depends="skipped")
        Task(name="succeeded", template="say", depends="skipped.Succeeded")
        Task(name="is-skipped", template="say", depends="skipped.Skipped")
        Task(name="after-omitted", template="say", depends="succeeded")
        Task(name="is-omitted", template="say", depends="succeeded.Omitted")


@case()
def when_skipped_dependencies() -> None:
    say()
    with DAG(name="main"):
        Task(name="skipped", template="say", when="1 == 2")
        Task(name="after", template="say", dependencies=["skipped"])
        Task(name="last", template="say", dependencies=["after"])


@case()
def when_skipped_outputs() -> None:
    say()
    shell(
        "produce",
        "echo made > /tmp/value",
        outputs=[output("value", path="/tmp/value"), output("other", path="/tmp/other", default="fallback")],
    )
    with DAG(
        name="main",
        outputs=[
            output("value", parameter="{{tasks.skipped.outputs.parameters.value}}", default="nothing"),
            output("other", parameter="{{tasks.skipped.outputs.parameters.other}}"),
            output("chosen", expression="tasks['skipped'].outputs.parameters.value ?? 'chosen'"),
        ],
    ):
        Task(name="skipped", template="produce", when="1 == 2")
        Task(
            name="uses",
            template="say",
            depends="skipped",
            arguments={"text": "{{tasks.skipped.outputs.parameters.other}}"},
        )


@case(defaults={"path": "a path/with: marks"})
def when_invalid() -> None:
    say()
    with DAG(name="main", fail_fast=False):
        Task(name="invalid", template="say", when="{{workflow.parameters.path}} == x")
        Task(name="not-boolean", template="say", when="1 + 1")
        Task(name="after", template="say", depends="invalid.Errored")


@case()
def when_invalid_in_steps() -> None:
    say()
    with Steps(name="main"):
        Step(name="invalid", template="say", when="a b == x")
        Step(name="never", template="say")


@case()
def when_in_loop() -> None:
    say()
    with Steps(name="main"):
        Step(name="some", template="say", with_items=[1, 2, 3], arguments={"text": "{{item}}"}, when="{{item}} > 1")
        Step(name="none", template="say", with_items=["a", "b"], when="{{item}} == c")
        Step(name="after", template="say")


@case()
def when_failed_status() -> None:
    say()
    fail()
    with DAG(name="main"):
        Task(name="fails", template="fail")
        Task(name="told", template="say", depends="fails.Failed", arguments={"text": "{{tasks.fails.status}}"})
        Task(name="decides", template="say", depends="fails.Failed", when="{{tasks.fails.status}} == Failed")
