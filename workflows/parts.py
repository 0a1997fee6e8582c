"""The parts of Klever's pipelines, for pipelines of one's own: tasks that call its templates in the cluster.

    >>> from hera.workflows import DAG, Parameter, Workflow
    >>> from klever.workflows.parts import convert, extract, output
    >>> with Workflow(generate_name="nightly-", entrypoint="main") as nightly:
    ...     with DAG(name="main", inputs=[Parameter(name="model", default="harbor.example/vision/resnet:v1")]):
    ...         read = extract("read", model="{{inputs.parameters.model}}")
    ...         onnx = convert("onnx", model=output(read, "reference"), to="ONNX", require="compared")
    ...         _ = read >> onnx
    >>> task = nightly.to_dict()["spec"]["templates"][0]["dag"]["tasks"][1]
    >>> task["templateRef"]
    {'name': 'klever-convert', 'template': 'convert'}
    >>> task["arguments"]["parameters"][0]
    {'name': 'model', 'value': '{{tasks.read.outputs.parameters.reference}}'}

Each function makes one node: a task where a ``DAG`` is open, a step in ``Steps`` or ``parallel()``. Its arguments are
the template's inputs, and what is left out has the template's default; `klever run klever-convert --describe` lists
them. A value is text, or what gives text when it runs: the `output` of an earlier node, an input, an ``{{item}}``.
Everything else that Hera's ``Task`` or ``Step`` takes (``with_param``, ``when``, ``depends``, ``continue_on``) goes
behind them:

    >>> with Workflow(generate_name="both-", entrypoint="main") as both:
    ...     with DAG(name="main"):
    ...         made = convert("made", model="vision/resnet:v1", to="{{item}}", with_items=["ONNX", "SavedModel"])

The same workflow runs on a laptop: ``klever run nightly.py``. What does not belong here: what the templates do.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from hera.workflows import Step, Task
from hera.workflows.exceptions import InvalidType
from hera.workflows.models import TemplateRef

from klever.steps.errors import NotFoundError
from klever.workflows.templates import convert as _convert
from klever.workflows.templates import extract as _extract
from klever.workflows.templates import publish as _publish
from klever.workflows.templates import release as _release

__all__ = ["convert", "extract", "output", "publish", "release"]

#: WorkflowTemplate to the names of what its template gives.
_OUTPUTS: Final = MappingProxyType(
    {module.NAME: tuple(each.name for each in module.OUTPUTS) for module in (_extract, _convert, _publish, _release)}
)


def extract(
    name: str,
    *,
    model: str,
    format: str | None = None,  # noqa: A002 - the template's name for it
    publish_as: str | None = None,
    inputs: str | None = None,
    outputs: str | None = None,
    repack: bool = False,
    all_tags: bool = False,
    **node: Any,
) -> Task | Step:
    """Return a node that reads the signature of ``model`` and writes it into the artifact's metadata.

    ``publish_as`` is where the result goes in the place of the model's own tag; ``inputs`` and ``outputs`` are what the
    author says of them, as JSON; ``all_tags`` moves every tag that points at what was read.

    Outputs: ``reference`` (pinned), ``digest``, ``format``, ``signature``, ``changed``, ``moved``, ``note``.
    """
    arguments = {
        "model": model,
        "format": format,
        "as": publish_as,
        "inputs": inputs,
        "outputs": outputs,
        "repack": "true" if repack else None,
        "all_tags": "true" if all_tags else None,
    }
    return _node(name, _extract.NAME, _extract.EXTRACT, arguments, node)


def convert(
    name: str,
    *,
    model: str,
    to: str,
    convert_from: str | None = None,
    publish_as: str | None = None,
    opset: int | str | None = None,
    batch: int | str | None = None,
    shapes: str | None = None,
    dtype: str | None = None,
    require: str | None = None,
    seed: int | str | None = None,
    memory: str | None = None,
    storage: str | None = None,
    **node: Any,
) -> Task | Step:
    """Return a node that converts ``model``, proves the result and publishes it; ``shapes`` is JSON.

    A model of another format than ``convert_from`` is refused.

    Outputs: ``reference`` (pinned), ``digest``, ``format``, ``signature``, ``level``, ``found``, ``note``, ``path``.
    """
    arguments = {
        "model": model,
        "to": to,
        "from": convert_from,
        "as": publish_as,
        "opset": opset,
        "batch": batch,
        "shapes": shapes,
        "dtype": dtype,
        "require": require,
        "seed": seed,
        "memory": memory,
        "storage": storage,
    }
    return _node(name, _convert.NAME, _convert.CONVERT, arguments, node)


def publish(name: str, *, source: str, publish_as: str, format: str | None = None, **node: Any) -> Task | Step:  # noqa: A002
    """Return a node that publishes ``source``, a URL or path that the administrator allows.

    Outputs: ``reference`` (pinned), ``digest``, ``format``, ``signature``, ``note``.
    """
    arguments = {"source": source, "as": publish_as, "format": format}
    return _node(name, _publish.NAME, _publish.PUBLISH, arguments, node)


def release(
    name: str,
    *,
    model: str,
    formats: str,
    publish_as: str | None = None,
    format: str | None = None,  # noqa: A002 - the template's name for it
    repack: bool = False,
    all_tags: bool = False,
    opset: int | str | None = None,
    batch: int | str | None = None,
    shapes: str | None = None,
    dtype: str | None = None,
    require: str | None = None,
    seed: int | str | None = None,
    memory: str | None = None,
    storage: str | None = None,
    **node: Any,
) -> Task | Step:
    """Return a node that extracts, converts to each of ``formats`` (a JSON list, or commas between) and gates.

    Outputs: ``reference`` (of the model, pinned), ``digest``, ``format``, ``signature``, ``references`` and ``report``
    (JSON).
    """
    arguments = {
        "model": model,
        "format": format,
        "formats": formats,
        "as": publish_as,
        "repack": "true" if repack else None,
        "all_tags": "true" if all_tags else None,
        "opset": opset,
        "batch": batch,
        "shapes": shapes,
        "dtype": dtype,
        "require": require,
        "seed": seed,
        "memory": memory,
        "storage": storage,
    }
    return _node(name, _release.NAME, _release.RELEASE, arguments, node)


def output(node: Task | Step, name: str) -> str:
    """Return what stands for an output of a node of this module; of a node in a loop, for the JSON list of all.

    Raises `NotFoundError` for a name that its template does not give.
    """
    reference = node.template_ref
    known = _OUTPUTS.get(reference.name or "", ()) if isinstance(reference, TemplateRef) else ()
    if name not in known:
        raise NotFoundError(
            f"{node.name} has no output {name!r}", next_step=f"choose one of {', '.join(known)}" if known else ""
        )
    return f"{{{{{'steps' if isinstance(node, Step) else 'tasks'}.{node.name}.outputs.parameters.{name}}}}}"


def _node(
    name: str, template: str, entry: str, arguments: Mapping[str, str | int | None], others: Mapping[str, Any]
) -> Task | Step:
    given = {key: str(value) for key, value in arguments.items() if value is not None}
    settings: dict[str, Any] = {
        "name": name,
        "template_ref": TemplateRef(name=template, template=entry),
        "arguments": given,
        **others,
    }
    try:
        return Task(**settings)
    except InvalidType:
        # Steps are open, and take no task.
        return Step(**settings)
