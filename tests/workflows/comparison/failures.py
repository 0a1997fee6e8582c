"""How a failure is told, how far it reaches, and what goes on in spite of it."""

from hera.workflows import DAG, Step, Steps, Task, models

from .cases import case
from .parts import fail, output, python, say, shell


@case()
def fail_fast() -> None:
    say()
    fail()
    with DAG(name="main", fail_fast=True):
        Task(name="bad", template="fail")
        Task(name="after", template="say", depends="bad")


@case()
def fail_slow() -> None:
    say()
    fail()
    with DAG(name="main", fail_fast=False):
        Task(name="bad", template="fail")
        Task(name="other", template="say")
        Task(name="after-other", template="say", depends="other")
        Task(name="after-bad", template="say", depends="bad")


@case()
def fail_entrypoint() -> None:
    fail("main", code=7)


@case()
def fail_in_steps() -> None:
    say()
    fail()
    with Steps(name="main") as steps:
        with steps.parallel():
            Step(name="good", template="say")
            Step(name="bad", template="fail")
        Step(name="never", template="say")


@case()
def fail_deep() -> None:
    fail(code=4)
    say()
    with Steps(name="third"):
        Step(name="bad", template="fail")
    with DAG(name="second"):
        Task(name="third", template="third")
    with Steps(name="main"):
        Step(name="second", template="second")
        Step(name="never", template="say")


@case()
def fail_exit_codes() -> None:
    shell("end", 'exit "$1"', inputs=["code"])
    with DAG(name="main", fail_fast=False):
        Task(name="codes", template="end", with_items=[0, 1, 2, 75, 126, 255], arguments={"code": "{{item}}"})


@case()
def fail_exit_code_read() -> None:
    fail(code=42)
    say()
    with DAG(name="main", fail_fast=False):
        Task(name="bad", template="fail")
        Task(name="told", template="say", depends="bad.Failed", arguments={"text": "{{tasks.bad.exitCode}}"})
        Task(name="good", template="say")
        Task(name="good-told", template="say", depends="good", arguments={"text": "{{tasks.good.exitCode}}"})


@case()
def fail_message() -> None:
    """The message that a pod leaves where Kubernetes looks for it is the node's."""
    shell("tell", 'printf "stage: cause; next: step" > "${KLEVER_MESSAGE_FILE:-/dev/termination-log}"; exit 1')
    with DAG(name="main"):
        Task(name="a", template="tell")


@case()
def fail_killed() -> None:
    python("killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    python("terminated", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    with DAG(name="main", fail_fast=False):
        Task(name="killed", template="killed")
        Task(name="terminated", template="terminated")


@case()
def fail_unknown_command() -> None:
    python("exception", "raise ValueError('no')")
    shell("unknown", "no-such-command 2>/dev/null")
    with DAG(name="main", fail_fast=False):
        Task(name="exception", template="exception")
        Task(name="unknown", template="unknown")


@case()
def fail_output_missing() -> None:
    shell("forget", "true", outputs=[output("value", path="/tmp/never")])
    say()
    with DAG(name="main", fail_fast=False):
        Task(name="a", template="forget")
        Task(name="after", template="say", depends="a", arguments={"text": "{{tasks.a.outputs.parameters.value}}"})


@case()
def fail_outputs_kept() -> None:
    """What a failed pod wrote is still its output."""
    shell("both", "echo kept > /tmp/value; exit 3", outputs=[output("value", path="/tmp/value")])
    say()
    with DAG(name="main"):
        Task(name="bad", template="both")
        Task(
            name="reads",
            template="say",
            depends="bad.Failed",
            arguments={"text": "{{tasks.bad.outputs.parameters.value}}"},
        )


@case()
def continue_on_in_steps() -> None:
    say()
    fail()
    with Steps(name="main"):
        Step(name="bad", template="fail", continue_on=models.ContinueOn(failed=True))
        Step(name="still", template="say", arguments={"text": "{{steps.bad.status}}"})
        Step(name="error-only", template="fail", continue_on=models.ContinueOn(error=True))
        Step(name="never", template="say")


@case()
def continue_on_in_dag() -> None:
    say()
    fail()
    with DAG(name="main"):
        Task(name="bad", template="fail", continue_on=models.ContinueOn(failed=True))
        Task(name="still", template="say", dependencies=["bad"])


@case()
def continue_on_in_loop() -> None:
    shell("choose", '[ "$1" != b ]', inputs=["text"])
    say()
    with Steps(name="main"):
        Step(
            name="each",
            template="choose",
            with_items=["a", "b", "c"],
            arguments={"text": "{{item}}"},
            continue_on=models.ContinueOn(failed=True),
        )
        Step(name="after", template="say")
