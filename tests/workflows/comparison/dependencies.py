"""``depends`` with its logic, ``dependencies`` and a DAG's target."""

from hera.workflows import DAG, Task

from .cases import case
from .parts import fail, say, shell


@case()
def depends_logic() -> None:
    say()
    fail()
    with DAG(name="main", fail_fast=False):
        Task(name="good", template="say")
        Task(name="bad", template="fail")
        Task(name="skipped", template="say", when="false")
        conditions = {
            "and": "good && bad",
            "or": "good || bad",
            "not": "!bad.Succeeded",
            "both-ways": "(good.Succeeded && bad.Failed) || skipped.Succeeded",
            "and-skipped": "good && skipped",
            "none": "good.Failed || bad.Succeeded",
            "not-skipped": "good && !skipped.Skipped",
        }
        for name, condition in conditions.items():
            Task(name=name, template="say", depends=condition)


@case()
def depends_failed_handled() -> None:
    say()
    fail()
    with DAG(name="main"):
        Task(name="work", template="fail")
        Task(name="clean", template="say", depends="work.Failed")
        Task(name="next", template="say", depends="work.Succeeded")
        Task(name="report", template="say", depends="clean && (next || next.Omitted)")


@case()
def depends_any_succeeded() -> None:
    shell("choose", '[ "$1" = "$2" ]', inputs=["item", "good"])
    say()
    with DAG(name="main", fail_fast=False):
        for name, good in {"some": "1", "none": "x"}.items():
            Task(name=name, template="choose", with_items=["1", "2"], arguments={"item": "{{item}}", "good": good})
            Task(name=f"{name}-any", template="say", depends=f"{name}.AnySucceeded")
            Task(name=f"{name}-all-failed", template="say", depends=f"{name}.AllFailed")
            Task(name=f"{name}-failed", template="say", depends=f"{name}.Failed")


@case()
def depends_omitted() -> None:
    say()
    with DAG(name="main"):
        Task(name="a", template="say")
        Task(name="b", template="say", depends="a.Failed")
        Task(name="c", template="say", depends="b")
        Task(name="d", template="say", depends="c.Omitted || a.Failed")
        Task(name="e", template="say", depends="a && !b")


@case()
def depends_diamond() -> None:
    say()
    with DAG(name="main"):
        Task(name="d", template="say", depends="b && c")
        Task(name="b", template="say", depends="a")
        Task(name="c", template="say", depends="a")
        Task(name="a", template="say")


@case()
def dependencies_failed() -> None:
    say()
    fail()
    with DAG(name="main", fail_fast=False):
        Task(name="bad", template="fail")
        Task(name="good", template="say")
        Task(name="after-good", template="say", dependencies=["good"])
        Task(name="after-both", template="say", dependencies=["good", "bad"])
        Task(name="last", template="say", dependencies=["after-both"])


@case()
def target() -> None:
    say()
    with DAG(name="main", target="b c"):
        Task(name="a", template="say")
        Task(name="b", template="say", dependencies=["a"])
        Task(name="c", template="say")
        Task(name="d", template="say", dependencies=["b"])


@case()
def depends_after_failure_fast() -> None:
    """A failure ends the DAG early, though a task that has nothing to do with it could still begin."""
    say()
    fail()
    shell("wait", "sleep 0.5")
    with DAG(name="main"):
        Task(name="bad", template="fail")
        Task(name="slow", template="wait")
        Task(name="after-slow", template="say", depends="slow")
