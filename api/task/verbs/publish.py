"""``klever-task publish``."""

from typing import Final

from klever.api.task.inputs import Inputs
from klever.api.task.telling import Progress, say
from klever.api.task.values import result
from klever.steps.download import Allowed, check_files, download
from klever.steps.oci.staging import scratch_directory
from klever.steps.publish import publish
from klever.steps.stores import Stores
from klever.steps.transfer import watched

#: The part of the work that is done when the source is here.
_FETCHED: Final = 0.5
#: More than any disk has, in bytes.
_MAX_LIMIT: Final = 1 << 50


def run(inputs: Inputs, stores: Stores, progress: Progress) -> dict[str, str]:
    """Take a model from where the administrator allows it and publish it."""
    destination = inputs.reference("as")
    allowed = Allowed.parse(inputs.texts("allow"))
    with scratch_directory("klever-publish") as scratch:
        limit = inputs.number("limit", 0, 1, _MAX_LIMIT) or None
        path = download(
            inputs.text("source"), allowed, scratch, limit=limit, watch=watched(progress.report, 0.0, _FETCHED)
        )
        form = inputs.format("format")
        if not path.is_relative_to(scratch):
            check_files(path, allowed, format_id=form)
        published = publish(path, destination, stores, format_id=form, watch=watched(progress.report, _FETCHED, 1.0))
    outputs = result(published.reference, published.metadata, published.notes)
    say(f"published {outputs['reference']}  {outputs['format']}  {outputs['signature']}")
    return outputs
