"""``withItems``, ``withParam`` and ``withSequence``, and the outputs of all their turns together."""

from hera.workflows import DAG, Parameter, Step, Steps, Task, models

from .cases import case
from .parts import fail, output, python, say, shell, write


@case()
def items_scalars() -> None:
    say()
    with DAG(name="main"):
        Task(name="texts", template="say", with_items=["a", "b c", "d:e(f)"], arguments={"text": "{{item}}"})
        Task(name="numbers", template="say", with_items=[1, 2.5, 3.0, 10000000], arguments={"text": "{{item}}"})


@case()
def items_maps() -> None:
    say()
    with DAG(name="main"):
        Task(
            name="each",
            template="say",
            with_items=[{"name": "a", "size": 1}, {"name": "b", "size": 2.5, "nested": {"x": [1, None]}}],
            arguments={"text": "{{item.name}}-{{item.size}}"},
        )
        Task(
            name="whole",
            template="say",
            with_items=[{"b": 1, "a": "x"}, {"t": True}],
            arguments={"text": "{{item}}"},
        )


@case()
def items_aggregated() -> None:
    say()
    write()
    with DAG(name="main"):
        Task(name="each", template="write", with_items=["a", "b", "c"], arguments={"text": "{{item}}"})
        Task(name="said", template="say", with_items=[1, 2], arguments={"text": "{{item}}"})
        Task(
            name="all",
            template="say",
            depends="each",
            arguments={"text": "{{tasks.each.outputs.parameters.value}} {{tasks.each.outputs.parameters}}"},
        )
        Task(name="results", template="say", depends="said", arguments={"text": "{{tasks.said.outputs.result}}"})


@case()
def items_aggregated_in_steps() -> None:
    shell("object", 'printf \'{"n": %s}\' "$1"', inputs=["n"])
    say()
    with Steps(name="main"):
        Step(name="each", template="object", with_items=[1, 2], arguments={"n": "{{item}}"})
        Step(name="all", template="say", arguments={"text": "{{steps.each.outputs.result}}"})


@case()
def items_results_not_json() -> None:
    """Results are put together as JSON, so text that is none ends the DAG."""
    say()
    with DAG(name="main"):
        Task(name="each", template="say", with_items=["a", "b"], arguments={"text": "{{item}}"})
        Task(name="all", template="say", depends="each", arguments={"text": "{{tasks.each.outputs.result}}"})


@case()
def items_in_steps() -> None:
    say()
    with Steps(name="main") as steps:
        with steps.parallel():
            Step(name="loop", template="say", with_items=["x", "y"], arguments={"text": "{{item}}"})
            Step(name="beside", template="say")
        Step(name="after", template="say")


@case()
def items_of_dags() -> None:
    write()
    say()
    with DAG(
        name="inner",
        inputs=[Parameter(name="n")],
        outputs=[output("value", parameter="{{tasks.b.outputs.parameters.value}}")],
    ):
        Task(name="a", template="write", arguments={"text": "{{inputs.parameters.n}}"})
        Task(name="b", template="write", depends="a", arguments={"text": "{{tasks.a.outputs.parameters.value}}!"})
    with DAG(name="main", outputs=[output("values", parameter="{{tasks.each.outputs.parameters.value}}")]):
        Task(name="each", template="inner", with_items=[1, 2], arguments={"n": "{{item}}"})
        Task(name="last", template="say", depends="each", arguments={"text": "{{tasks.each.outputs.parameters.value}}"})


@case()
def param_result() -> None:
    say()
    with DAG(name="main"):
        Task(name="list", template="say", arguments={"text": '[{"to": "a", "n": 1}, {"to": "b", "n": 2}]'})
        Task(
            name="each",
            template="say",
            depends="list",
            with_param="{{tasks.list.outputs.result}}",
            arguments={"text": "{{item.to}} {{item.n}}"},
        )


@case(defaults={"list": '["a", 1, true, null, 1.50, [1, 2], "ü \\"q\\""]'})
def param_parameter() -> None:
    say()
    with Steps(name="main"):
        Step(name="each", template="say", with_param="{{workflow.parameters.list}}", arguments={"text": "<{{item}}>"})


@case(
    defaults={
        "list": '[ {"z": {"y" : 1.50, "b": ["<&>", "\\u00fc", 1e3]}, "a": 2.0}, [ {"y": 1, "b": 2}, 3.10 ], 12345678901234567890, -0.0, "\\u00fc\\n<" ]'
    }
)
def param_letters() -> None:
    """Numbers and texts keep their letters, keys are sorted or not: what the items are is seen to the last letter."""
    say()
    with DAG(name="main"):
        Task(name="each", template="say", with_param="{{workflow.parameters.list}}", arguments={"text": "{{item}}"})


@case()
def result_letters() -> None:
    """The same for results that are put together."""
    python(
        "object",
        'print(\'{"z": {"y" : 1.50, "b": ["<&>", "\\\\u00fc", 1e3]}, "a": {{inputs.parameters.n}}}\')',
        inputs=["n"],
    )
    say()
    with DAG(name="main"):
        Task(name="each", template="object", with_items=[1, 2], arguments={"n": "{{item}}"})
        Task(name="all", template="say", depends="each", arguments={"text": "{{tasks.each.outputs.result}}"})
        Task(
            name="again",
            template="say",
            depends="each",
            with_param="{{tasks.each.outputs.result}}",
            arguments={"text": "{{item}} {{item.z}}"},
        )


@case(defaults={"list": "[]"})
def param_empty() -> None:
    say()
    with DAG(name="main"):
        Task(name="none", template="say", with_param="{{workflow.parameters.list}}", arguments={"text": "{{item}}"})
        Task(name="after", template="say", depends="none")
        Task(name="succeeded", template="say", depends="none.Succeeded")


