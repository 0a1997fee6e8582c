"""``onExit`` and lifecycle hooks, of a workflow and of its tasks."""

from hera.workflows import DAG, Step, Steps, Task, models

from .cases import case
from .parts import fail, output, python, say, shell, write

#: What a handler of the end is told, of which the times and names of pods differ from run to run.
TOLD = """
import json
failures = r'''{{workflow.failures}}'''
told = json.loads(json.loads(failures)) if failures not in ("", "null") else []
print("{{workflow.status}}", sorted((f["displayName"], f["templateName"], f["phase"], f["message"]) for f in told))
"""


@case(on_exit="finish")
def exit_success() -> None:
    shell("finish", 'echo "$1"', inputs={"status": "{{workflow.status}}"})
    say()
    with DAG(name="main"):
        Task(name="a", template="say")


@case(on_exit="finish")
def exit_failure() -> None:
    shell("finish", 'echo "$1"', inputs={"status": "{{workflow.status}}"})
    fail(code=3)
    with DAG(name="main"):
        Task(name="a", template="fail")


@case(on_exit="finish")
def exit_failures() -> None:
    python("told", TOLD)
    say()
    fail(code=3)
    with Steps(name="finish"):
        Step(name="told", template="told")
        Step(name="say", template="say", arguments={"text": "{{steps.told.outputs.result}}"})
    with DAG(name="main", fail_fast=False):
        Task(name="a", template="fail")
        Task(name="b", template="fail", with_items=[1])
        Task(name="c", template="say")


@case(on_exit="finish")
def exit_fails() -> None:
    fail("finish", code=2)
    say("main")


@case(on_exit="finish")
def exit_both_fail() -> None:
    fail("finish", code=2)
    fail("main", code=1)


@case(on_exit="finish", defaults={"who": "someone"})
def exit_dag() -> None:
    say()
    fail(code=3)
    with DAG(name="finish"):
        Task(name="good", template="say", when="{{workflow.status}} == Succeeded")
        Task(
            name="bad",
            template="say",
            when="{{workflow.status}} != Succeeded",
            arguments={"text": "{{workflow.parameters.who}}"},
        )
        Task(name="last", template="say", depends="good || bad")
    with Steps(name="main"):
        Step(name="a", template="fail")


@case(
    hooks={
        "exit": models.LifecycleHook(
            template="finish",
            arguments=models.Arguments(parameters=[models.Parameter(name="text", value="{{workflow.status}}")]),
        )
    }
)
def exit_hook_of_workflow() -> None:
    say("finish")
    say("main")


@case(
    hooks={
        "failed": models.LifecycleHook(template="finish", expression='workflow.status == "Failed"'),
        "succeeded": models.LifecycleHook(template="finish", expression='workflow.status == "Succeeded"'),
    }
)
def hooks_of_workflow() -> None:
    say("finish")
    fail("main")


@case()
def exit_of_task() -> None:
    say()
    write()
    fail()
    with DAG(name="main", fail_fast=False):
        Task(
            name="a",
            template="write",
            hooks={
                "exit": models.LifecycleHook(
                    template="say",
                    arguments=models.Arguments(
                        parameters=[
                            models.Parameter(
                                name="text", value="{{tasks.a.outputs.parameters.value}} {{tasks.a.status}}"
                            )
                        ]
                    ),
                )
            },
        )
        Task(name="after", template="say", depends="a")
        Task(name="b", template="fail", on_exit="say")
        Task(name="c", template="say", hooks={"exit": models.LifecycleHook(template="fail")})


@case()
def exit_of_step() -> None:
    say()
    fail()
    with Steps(name="main"):
        Step(
            name="a",
            template="say",
            hooks={"exit": models.LifecycleHook(template="say", expression='steps["a"].status == "Succeeded"')},
        )
        Step(
            name="b",
            template="fail",
            hooks={"exit": models.LifecycleHook(template="say", expression='steps["b"].status == "Succeeded"')},
        )
        Step(name="never", template="say")


@case()
def hooks_of_task() -> None:
    say()
    fail()

    def hooks(task: str) -> dict[str, models.LifecycleHook]:
        return {
            "failed": models.LifecycleHook(template="say", expression=f'tasks["{task}"].status == "Failed"'),
            "succeeded": models.LifecycleHook(template="say", expression=f'tasks["{task}"].status == "Succeeded"'),
        }

    with DAG(name="main", fail_fast=False):
        Task(name="good", template="say", hooks=hooks("good"))
        Task(name="bad", template="fail", hooks=hooks("bad"))


@case(on_exit="finish")
def exit_with_outputs() -> None:
    """What the handler needs of the work travels by a global output."""
    say()
    shell("produce", "echo 42 > /tmp/value", outputs=[output("value", path="/tmp/value", global_name="found")])
    with Steps(name="finish"):
        Step(name="tell", template="say", arguments={"text": "{{workflow.outputs.parameters.found}}"})
    with Steps(name="main"):
        Step(name="produce", template="produce")
