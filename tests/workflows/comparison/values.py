"""Parameters: where their values come from, tags and expressions within them, and values that mean mischief."""

from hera.workflows import DAG, Env, Parameter, Step, Steps, Task, models, script

from .cases import IMAGE, case
from .parts import output, python, say, shell, write

HOSTILE = {
    "tag": "{{workflow.name}}",
    "expression": "{{=1 + 1}}",
    "quotes": 'it\'s "quoted" and `ticked`',
    "lines": "first\nsecond\n\nlast\n",
    "shell": "$(id) ${HOME} ; exit 9 # & | > /tmp/x",
    "json": '{"a": [1, "}}", {"b": null}]}',
    "unicode": "größe ☃ \U0001f600 \u202e",
    "backslashes": '\\n \\\\ \\" \\u0041',
    "tabs": "\ta\tb ",
    "braces": "{{ }} {{{{x}} }}",
    "dashes": "--help",
}


@case(defaults={"given": "default", "kept": "kept"}, arguments={"given": "argument"})
def default_values() -> None:
    shell("show", 'echo "$1|$2|$3"', inputs={"own": "own default", "taken": "{{workflow.parameters.kept}}", "last": ""})
    python("none", "print('[{{inputs.parameters.text}}]')", inputs=["text"])
    say()
    with DAG(name="inner", inputs=[Parameter(name="text", default="inner default")]):
        Task(name="show", template="show", arguments={"own": "{{inputs.parameters.text}}"})
        Task(name="default", template="show")
    with DAG(name="main"):
        Task(name="given", template="show", arguments={"own": "{{workflow.parameters.given}}", "taken": ""})
        Task(name="default", template="inner")
        Task(name="inner", template="inner", arguments={"text": "passed"})
        Task(name="empty", template="none", arguments={"text": ""})


@case(
    defaults={"level": Parameter(name="level", value="low", enum=["low", "high"])},
    arguments={"level": "high"},
)
def enum() -> None:
    say()
    with DAG(name="main"):
        Task(name="a", template="say", arguments={"text": "{{workflow.parameters.level}}"})


@case(
    defaults={"level": Parameter(name="level", value="low", enum=["low", "high"])},
    arguments={"level": "medium"},
)
def enum_unknown() -> None:
    say()
    with DAG(name="main"):
        Task(name="a", template="say", arguments={"text": "{{workflow.parameters.level}}"})


@case(defaults={"needed": Parameter(name="needed")})
def argument_missing() -> None:
    say()
    with DAG(name="main"):
        Task(name="a", template="say", arguments={"text": "{{workflow.parameters.needed}}"})


@case(defaults={"number": 7, "list": "[3, 1, 2]", "text": "a,b"})
def expressions() -> None:
    say()
    write()
    texts = {
        "sum": "{{=asInt(workflow.parameters.number) + 1}}",
        "float": "{{=asFloat(workflow.parameters.number) / 2}}",
        "text": "{{=workflow.parameters.text + '!'}}",
        "choice": "{{=asInt(workflow.parameters.number) > 5 ? 'many' : 'few'}}",
        "split": "{{=toJson(split(workflow.parameters.text, ','))}}",
        "sprig": "{{=sprig.trimPrefix('a', workflow.parameters.text)}} {{=sprig.replace(',', ';', workflow.parameters.text)}}",
        "list": "{{=sum(map(fromJSON(workflow.parameters.list), {# * 2}))}}",
        "sorted": "{{=toJson(sort(fromJSON(workflow.parameters.list)))}}",
        "index": "{{=fromJSON(workflow.parameters.list)[0]}}",
        "path": "{{=jsonpath(workflow.parameters.list, '$[1]')}}",
        "bool": "{{=workflow.parameters.number in ['7', '8'] && not (workflow.parameters.text contains 'z')}}",
        "string": "{{=string(asInt(workflow.parameters.number))}}{{=upper('x')}}",
        "quoted": '{{="a\'b"}}',
        "json": "{{=toJson({'n': asInt(workflow.parameters.number), 't': workflow.parameters.text})}}",
    }
    with DAG(name="main"):
        for name, text in texts.items():
            Task(name=name, template="say", arguments={"text": text})


@case(defaults={"text": "x"})
def expression_errors() -> None:
    say()
    with DAG(name="main", fail_fast=False):
        Task(name="unknown", template="say", arguments={"text": "{{=workflow.parameters.text + nothing.at.all}}"})


@case()
def hostile_arguments() -> None:
    """Values of the workflow's text, of an input and of a result: none becomes a part of the program."""
    write()
    say()
    with DAG(name="main"):
        for name, value in HOSTILE.items():
            if name in ("tag", "expression", "braces"):
                continue
            Task(name=name, template="write", arguments={"text": value})
            Task(
                name=f"{name}-again",
                template="write",
                depends=name,
                arguments={"text": f"{{{{tasks.{name}.outputs.parameters.value}}}}"},
            )


@case(
    defaults={name: "" for name in HOSTILE if name != "expression"},
    arguments={k: v for k, v in HOSTILE.items() if k != "expression"},
)
def hostile_parameters() -> None:
    write()
    with DAG(name="main", outputs=[output("tag", parameter="{{tasks.tag.outputs.parameters.value}}")]):
        for name in HOSTILE:
            if name != "expression":
                Task(name=name, template="write", arguments={"text": f"{{{{workflow.parameters.{name}}}}}"})


