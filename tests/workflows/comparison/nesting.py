"""Templates within templates, templates without a name, and templates that call themselves."""

from hera.workflows import DAG, Container, Parameter, Step, Steps, Task, models

from .cases import IMAGE, case
from .parts import output, python, say, shell, write


@case()
def nested() -> None:
    say()
    write()
    with DAG(name="third", inputs=[Parameter(name="text")]):
        Task(name="a", template="say", arguments={"text": "{{inputs.parameters.text}}"})
        Task(name="b", template="say", depends="a")
    with Steps(name="second", inputs=[Parameter(name="text")]) as steps:
        with steps.parallel():
            Step(name="x", template="third", arguments={"text": "{{inputs.parameters.text}} x"})
            Step(name="y", template="say")
        Step(name="z", template="say")
    with DAG(name="main"):
        Task(name="before", template="write")
        Task(
            name="inside",
            template="second",
            depends="before",
            arguments={"text": "{{tasks.before.outputs.parameters.value}}"},
        )
        Task(name="after", template="say", depends="inside")


@case()
def recursion() -> None:
    python("less", "print({{inputs.parameters.n}} - 1)", inputs=["n"])
    with Steps(name="count", inputs=[Parameter(name="n")]):
        Step(name="less", template="less", arguments={"n": "{{inputs.parameters.n}}"})
        Step(
            name="again",
            template="count",
            when="{{steps.less.outputs.result}} > 0",
            arguments={"n": "{{steps.less.outputs.result}}"},
        )
    with Steps(name="main"):
        Step(name="count", template="count", arguments={"n": 3})


@case()
def recursion_of_dag() -> None:
    shell("append", 'printf "%sx" "$1" > /tmp/value', inputs=["text"], outputs=[output("value", path="/tmp/value")])
    with DAG(name="grow", inputs=[Parameter(name="text")]):
        Task(name="append", template="append", arguments={"text": "{{inputs.parameters.text}}"})
        Task(
            name="again",
            template="grow",
            depends="append",
            when="{{tasks.append.outputs.parameters.value}} != xxx",
            arguments={"text": "{{tasks.append.outputs.parameters.value}}"},
        )
    with DAG(name="main"):
        Task(name="grow", template="grow", arguments={"text": ""})


@case()
def inline() -> None:
    def printing(text: str) -> models.Template:
        return models.Template(
            container=models.Container(
                image=IMAGE, image_pull_policy="IfNotPresent", command=["sh", "-c", 'printf "%s" "$0"'], args=[text]
            )
        )

    with DAG(name="main"):
        Task(name="a", inline=printing("a"))
        Task(name="b", inline=printing("b"), depends="a")
        Task(name="each", inline=printing("x"), with_items=[1, 2], depends="b")


@case()
def empty_dirs() -> None:
    """A volume that lives as long as its pod."""
    Container(
        name="main",
        image=IMAGE,
        image_pull_policy="IfNotPresent",
        command=["sh", "-c"],
        args=["echo here > /work/file; ls /work; cat /work/file > /work/value"],
        volumes=[models.Volume(name="work", empty_dir=models.EmptyDirVolumeSource())],
        volume_mounts=[models.VolumeMount(name="work", mount_path="/work")],
        outputs=[output("value", path="/work/value")],
    )


@case()
def display_names() -> None:
    say(annotations={"workflows.argoproj.io/display-name": "Say {{inputs.parameters.text}}"})
    with DAG(name="main"):
        Task(name="a", template="say", arguments={"text": "this"})
        Task(name="b", template="say", with_items=["x"], arguments={"text": "{{item}}"})
