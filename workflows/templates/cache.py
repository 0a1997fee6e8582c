"""A step whose result Argo remembers: the same one with the same inputs is not done again for a while.

The step stands in a DAG of its own, which is what is remembered. A pod that may be tried again cannot be: where Argo
finds its result, its node has no children, and a DAG with anything behind it never ends (``getOutboundNodes`` in
operator.go). What does not belong here: what names a result, see `expressions.result_key`.
"""

from collections.abc import Sequence

from hera.workflows import DAG, Task
from hera.workflows.models import Cache, LocalObjectReference, Memoize

from klever.workflows.templates.entry import passed
from klever.workflows.templates.expressions import placed
from klever.workflows.templates.parameters import Input, Output
from klever.workflows.templates.pods import named
from klever.workflows.templates.settings import Settings


def cached(
    name: str,
    settings: Settings,
    *,
    template: str,
    inputs: Sequence[Input],
    outputs: Sequence[Output],
    key: str,
    shown: Sequence[str],
) -> DAG:
    """Return the template that calls ``template`` with its own inputs, and remembers the outputs by ``key``."""
    dag = DAG(
        name=name,
        inputs=[each.as_parameter() for each in inputs],
        outputs=[each.of_task(template) for each in outputs],
        annotations=named(*shown),
        memoize=_memoize(key, settings) if settings.remember else None,
    )
    with dag:
        Task(name=template, template=template, arguments=passed(inputs))
    return dag


def _memoize(key: str, settings: Settings) -> Memoize:
    # All workflows of the cluster share the controller's cache. A ConfigMap of it holds 1 MiB, and Argo fails the step
    # whose result does not fit any more. Results are therefore kept in sixteen of them by the key's first digit, and in
    # new ones every month.
    month = "{{workflow.creationTimestamp.Y}}-{{workflow.creationTimestamp.m}}"
    name = f"klever-results-{month}-{placed(f'sprig.trunc(1, {key})')}"
    return Memoize(key=placed(key), max_age=settings.remember, cache=Cache(config_map=LocalObjectReference(name=name)))
