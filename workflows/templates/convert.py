"""``klever-convert``: plan a conversion, make it in the image that the pair of formats needs, prove and publish it.

    plan ──▶ make ──▶ extract (of klever-extract)

The plan names the image and the size of the pod that comes next. What does not belong here: which image that is, which
is in `klever.workflows.templates.images`.
"""

from typing import Final

from hera.workflows import DAG, Container, Task, WorkflowTemplate
from hera.workflows.models import TemplateRef

from klever.workflows.templates import extract
from klever.workflows.templates import parameters as of
from klever.workflows.templates.cache import cached
from klever.workflows.templates.entry import main, passed, workflow_template
from klever.workflows.templates.expressions import first_given, given, label, lock_of, model_of, result_key
from klever.workflows.templates.images import IMAGE_OF_ENVIRONMENT, IMAGE_OF_STEP
from klever.workflows.templates.parameters import Input
from klever.workflows.templates.pods import CONVERT_CPU, image_of, named, sized, step
from klever.workflows.templates.settings import Settings

NAME: Final = "klever-convert"
CONVERT: Final = "convert"
PLAN: Final = "plan"
#: The pod that does it, and what remembers its results; nobody calls them but ``convert``.
MAKE: Final = "make"
MAKE_ONCE: Final = "make-once"

#: What both the plan and the conversion itself have to know.
_ASKED: Final = (of.MODEL, of.TO, of.FROM, of.AS, of.OPSET, of.BATCH, of.SHAPES, of.DTYPE, of.REQUIRE, of.SEED)
INPUTS: Final = (*_ASKED, of.MEMORY, of.STORAGE)
_PLANNED: Final = (
    of.PINNED_MODEL,
    of.PLANNED_AS,
    of.PLANNED_IMAGE,
    of.PLANNED_MEMORY,
    of.PLANNED_STORAGE,
    of.KEY,
    of.PATH,
)
_MADE: Final = (of.REFERENCE, of.DIGEST, of.FOUND_FORMAT, of.SIGNATURE, of.LEVEL, of.FOUND, of.NOTE)
OUTPUTS: Final = (*_MADE, of.PATH)

_IMAGE = Input("image", "The image in which to convert, by its short name.", None)
_PLANNED_MEMORY = Input("planned_memory", "The memory that the plan worked out.", "1Gi")
_PLANNED_STORAGE = Input("planned_storage", "The disk that the plan worked out.", "1Gi")
_KEY = Input("key", "What the plan calls the result.")
#: What the pod that converts is told.
_TOLD: Final = (*INPUTS, _IMAGE, _PLANNED_MEMORY, _PLANNED_STORAGE, _KEY)


def build(settings: Settings) -> WorkflowTemplate:
    """Return the WorkflowTemplate."""
    made = workflow_template(
        CONVERT,
        settings,
        title="Convert a model",
        description=(
            "Converts a model in a registry to another format, proves the result against its source, publishes it with"
            " its certificate and reads its signature."
        ),
        inputs=INPUTS,
        subject="model",
        format_of="to",
    )
    with made:
        main(CONVERT, inputs=INPUTS, outputs=OUTPUTS, subject="model")
        _convert()
        _plan(settings)
        cached(
            MAKE_ONCE,
            settings,
            template=MAKE,
            inputs=_TOLD,
            outputs=_MADE,
            # How large the pod is makes no difference to the result.
            key=result_key(settings.image_tag, given("model"), [given(each.name) for each in (*_ASKED, _IMAGE, _KEY)]),
            shown=("'make once'", given("to"), "'of'", model_of(given("model"))),
        )
        _make(settings)
    return made


def _convert() -> DAG:
    dag = DAG(
        name=CONVERT,
        inputs=[each.as_parameter() for each in INPUTS],
        outputs=[
            of.REFERENCE.of_task(extract.EXTRACT),
            of.DIGEST.of_task(extract.EXTRACT),
            of.FOUND_FORMAT.of_task(extract.EXTRACT),
            of.SIGNATURE.of_task(extract.EXTRACT),
            of.LEVEL.of_task(MAKE),
            of.FOUND.of_task(MAKE),
            of.NOTE.of_task(MAKE),
            of.PATH.of_task(PLAN),
        ],
        annotations=named("'convert to'", given("to"), model_of(given("model"))),
    )
    planned = {
        "model": of.PINNED_MODEL,
        "as": of.PLANNED_AS,
        _IMAGE.name: of.PLANNED_IMAGE,
        _PLANNED_MEMORY.name: of.PLANNED_MEMORY,
        _PLANNED_STORAGE.name: of.PLANNED_STORAGE,
        _KEY.name: of.KEY,
    }
    with dag:
        plan = Task(name=PLAN, template=PLAN, arguments=passed(_ASKED))
        make = Task(
            name=MAKE,
            template=MAKE_ONCE,
            arguments=passed(INPUTS, {name: output.from_task(PLAN) for name, output in planned.items()}),
        )
        read = Task(
            name=extract.EXTRACT,
            template_ref=TemplateRef(name=extract.NAME, template=extract.EXTRACT_PINNED),
            arguments={"model": of.REFERENCE.from_task(MAKE), "format": "{{inputs.parameters.to}}"},
        )
        plan.next(make).next(read)
    return dag


def _plan(settings: Settings) -> Container:
    images = [f"--image={environment}={image}" for environment, image in IMAGE_OF_ENVIRONMENT.items()]
    return step(
        PLAN,
        settings,
        verb=PLAN,
        image=image_of(IMAGE_OF_STEP[PLAN], settings),
        inputs=_ASKED,
        outputs=_PLANNED,
        subject=given("model"),
        labels={"format": label(given("to"))},
        shown=("'plan'", given("to"), "'of'"),
        extra=images,
    )


def _make(settings: Settings) -> Container:
    return step(
        MAKE,
        settings,
        verb=CONVERT,
        image=image_of("{{inputs.parameters.image}}", settings),
        inputs=_TOLD,
        unsaid=[each.name for each in _TOLD if each not in _ASKED],
        outputs=_MADE,
        subject=given("model"),
        labels={"format": label(given("to"))},
        shown=("'make'", given("to"), "'of'"),
        lock=lock_of(given("as")),
        patch=sized(
            first_given("memory", _PLANNED_MEMORY.name), first_given("storage", _PLANNED_STORAGE.name), settings
        ),
        cpu=CONVERT_CPU,
        deadline=settings.convert_deadline,
    )
