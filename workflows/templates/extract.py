"""``klever-extract``: read a model's signature from its bytes and write it into its artifact's metadata.

One pod. Kilobytes move: a new manifest and config over the same layer, and the tag, where it still points at what was
read. With ``as`` the result goes elsewhere; with ``all_tags`` to every tag that points at what was read, each compared
right before it is moved, as no lock is held on those. ``extract-pinned`` does the same for a reference with a digest,
and remembers what it found.
"""

from typing import Final

from hera.workflows import WorkflowTemplate

from klever.workflows.templates import parameters as of
from klever.workflows.templates.cache import cached
from klever.workflows.templates.entry import main, workflow_template
from klever.workflows.templates.expressions import first_given, given, label, lock_of, model_of, result_key
from klever.workflows.templates.images import IMAGE_OF_STEP
from klever.workflows.templates.pods import image_of, step
from klever.workflows.templates.settings import Settings

NAME: Final = "klever-extract"
EXTRACT: Final = "extract"
#: For a reference with a digest: the same result again within the time of `Settings.remember`, without a pod.
EXTRACT_PINNED: Final = "extract-pinned"

INPUTS: Final = (
    of.MODEL,
    of.FORMAT,
    of.EXTRACT_AS,
    of.TOLD_INPUTS,
    of.TOLD_OUTPUTS,
    of.REPACK,
    of.ALL_TAGS,
)
OUTPUTS: Final = (of.REFERENCE, of.DIGEST, of.FOUND_FORMAT, of.SIGNATURE, of.CHANGED, of.MOVED, of.NOTE)


def build(settings: Settings) -> WorkflowTemplate:
    """Return the WorkflowTemplate."""
    made = workflow_template(
        EXTRACT,
        settings,
        title="Extract a model's signature",
        description=(
            "Reads format, inputs, outputs and layers from the bytes of a model in a registry, without loading it, and"
            " writes them into its metadata. The layer stays as it is; the tag moves to the new manifest where it"
            " still points at the one that was read."
        ),
        inputs=INPUTS,
        subject="model",
        format_of="format",
    )
    with made:
        main(EXTRACT, inputs=INPUTS, outputs=OUTPUTS, subject="model")
        cached(
            EXTRACT_PINNED,
            settings,
            template=EXTRACT,
            inputs=INPUTS,
            outputs=OUTPUTS,
            key=result_key(settings.image_tag, given("model"), [given(each.name) for each in INPUTS]),
            shown=("'extract once'", model_of(given("model"))),
        )
        step(
            EXTRACT,
            settings,
            verb=EXTRACT,
            image=image_of(IMAGE_OF_STEP[EXTRACT], settings),
            inputs=INPUTS,
            outputs=OUTPUTS,
            subject=given("model"),
            labels={"format": label(given("format"))},
            # Of the tag that is written: the model's own is left alone where the result goes elsewhere.
            lock=lock_of(first_given("as", "model")),
        )
    return made
