"""Two or three features at once, where one could forget the other."""

from hera.workflows import DAG, Parameter, RetryStrategy, Script, Step, Steps, Task, WorkflowTemplate, models

from .cases import IMAGE, case
from .parts import fail, output, python, say, shell, write


def hook(template: str, text: str, expression: str | None = None) -> models.LifecycleHook:
    arguments = models.Arguments(parameters=[models.Parameter(name="text", value=text)])
    return models.LifecycleHook(template=template, expression=expression, arguments=arguments)


@case()
def loop_with_exit_hooks() -> None:
    shell("choose", '[ "$1" != b ]', inputs=["text"])
    say()
    with DAG(name="main", fail_fast=False):
        Task(
            name="each",
            template="choose",
            with_items=["a", "b"],
            arguments={"text": "{{item}}"},
            hooks={"exit": hook("say", "ended")},
        )
        Task(name="after", template="say", depends="each.AnySucceeded")


@case()
def loop_with_unresolved_hook() -> None:
    """An item's task cannot wait for what its own hook refers to."""
    say()
    with DAG(name="main", fail_fast=False):
        Task(
            name="each",
            template="say",
            with_items=["a", "b"],
            arguments={"text": "{{item}}"},
            hooks={"exit": hook("say", "{{tasks.each.status}}")},
        )
        Task(name="after", template="say", depends="each.AnySucceeded")


@case()
def loop_with_exit_hooks_in_steps() -> None:
    say()
    with Steps(name="main"):
        Step(
            name="each",
            template="say",
            with_items=["a", "b"],
            arguments={"text": "{{item}}"},
            hooks={"exit": hook("say", "ended")},
        )
        Step(name="after", template="say")


@case()
def retry_with_exit_hook() -> None:
    shell("second", '[ "$1" = 1 ]', inputs={"try": "{{retries}}"}, retry_strategy=RetryStrategy(limit=2))
    fail("never", retry_strategy=RetryStrategy(limit=1))
    say()
    with DAG(name="main", fail_fast=False):
        Task(name="good", template="second", hooks={"exit": hook("say", "{{tasks.good.status}}")})
        Task(name="bad", template="never", hooks={"exit": hook("say", "{{tasks.bad.status}}")})
        Task(name="after", template="say", depends="good && bad.Failed")


@case()
def retry_with_continue_on() -> None:
    fail("never", retry_strategy=RetryStrategy(limit=1))
    say()
    with Steps(name="main") as steps:
        with steps.parallel():
            Step(name="bad", template="never", continue_on=models.ContinueOn(failed=True))
            Step(name="good", template="say")
        Step(name="after", template="say", arguments={"text": "{{steps.bad.status}}"})


@case(retry_strategy=models.RetryStrategy(limit=models.IntOrString(root=1)))
def retry_of_workflow() -> None:
    fail()
    say()
    with DAG(name="main"):
        Task(name="bad", template="fail")
        Task(name="good", template="say")


@case()
def loop_of_failing_dags() -> None:
    shell("choose", '[ "$1" != 2 ]', inputs=["n"])
    say()
    with DAG(name="inner", inputs=[Parameter(name="n")]):
        Task(name="a", template="say")
        Task(name="b", template="choose", depends="a", arguments={"n": "{{inputs.parameters.n}}"})
        Task(name="c", template="say", depends="b")
    with DAG(name="main", fail_fast=False):
        Task(name="each", template="inner", with_items=[1, 2], arguments={"n": "{{item}}"})
        Task(name="any", template="say", depends="each.AnySucceeded")
        Task(name="all", template="say", depends="each")


@case()
def loop_of_steps_then_dag() -> None:
    """What follows a loop hangs below the ends of each of its turns."""
    say()
    with Steps(name="inner") as steps:
        with steps.parallel():
            Step(name="a", template="say")
            Step(name="b", template="say")
        with steps.parallel():
            Step(name="c", template="say")
            Step(name="d", template="say", when="false")
    with DAG(name="ends"):
        Task(name="x", template="say")
        Task(name="y", template="say")
    with DAG(name="main"):
        Task(name="each", template="inner", with_items=[1, 2])
        Task(name="ends", template="ends", depends="each")
        Task(name="last", template="say", depends="ends")


@case()
def skipped_loop() -> None:
    say()
    with DAG(name="main"):
        Task(name="each", template="say", with_items=[1, 2], when="false", arguments={"text": "{{item}}"})
        Task(name="after", template="say", depends="each")
        Task(name="skipped", template="say", depends="each.Skipped")


@case()
def skipped_nested() -> None:
    write()
    say()
    with DAG(
        name="inner",
        outputs=[output("value", parameter="{{tasks.a.outputs.parameters.value}}", default="inner default")],
    ):
        Task(name="a", template="write")
    with DAG(name="main", outputs=[output("value", parameter="{{tasks.skipped.outputs.parameters.value}}")]):
        Task(name="skipped", template="inner", when="false")
        Task(
            name="uses",
            template="say",
            depends="skipped",
            arguments={"text": "{{tasks.skipped.outputs.parameters.value}}"},
        )


@case()
def skipped_output_without_default() -> None:
    write()
    with DAG(name="main", outputs=[output("value", parameter="{{tasks.skipped.outputs.parameters.value}}")]):
        Task(name="skipped", template="write", when="false")


@case()
def omitted_output() -> None:
    write()
    fail()
    with DAG(
        name="main",
        outputs=[output("value", parameter="{{tasks.omitted.outputs.parameters.value}}", default="none")],
    ):
        Task(name="good", template="write")
        Task(name="omitted", template="write", depends="good.Failed")


