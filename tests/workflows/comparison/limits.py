"""Time, parallelism, locks and waiting."""

from hera.workflows import DAG, Step, Steps, Suspend, Task, models

from .cases import case
from .parts import say, shell


@case(parallelism=1)
def parallelism() -> None:
    say()
    with DAG(name="main"):
        Task(name="each", template="say", with_items=[1, 2, 3], arguments={"text": "{{item}}"})
        Task(name="after", template="say", depends="each")


@case()
def parallelism_of_template() -> None:
    say()
    with Steps(name="main", parallelism=1):
        Step(name="each", template="say", with_items=[1, 2, 3])
        Step(name="after", template="say")


@case(active_deadline_seconds=1)
def deadline_of_workflow() -> None:
    say()
    shell("wait", "sleep 60")
    with Steps(name="main"):
        Step(name="wait", template="wait")
        Step(name="never", template="say")


@case()
def deadline_of_template() -> None:
    say()
    shell("wait", "sleep 60", active_deadline_seconds=1)
    with DAG(name="main", fail_fast=False):
        Task(name="wait", template="wait")
        Task(name="after", template="say", depends="wait.Failed")


@case()
def suspend() -> None:
    say()
    Suspend(name="pause", duration="300ms")
    with Steps(name="main"):
        Step(name="pause", template="pause")
        Step(name="after", template="say")


@case(synchronization=models.Synchronization(mutexes=[models.Mutex(name="comparison-workflow")]))
def mutex() -> None:
    say(synchronization=models.Synchronization(mutexes=[models.Mutex(name="comparison-template")]))
    with DAG(name="main"):
        Task(name="each", template="say", with_items=[1, 2])
