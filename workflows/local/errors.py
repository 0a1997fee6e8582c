"""What can go wrong between a workflow and its run, and what only makes it wait.

What does not belong here: the errors of expressions, conditions and loops, which are beside them.
"""

from klever.steps.errors import PermanentError


class UnsupportedWorkflowError(PermanentError):
    """The workflow uses what has no meaning on one machine and cannot be left out; ``fields`` are the paths to it."""

    usual_step = "run it on a cluster with --on argo, or leave these fields out"

    def __init__(self, problems: list[str]) -> None:
        self.fields = tuple(problems)
        listed = "; ".join(problems)
        super().__init__(f"this machine does not run {listed}", stage="check")


class InvalidWorkflowError(PermanentError):
    """Argo would refuse the workflow; ``cause`` says what it would say."""

    usual_step = "correct the workflow"

    def __init__(self, cause: str, *, next_step: str = "") -> None:
        super().__init__(cause, stage="check", next_step=next_step)


class TemplateError(PermanentError):
    """A template cannot be used as it is asked to; the node ends in Error."""

    usual_step = "correct the template or the arguments that it is given"


class TimeoutReachedError(TemplateError):
    """A node waited longer than its template's timeout."""


class WaitingError(Exception):
    """Not now: something has to end first. No failure."""


class ParallelismReachedError(WaitingError):
    """As much runs as may."""