@case()
def fail_two_in_steps() -> None:
    fail("one", code=1)
    fail("two", code=2)
    say()
    with Steps(name="main") as steps, steps.parallel():
        Step(name="z", template="two")
        Step(name="good", template="say")
        Step(name="a", template="one")


@case()
def fail_nested_continue_on() -> None:
    fail()
    say()
    with Steps(name="inner"):
        Step(name="bad", template="fail")
        Step(name="never", template="say")
    with DAG(name="main"):
        Task(name="nested", template="inner", continue_on=models.ContinueOn(failed=True))
        Task(name="after", template="say", dependencies=["nested"])


@case()
def scripts_of_sh() -> None:
    Script(
        name="count",
        image=IMAGE,
        image_pull_policy="IfNotPresent",
        command=["sh"],
        source='n={{inputs.parameters.n}}\nwhile [ "$n" -gt 0 ]; do echo "$n"; n=$((n - 1)); done\n[ -f "$0" ] && exit {{inputs.parameters.code}}',
        inputs=[Parameter(name="n"), Parameter(name="code", value="0")],
    )
    say()
    with Steps(name="main"):
        Step(name="three", template="count", arguments={"n": 3})
        Step(name="told", template="say", arguments={"text": "{{steps.three.outputs.result}} {{steps.three.exitCode}}"})
        Step(name="bad", template="count", arguments={"n": 1, "code": 9})


def globals_library() -> list[WorkflowTemplate]:
    """A template that asks for parameters of the workflow that refers to it, and one with an exit handler of a task."""
    with WorkflowTemplate(name="comparison-globals", entrypoint="ask", arguments={"who": "library"}) as library:
        say()
        with Steps(name="ask", inputs=[Parameter(name="greeting", default="hello {{workflow.parameters.who}}")]):
            Step(
                name="say",
                template="say",
                arguments={"text": "{{inputs.parameters.greeting}} {{workflow.name}}"},
                hooks={"exit": models.LifecycleHook(template="say")},
            )
    return [library]


@case(templates=globals_library, defaults={"who": "caller"})
def ref_with_globals() -> None:
    with DAG(name="main"):
        Task(name="ask", template_ref=models.TemplateRef(name="comparison-globals", template="ask"))


@case()
def outputs_of_failed_nested() -> None:
    shell("both", "echo kept > /tmp/value; exit 3", outputs=[output("value", path="/tmp/value")])
    say()
    with DAG(name="inner", outputs=[output("value", parameter="{{tasks.bad.outputs.parameters.value}}")]):
        Task(name="bad", template="both")
    with DAG(name="main", fail_fast=False):
        Task(name="inner", template="inner")
        Task(name="after", template="say", depends="inner.Failed")


@case()
def result_through_nested() -> None:
    """A nested template has no result of its own, but may give one as a parameter."""
    python("print", "print('of the script')")
    say()
    with Steps(name="inner", outputs=[output("said", parameter="{{steps.print.outputs.result}}")]):
        Step(name="print", template="print")
    with DAG(name="main", outputs=[output("said", parameter="{{tasks.inner.outputs.parameters.said}}")]):
        Task(name="inner", template="inner")
        Task(
            name="after", template="say", depends="inner", arguments={"text": "{{tasks.inner.outputs.parameters.said}}"}
        )


@case()
def exit_codes_decide() -> None:
    shell("end", 'exit "$1"', inputs=["code"])
    say()
    with DAG(name="main"):
        Task(name="work", template="end", arguments={"code": 75})
        Task(name="again", template="say", depends="work.Failed", when="{{tasks.work.exitCode}} == 75")
        Task(name="never", template="say", depends="work.Failed", when="{{tasks.work.exitCode}} != 75")


@case(on_exit="finish", active_deadline_seconds=1)
def exit_after_deadline() -> None:
    """The handler runs though the time of the work is over."""
    say("finish")
    shell("wait", "sleep 60")
    with DAG(name="main"):
        Task(name="wait", template="wait")


@case(parallelism=1, on_exit="finish")
def parallelism_with_exit() -> None:
    fail()
    say()
    with DAG(name="finish"):
        Task(name="each", template="say", with_items=[1, 2])
    with DAG(name="main"):
        Task(name="bad", template="fail")
        Task(name="good", template="say")
        Task(name="after-good", template="say", depends="good")


@case()
def params_of_gate() -> None:
    """The shape of a release: a list, a turn for each, and a gate over what came out."""
    python(
        "list",
        "import json, pathlib; pathlib.Path('/tmp/targets').write_text(json.dumps([{'to': 'ONNX', 'as': 'm:1-onnx'}, {'to': 'X', 'as': 'm:1-x'}]))",
        outputs=[output("targets", path="/tmp/targets")],
    )
    shell(
        "convert",
        '[ "$1" != X ] || exit 1; echo "$2" > /tmp/reference; : > /tmp/note',
        inputs=["to", "as"],
        outputs=[output("reference", path="/tmp/reference"), output("note", path="/tmp/note", default="none")],
        retry_strategy=RetryStrategy(limit=1, expression="asInt(lastRetry.exitCode) == 75"),
    )
    write()
    with DAG(
        name="main", fail_fast=False, outputs=[output("results", parameter="{{tasks.gate.outputs.parameters.value}}")]
    ):
        Task(name="list", template="list")
        Task(
            name="convert",
            template="convert",
            depends="list",
            with_param="{{tasks.list.outputs.parameters.targets}}",
            arguments={"to": "{{item.to}}", "as": "{{item.as}}"},
        )
        Task(
            name="gate",
            template="write",
            depends="convert.Succeeded || convert.AnySucceeded",
            arguments={"text": "{{tasks.convert.outputs.parameters}}"},
        )