@case()
def hostile_outputs() -> None:
    """What a program printed is a value to those after it, never a tag."""
    python("print", "print('{{=\"{\"}}' + '{workflow.name}' + '}')")
    python("lines", "print('a\"b\\n$(id) \\'c\\'')")
    say()
    write()
    with Steps(name="main") as steps:
        with steps.parallel():
            Step(name="tag", template="print")
            Step(name="lines", template="lines")
        with steps.parallel():
            Step(name="tag-used", template="write", arguments={"text": "{{steps.tag.outputs.result}}"})
            Step(name="lines-used", template="write", arguments={"text": "{{steps.lines.outputs.result}}"})


@case(defaults={"text": 'a "b" {"c": 1}'})
def script_text() -> None:
    """In the text of a script a tag is replaced as in any text."""
    python("show", "print('''{{inputs.parameters.text}} {{workflow.parameters.text}}''')", inputs=["text"])
    say()
    with DAG(name="main"):
        Task(name="show", template="show", arguments={"text": "it is\n{{workflow.parameters.text}}"})
        Task(name="say", template="say", depends="show", arguments={"text": "{{tasks.show.outputs.result}}"})


@case()
def variables() -> None:
    say()
    with DAG(name="inner", inputs=[Parameter(name="x", value="y")]):
        Task(name="task", template="say", arguments={"text": "{{inputs.parameters.x}}"})
    shell("names", 'echo "$1 $2"', inputs={"node": "{{node.name}}", "workflow": "{{workflow.name}}"})
    with DAG(name="main"):
        Task(name="inner", template="inner")
        Task(name="names", template="names")
        Task(name="loop", template="names", with_items=["a"])
        Task(name="entrypoint", template="say", arguments={"text": "{{workflow.mainEntrypoint}} {{workflow.name}}"})


@case(defaults={"b": "2", "a": 'x "y"'}, labels={"model": "resnet"}, annotations={"note": "some: text"})
def variables_of_workflow() -> None:
    say()
    with DAG(name="main"):
        Task(name="parameters", template="say", arguments={"text": "{{workflow.parameters}}"})
        Task(name="label", template="say", arguments={"text": "{{workflow.labels.model}}"})
        Task(name="annotation", template="say", arguments={"text": "{{workflow.annotations.note}}"})
        Task(name="name", template="say", arguments={"text": "{{workflow.name}} {{=workflow.name}}"})


@case()
def hera_scripts() -> None:
    """Functions, as Hera's inline scripts carry them: each input parsed as JSON where it is JSON."""

    @script(image=IMAGE, image_pull_policy="IfNotPresent", command=["python3"])
    def join(text: str, numbers: list[int], factor: int = 2) -> None:
        print(text, sum(numbers) * factor)

    with Steps(name="main"):
        first = join(name="first", arguments={"text": "it's", "numbers": "[1, 2, 3]"})
        join(name="second", arguments={"text": first.result, "numbers": [4], "factor": 10})


@case(defaults={"text": "of the workflow"})
def environment() -> None:
    shell(
        "show",
        'echo "$GREETING $NAME" > /tmp/value; echo "$NAME"',
        inputs={"name": "you"},
        env=[
            Env(name="GREETING", value="{{workflow.parameters.text}}"),
            Env(name="NAME", value="{{inputs.parameters.name}}"),
        ],
        outputs=[output("value", path="/tmp/value")],
    )
    with DAG(name="main"):
        Task(name="a", template="show", arguments={"name": "$(id) 'x'"})


@case()
def dollar_signs() -> None:
    """Kubernetes replaces ``$(NAME)`` of a container's own variables, and ``$$`` by ``$``, in commands and not in scripts."""
    shell(
        "expand",
        """printf '%s|' "$1" "$2" "$LATER" '$$(NAME)' '$(NAME)' '$(UNKNOWN)' '$(NAME' '$$'""",
        inputs=["text"],
        env=[
            models.EnvVar(name="NAME", value="named"),
            models.EnvVar(name="LATER", value="$(NAME) $$(NAME) $(LAST)"),
            models.EnvVar(name="LAST", value="last"),
        ],
    ).args.append("$(LATER)")
    python("keep", "print('$(HOME) $$ $$(X)')")
    say()
    with DAG(name="main"):
        Task(name="expand", template="expand", arguments={"text": "$(NAME) $$ $$(NAME) $(id)"})
        Task(name="read", template="say", depends="expand", arguments={"text": "{{tasks.expand.outputs.result}}"})
        Task(name="keep", template="keep")


@case()
def pass_through() -> None:
    """A parameter goes through three templates and keeps each of its characters."""
    write()
    for name, inner in (("one", "two"), ("two", "three")):
        with Steps(
            name=name,
            inputs=[Parameter(name="text")],
            outputs=[output("value", parameter="{{steps.go.outputs.parameters.value}}")],
        ):
            Step(name="go", template=inner, arguments={"text": "{{inputs.parameters.text}}"})
    with DAG(
        name="three",
        inputs=[Parameter(name="text")],
        outputs=[output("value", parameter="{{tasks.go.outputs.parameters.value}}")],
    ):
        Task(name="go", template="write", arguments={"text": "{{inputs.parameters.text}}"})
    with DAG(name="main", outputs=[output("value", parameter="{{tasks.go.outputs.parameters.value}}")]):
        Task(
            name="go",
            template="one",
            arguments={"text": HOSTILE["quotes"] + HOSTILE["json"] + HOSTILE["backslashes"] + "\n"},
        )
