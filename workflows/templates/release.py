"""``klever-release``: a model with its signature and in every format that was asked for, or a failure that says why.

    targets ──▶ extract ──▶ convert, a branch for each format ──▶ gate

The gate asks the registry for the results' certificates and not the branches for what they say of themselves.
"""

from typing import Final

from hera.workflows import DAG, Container, Task, WorkflowTemplate
from hera.workflows.models import TemplateRef

from klever.workflows.templates import convert, extract
from klever.workflows.templates import parameters as of
from klever.workflows.templates.entry import main, passed, workflow_template
from klever.workflows.templates.expressions import given, model_of
from klever.workflows.templates.images import IMAGE_OF_STEP
from klever.workflows.templates.parameters import Input
from klever.workflows.templates.pods import image_of, named, step
from klever.workflows.templates.settings import Settings

NAME: Final = "klever-release"
RELEASE: Final = "release"
TARGETS: Final = "targets"
GATE: Final = "gate"

#: What every branch is told alike.
_OF_BRANCHES: Final = (of.OPSET, of.BATCH, of.SHAPES, of.DTYPE, of.REQUIRE, of.SEED, of.MEMORY, of.STORAGE)
_CHOSEN: Final = (of.MODEL, of.FORMATS, of.PATTERN)
INPUTS: Final = (of.MODEL, of.FORMAT, of.FORMATS, of.PATTERN, of.REPACK, of.ALL_TAGS, *_OF_BRANCHES)
OUTPUTS: Final = (of.REFERENCE, of.DIGEST, of.FOUND_FORMAT, of.SIGNATURE, of.REFERENCES, of.REPORT)

_RESULTS: Final = Input("results", "References of the results, as JSON.", None)
#: The gate has a reference of its own to be named after.
_GATED: Final = (of.MODEL, _RESULTS, of.REQUIRE)


def build(settings: Settings) -> WorkflowTemplate:
    """Return the WorkflowTemplate."""
    made = workflow_template(
        RELEASE,
        settings,
        title="Release a model",
        description=(
            "Reads a model's signature, converts it to each of the formats in parallel, and ends well only where every"
            " result has a certificate that is as good as required."
        ),
        inputs=INPUTS,
        subject="model",
        format_of="formats",
    )
    with made:
        main(RELEASE, inputs=INPUTS, outputs=OUTPUTS, subject="model")
        _release()
        _targets(settings)
        _gate(settings)
    return made


def _release() -> DAG:
    dag = DAG(
        name=RELEASE,
        inputs=[each.as_parameter() for each in INPUTS],
        outputs=[
            of.REFERENCE.of_task(extract.EXTRACT),
            of.DIGEST.of_task(extract.EXTRACT),
            of.FOUND_FORMAT.of_task(extract.EXTRACT),
            of.SIGNATURE.of_task(extract.EXTRACT),
            of.REFERENCES.of_task(convert.CONVERT, of.REFERENCE),
            of.REPORT.of_task(GATE),
        ],
        # One format that fails does not keep the others from being tried.
        fail_fast=False,
        annotations=named("'release'", model_of(given("model"))),
    )
    with dag:
        targets = Task(name=TARGETS, template=TARGETS, arguments=passed(_CHOSEN))
        read = Task(
            name=extract.EXTRACT,
            template_ref=TemplateRef(name=extract.NAME, template=extract.EXTRACT_PINNED),
            arguments=passed((of.FORMAT, of.REPACK, of.ALL_TAGS), {"model": of.PINNED_MODEL.from_task(TARGETS)}),
        )
        made = Task(
            name=convert.CONVERT,
            template_ref=TemplateRef(name=convert.NAME, template=convert.CONVERT),
            arguments=passed(
                _OF_BRANCHES,
                {"model": of.REFERENCE.from_task(extract.EXTRACT), "to": "{{item.to}}", "as": "{{item.as}}"},
            ),
            with_param=of.TARGETS.from_task(TARGETS),
        )
        gate = Task(
            name=GATE,
            template=GATE,
            arguments=passed((of.MODEL, of.REQUIRE), {_RESULTS.name: of.REFERENCE.from_task(convert.CONVERT)}),
        )
        targets.next(read).next(made).next(gate)
    return dag


def _targets(settings: Settings) -> Container:
    return step(
        TARGETS,
        settings,
        verb=TARGETS,
        image=image_of(IMAGE_OF_STEP[TARGETS], settings),
        inputs=_CHOSEN,
        outputs=(of.TARGETS, of.PINNED_MODEL),
        subject=given("model"),
        shown=("'targets of'",),
    )


def _gate(settings: Settings) -> Container:
    return step(
        GATE,
        settings,
        verb=GATE,
        image=image_of(IMAGE_OF_STEP[GATE], settings),
        inputs=_GATED,
        unsaid=("model",),
        outputs=(of.REPORT,),
        subject=given("model"),
    )
