"""``klever-task convert``."""

from klever.api.task.inputs import Inputs
from klever.api.task.telling import Progress, say
from klever.api.task.values import result, truth
from klever.steps.conversions import Demands
from klever.steps.convert import convert
from klever.steps.stores import Stores


def run(inputs: Inputs, stores: Stores, progress: Progress) -> dict[str, str]:
    """Convert a model, prove the result and publish it; what was converted before is found."""
    destination = inputs.reference("as")
    converted = convert(
        inputs.reference("model"),
        inputs.text("to"),
        destination,
        stores,
        options=inputs.options(),
        demands=Demands(level=inputs.level(), seed=inputs.seed()),
        source_format=inputs.format("from"),
        report=progress.report,
    )
    outputs = {
        **result(converted.reference or destination, converted.metadata, converted.notes),
        "level": converted.certificate.level.value,
        "found": truth(converted.found),
    }
    verb = "found" if converted.found else "converted"
    say(f"{verb} {outputs['reference']}  {outputs['format']}, proven to the level {outputs['level']}")
    return outputs
