"""The local runner: Argo's workflows as processes of this machine, with Argo's semantics and without Kubernetes.

A workflow is checked first: whatever is neither honoured nor meaningless on one machine is refused by name. Then the
engine walks it as Argo's controller does. What does not belong here: Hera, Kubernetes, and what the steps do.
"""

from klever.workflows.local.errors import InvalidWorkflowError, UnsupportedWorkflowError
from klever.workflows.local.runner import Options, our_templates, run
from klever.workflows.local.runs import Record, UnknownRunError, find_record, list_records

__all__ = [
    "InvalidWorkflowError",
    "Options",
    "Record",
    "UnknownRunError",
    "UnsupportedWorkflowError",
    "find_record",
    "list_records",
    "our_templates",
    "run",
]
