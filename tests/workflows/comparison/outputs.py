"""Output parameters: from files, of defaults and expressions, out of nested templates, and for the whole workflow."""

from hera.workflows import DAG, Parameter, Step, Steps, Task, models

from .cases import case
from .parts import output, python, say, shell, write


@case()
def output_files() -> None:
    """What of a file becomes the value: all of it but one newline at its end."""
    shell(
        "main",
        "printf 'a\\n' > /tmp/newline; printf 'a\\n\\n' > /tmp/newlines; printf ' a b\\n c ' > /tmp/spaces; : > /tmp/empty; "
        "mkdir -p $(dirname /tmp/deep/er/file); echo x > /tmp/deep/er/file; printf 'a\\r\\n' > /tmp/windows; "
        "printf '\\tü \"q\" \\\\ {{x}}' > /tmp/marks",
        outputs=[
            output("newline", path="/tmp/newline"),
            output("newlines", path="/tmp/newlines"),
            output("spaces", path="/tmp/spaces"),
            output("empty", path="/tmp/empty"),
            output("deep", path="/tmp/deep/er/file"),
            output("windows", path="/tmp/windows"),
            output("marks", path="/tmp/marks"),
        ],
    )


@case()
def output_default() -> None:
    shell(
        "main",
        "echo there > /tmp/there",
        outputs=[
            output("there", path="/tmp/there", default="unused"),
            output("missing", path="/tmp/missing", default="fallback"),
            output("blank", path="/tmp/missing", default=""),
        ],
    )


@case()
def output_results() -> None:
    """What of standard output becomes the result."""
    texts = {
        "newline": "print('a')",
        "newlines": "print('a\\n\\n')",
        "lines": "print(' a\\nb ')",
        "nothing": "pass",
        "errors": "import sys; print('out'); print('err', file=sys.stderr)",
        "unicode": "print('ü ☃ \\U0001f600')",
        "json": "import json; print(json.dumps({'a': [1, None, 'x\"y']}))",
    }
    for name, source in texts.items():
        python(name, source)
    say()
    with DAG(name="main"):
        for name in texts:
            Task(name=name, template=name)
            Task(
                name=f"{name}-read",
                template="say",
                depends=name,
                arguments={"text": f"[{{{{tasks.{name}.outputs.result}}}}]"},
            )


@case()
def output_result_of_container() -> None:
    """The standard output of a container is its result only where somebody asks for it."""
    say()
    with DAG(name="main"):
        Task(name="asked", template="say", arguments={"text": "asked"})
        Task(name="not-asked", template="say")
        Task(name="asks", template="say", depends="asked", arguments={"text": "{{tasks.asked.outputs.result}}"})


@case()
def output_of_nested() -> None:
    write()
    with Steps(
        name="third",
        inputs=[Parameter(name="text")],
        outputs=[output("value", parameter="{{steps.write.outputs.parameters.value}}")],
    ):
        Step(name="write", template="write", arguments={"text": "{{inputs.parameters.text}}"})
    with DAG(
        name="second",
        inputs=[Parameter(name="text")],
        outputs=[
            output("value", parameter="{{tasks.third.outputs.parameters.value}}"),
            output("both", expression="tasks.third.outputs.parameters.value + '/' + inputs.parameters.text"),
        ],
    ):
        Task(name="third", template="third", arguments={"text": "{{inputs.parameters.text}}-2"})
    with Steps(
        name="main",
        outputs=[
            output("value", parameter="{{steps.second.outputs.parameters.value}}"),
            output("both", parameter="{{steps.second.outputs.parameters.both}}"),
        ],
    ):
        Step(name="second", template="second", arguments={"text": "1"})


@case(defaults={"side": "heads"})
def output_of_either() -> None:
    """Of two ways, one of which is skipped, the one that was gone gives the output."""
    write()
    with DAG(
        name="main",
        outputs=[
            output(
                "value",
                expression="tasks['heads'].status == 'Succeeded' ? tasks['heads'].outputs.parameters.value : "
                "tasks['tails'].outputs.parameters.value",
            )
        ],
    ):
        Task(name="heads", template="write", when="{{workflow.parameters.side}} == heads", arguments={"text": "heads"})
        Task(name="tails", template="write", when="{{workflow.parameters.side}} == tails", arguments={"text": "tails"})


@case(defaults={"side": "heads"})
def output_of_either_in_steps() -> None:
    python("heads", "print('heads')")
    python("tails", "print('tails')")
    chosen = "steps['heads'].status == 'Succeeded' ? steps['heads'].outputs.result : steps['tails'].outputs.result"
    with Steps(name="main", outputs=[output("value", expression=chosen)]) as steps, steps.parallel():
        Step(name="heads", template="heads", when="{{workflow.parameters.side}} == heads")
        Step(name="tails", template="tails", when="{{workflow.parameters.side}} == tails")


@case()
def output_global() -> None:
    shell(
        "produce",
        "echo 42 > /tmp/value",
        outputs=[output("value", path="/tmp/value", global_name="answer")],
    )
    say()
    with Steps(name="main"):
        Step(name="produce", template="produce")
        Step(name="use", template="say", arguments={"text": "{{workflow.outputs.parameters.answer}}"})


@case()
def output_global_of_dag() -> None:
    write()
    say()
    with DAG(
        name="inner",
        outputs=[output("value", parameter="{{tasks.a.outputs.parameters.value}}", global_name="inner-value")],
    ):
        Task(name="a", template="write")
    with DAG(name="main"):
        Task(name="inner", template="inner")
        Task(
            name="use",
            template="say",
            depends="inner",
            arguments={"text": "{{workflow.outputs.parameters.inner-value}}"},
        )


@case()
def output_expression_of_container() -> None:
    write()
    with DAG(
        name="main",
        outputs=[
            output("upper", expression="sprig.upper(tasks.a.outputs.parameters.value)"),
            output("number", expression="asInt(tasks.n.outputs.parameters.value) * 2"),
            output("list", expression="toJson([tasks.a.outputs.parameters.value, 'x'])"),
        ],
    ):
        Task(name="a", template="write", arguments={"text": "some"})
        Task(name="n", template="write", arguments={"text": "21"})


@case()
def output_used_by_expression() -> None:
    write()
    say()
    with DAG(name="main"):
        Task(name="a", template="write", arguments={"text": '{"list": [{"name": "x", "size": 3}]}'})
        Task(
            name="b",
            template="say",
            depends="a",
            arguments={
                "text": "{{=jsonpath(tasks.a.outputs.parameters.value, '$.list[0].name')}} {{=len(tasks['a'].outputs.parameters.value)}}"
            },
        )


@case()
def output_of_loop_in_nested() -> None:
    write()
    with Steps(
        name="inner",
        inputs=[Parameter(name="n")],
        outputs=[output("all", parameter="{{steps.each.outputs.parameters.value}}")],
    ):
        Step(
            name="each", template="write", with_items=["a", "b"], arguments={"text": "{{item}}{{inputs.parameters.n}}"}
        )
    with DAG(name="main", outputs=[output("all", parameter="{{tasks.each.outputs.parameters.all}}")]):
        Task(name="each", template="inner", with_items=[1, 2], arguments={"n": "{{item}}"})


@case()
def output_value_missing_in_steps() -> None:
    """A default takes the place of what a skipped step would have given."""
    write()
    with Steps(
        name="main",
        outputs=[
            Parameter(
                name="value",
                value_from=models.ValueFrom(parameter="{{steps.a.outputs.parameters.value}}", default="of the default"),
            )
        ],
    ):
        Step(name="a", template="write", when="false")
