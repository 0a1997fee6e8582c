"""``klever-task extract``."""

from klever.api.task.inputs import Inputs
from klever.api.task.telling import Progress, say
from klever.api.task.values import result, truth
from klever.steps.enrich import enrich
from klever.steps.stores import Stores
from klever.steps.transfer import watched


def run(inputs: Inputs, stores: Stores, progress: Progress) -> dict[str, str]:
    """Read the signature of an artifact from its layer and write it into its config."""
    enriched = enrich(
        inputs.reference("model"),
        stores,
        format_id=inputs.format("format"),
        told=inputs.signature(),
        repack=inputs.flag("repack"),
        publish_as=inputs.reference("as") if inputs.text("as") else None,
        all_tags=inputs.flag("all_tags"),
        watch=watched(progress.report),
    )
    outputs = {
        **result(enriched.reference, enriched.metadata, enriched.notes),
        "changed": truth(enriched.changed),
        "moved": truth(enriched.moved),
    }
    verb = "extracted" if enriched.changed else "unchanged"
    say(f"{verb} {outputs['reference']}  {outputs['format']}  {outputs['signature']}")
    return outputs
