"""``klever-publish``: publish a model from a URL or from a volume, within what the administrator allows.

One pod. What is allowed stands in the rendered template and is no input: see `Settings.allowed_urls` and
`Settings.allowed_claims`.
"""

from typing import Final

from hera.workflows import WorkflowTemplate

from klever.workflows.templates import parameters as of
from klever.workflows.templates.entry import main, workflow_template
from klever.workflows.templates.expressions import given, label, lock_of
from klever.workflows.templates.images import IMAGE_OF_STEP
from klever.workflows.templates.pods import SOURCES, image_of, step
from klever.workflows.templates.settings import Settings

NAME: Final = "klever-publish"
PUBLISH: Final = "publish"

INPUTS: Final = (of.SOURCE, of.PUBLISH_AS, of.FORMAT)
OUTPUTS: Final = (of.REFERENCE, of.DIGEST, of.FOUND_FORMAT, of.SIGNATURE, of.NOTE)


def build(settings: Settings) -> WorkflowTemplate:
    """Return the WorkflowTemplate."""
    made = workflow_template(
        PUBLISH,
        settings,
        title="Publish a model",
        description=(
            "Fetches a model from a URL or a volume that the administrator allows, reads its signature and publishes it"
            " as an artifact."
        ),
        inputs=INPUTS,
        subject="as",
        format_of="format",
    )
    allowed = (*settings.allowed_urls, *(f"{SOURCES}/{claim}" for claim in settings.allowed_claims))
    with made:
        main(PUBLISH, inputs=INPUTS, outputs=OUTPUTS, subject="as")
        step(
            PUBLISH,
            settings,
            verb=PUBLISH,
            image=image_of(IMAGE_OF_STEP[PUBLISH], settings),
            inputs=INPUTS,
            outputs=OUTPUTS,
            subject=given("as"),
            labels={"format": label(given("format"))},
            extra=[f"--allow={each}" for each in allowed],
            lock=lock_of(given("as")),
            claims=settings.allowed_claims,
        )
    return made
