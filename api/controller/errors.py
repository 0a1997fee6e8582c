"""What keeps a job from being started until somebody puts it right: the job waits, says why, and is tried again.

Each is the temporary twin of an error of `klever.workflows.argo.errors`, and has its name, which becomes the reason of
a condition. What does not belong here: what no waiting changes.
"""

from klever.steps.errors import TemporaryError


class ForbiddenError(TemporaryError):
    """The controller lacks a right in the namespace, or a policy of the cluster refuses the Workflow."""


class QuotaExceededError(TemporaryError):
    """The namespace's quota leaves no room for another Workflow."""


class TemplateMissingError(TemporaryError):
    """The WorkflowTemplate is not there yet, as where both are applied together."""


class ArgoMissingError(TemporaryError):
    """The cluster does not know Argo's resources."""


class HandlingError(TemporaryError):
    """The controller itself fails on this job."""

    usual_step = "report this message; the controller goes on with other jobs"