@case(defaults={"list": "[]"})
def param_empty_in_steps() -> None:
    say()
    with Steps(name="main"):
        Step(name="none", template="say", with_param="{{workflow.parameters.list}}", arguments={"text": "{{item}}"})
        Step(name="after", template="say")


@case(defaults={"list": "not a list"})
def param_invalid() -> None:
    say()
    with DAG(name="main", fail_fast=False):
        Task(name="invalid", template="say", with_param="{{workflow.parameters.list}}", arguments={"text": "{{item}}"})
        Task(name="after", template="say", depends="invalid.Errored")


@case()
def param_invalid_result_in_steps() -> None:
    say()
    with Steps(name="main"):
        Step(name="list", template="say", arguments={"text": '{"not": "a list"}'})
        Step(name="each", template="say", with_param="{{steps.list.outputs.result}}", arguments={"text": "{{item}}"})


@case()
def param_of_aggregated() -> None:
    write()
    say()
    with DAG(name="main"):
        Task(name="first", template="write", with_items=["a", "b"], arguments={"text": "{{item}}"})
        Task(
            name="second",
            template="write",
            depends="first",
            with_param="{{tasks.first.outputs.parameters.value}}",
            arguments={"text": "{{item}}{{item}}"},
        )
        Task(
            name="third",
            template="say",
            depends="second",
            with_param="{{tasks.second.outputs.parameters}}",
            arguments={"text": "{{item.value}}"},
        )


@case()
def param_expression() -> None:
    say()
    with DAG(name="main"):
        Task(name="list", template="say", arguments={"text": "[1, 2, 3, 4]"})
        Task(
            name="even",
            template="say",
            depends="list",
            with_param="{{=toJson(filter(fromJSON(tasks.list.outputs.result), {int(#) % 2 == 0}))}}",
            arguments={"text": "{{item}}"},
        )


@case()
def param_expression_fails() -> None:
    say()
    with DAG(name="main"):
        Task(name="list", template="say", arguments={"text": "[1, 2]"})
        Task(
            name="even",
            template="say",
            depends="list",
            with_param="{{=toJson(filter(fromJSON(tasks.list.outputs.result), {# % 2 == 0}))}}",
            arguments={"text": "{{item}}"},
        )


@case()
def loop_expression_of_item() -> None:
    say()
    with DAG(name="main"):
        Task(name="numbers", template="say", with_items=[1, 2], arguments={"text": "{{=asInt(item) * 10}}"})
        Task(name="maps", template="say", with_items=[{"n": "a"}, {"n": "b"}], arguments={"text": "{{=item.n + '!'}}"})


@case(defaults={"count": "2", "none": "0"})
def sequence() -> None:
    say()

    def task(name: str, **sequence: str) -> None:
        Task(name=name, template="say", with_sequence=models.Sequence(**sequence), arguments={"text": "{{item}}"})

    with DAG(name="main"):
        task("count", count="{{workflow.parameters.count}}")
        task("start", count="2", start="5")
        task("format", start="9", end="10", format="item-%03d")
        task("reverse", start="2", end="1")
        task("hexadecimal", start="255", end="255", format="%x")
        task("none", count="{{workflow.parameters.none}}")


@case()
def sequence_of_result() -> None:
    say()
    with Steps(name="main"):
        Step(name="many", template="say", arguments={"text": "2"})
        Step(
            name="each",
            template="say",
            with_sequence=models.Sequence(count="{{steps.many.outputs.result}}"),
            arguments={"text": "{{item}}"},
        )


@case()
def loop_failure() -> None:
    shell("choose", '[ "$1" != b ]', inputs=["text"])
    say()
    with DAG(name="main", fail_fast=False):
        Task(name="each", template="choose", with_items=["a", "b", "c"], arguments={"text": "{{item}}"})
        Task(name="after", template="say", depends="each")
        Task(name="anyway", template="say", depends="each.Failed", arguments={"text": "{{tasks.each.status}}"})


@case()
def loop_failure_in_steps() -> None:
    shell("choose", '[ "$1" != b ]', inputs=["text"])
    say()
    with Steps(name="main"):
        Step(name="each", template="choose", with_items=["a", "b"], arguments={"text": "{{item}}"})
        Step(name="never", template="say")


@case()
def loop_partial_outputs() -> None:
    shell(
        "maybe",
        'printf "%s" "$1" > /tmp/value; [ "$1" != b ]',
        inputs=["text"],
        outputs=[output("value", path="/tmp/value")],
    )
    say()
    with DAG(name="main", fail_fast=False):
        Task(name="each", template="maybe", with_items=["a", "b", "c"], arguments={"text": "{{item}}"})
        Task(
            name="after",
            template="say",
            depends="each.AnySucceeded",
            arguments={"text": "{{tasks.each.outputs.parameters.value}}"},
        )


@case()
def loop_skipped_outputs() -> None:
    write()
    say()
    with DAG(name="main"):
        Task(
            name="each",
            template="write",
            with_items=["a", "b"],
            arguments={"text": "{{item}}"},
            when="'{{item}}' == 'b'",
        )
        Task(
            name="after", template="say", depends="each", arguments={"text": "{{tasks.each.outputs.parameters.value}}"}
        )


@case()
def loop_fails_all() -> None:
    fail()
    say()
    with DAG(name="main", fail_fast=False):
        Task(name="each", template="fail", with_items=[1, 2])
        Task(name="all", template="say", depends="each.AllFailed")
        Task(name="any", template="say", depends="each.AnySucceeded")
