"""What goes wrong between us and a cluster, told to a person.

What does not belong here: why a workflow failed that did run; that is in `reasons`.
"""

from klever.steps.errors import PermanentError, TemporaryError


class ClusterUnreachableError(TemporaryError):
    """The API server does not answer, or answers 429 or 5xx, after the retries."""

    usual_step = "check that the cluster runs and that kubectl get workflows answers, then try again"


class NoClusterError(PermanentError):
    """Nothing says which cluster is meant, or what says so is not valid."""

    usual_step = "set KUBECONFIG or pass --context; kubectl config get-contexts lists what there is"


class ClientMissingError(PermanentError):
    """The Kubernetes client is not installed."""

    usual_step = "pip install 'klever[workflows]'"


class UntrustedClusterError(PermanentError):
    """The API server's certificate is not one that the kubeconfig trusts."""

    usual_step = "check certificate-authority in the kubeconfig"


class ClusterUnauthorizedError(PermanentError):
    """The API server does not accept the credentials."""

    usual_step = "log in to the cluster again"


class ForbiddenError(PermanentError):
    """The user may not do this."""

    usual_step = "ask whoever administers the cluster for this right"


class ArgoMissingError(PermanentError):
    """The cluster does not know the resources of Argo Workflows."""

    usual_step = "install Argo Workflows in it, or choose another cluster with --context"


class ClusterObjectMissingError(PermanentError):
    """There is no such object in the namespace."""


class TemplateMissingError(ClusterObjectMissingError):
    """There is no such WorkflowTemplate in the namespace."""


class WorkflowMissingError(ClusterObjectMissingError):
    """There is no such Workflow in the namespace."""

    usual_step = "klever workflows list shows what there is; name its namespace with -n"


class WorkflowDeletedError(PermanentError):
    """The workflow was deleted while it was waited for."""

    usual_step = "submit it again if it is still wanted"


class NameTakenError(PermanentError):
    """Another workflow has this name."""

    usual_step = "choose another name, or delete the other workflow"


class ConflictError(TemporaryError):
    """The object changed between reading and writing."""

    usual_step = "try again"


class ExpiredError(TemporaryError):
    """The point from which changes were asked for is too long ago (HTTP 410)."""


class InvalidWorkflowError(PermanentError):
    """The API server refuses the document as it is."""

    usual_step = "correct the workflow; argo lint says more"


class RefusedError(PermanentError):
    """The API server will not do this, for another reason."""


class WrongPhaseError(PermanentError):
    """The workflow is not in a phase in which this can be done."""


class UnreadableStatusError(PermanentError):
    """The nodes of the workflow's status are kept where this cannot reach, or are not what they have to be."""
