"""``klever-task plan``."""

import hashlib
import json

from klever.api.task.destinations import destination
from klever.api.task.images import choose_image, parse_table
from klever.api.task.inputs import Inputs
from klever.api.task.telling import Progress, say
from klever.steps.artifact import load_artifact
from klever.steps.conversions import name_conversion
from klever.steps.model.certificate import Level
from klever.steps.needs import estimate
from klever.steps.plan import Plan, plan_artifact
from klever.steps.stores import Stores


def run(inputs: Inputs, stores: Stores, _progress: Progress) -> dict[str, str]:
    """Plan a conversion: where it runs, what it takes, what names its result. Raises what stands in its way."""
    reference, options, level, seed = inputs.reference("model"), inputs.options(), inputs.level(), inputs.seed()
    try:
        table = parse_table(inputs.texts("image"))
    except ValueError as error:
        raise inputs.error("image", f"ENVIRONMENT=IMAGE: {error}") from None
    source = inputs.format("from")
    artifact = load_artifact(stores.open(reference), reference, format_id=source)
    planned = plan_artifact(artifact.reference, stores, inputs.text("to"), options, source=source)
    planned.check()
    proving = () if level is Level.NONE else planned.proving
    required = (*planned.environments, *(proving if level is Level.COMPARED else ()))
    size = sum(planned.model.files.sizes.values())
    needs = estimate(size, [pair.id for pair in planned.path], proving)
    to = destination(reference, artifact.descriptor.digest, planned.target, inputs.text("as"))
    named = {
        "conversion": name_conversion(artifact.manifest.layer.digest, planned.path, options).key,
        "as": str(to),
        "require": level.value,
        "seed": seed,
    }
    outputs = {
        "model": str(artifact.reference),
        "as": str(to),
        "image": choose_image(table, required, proving),
        "memory": needs.memory_quantity,
        "storage": needs.storage_quantity,
        "key": hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest(),
        "path": _path(planned),
    }
    say(f"planned {outputs['path']} for {outputs['as']}: {outputs['memory']} of memory, {outputs['storage']} of disk")
    return outputs


def _path(planned: Plan) -> str:
    """Return the chain of converters in one line: ``Keras -> ONNX (rewritten, in convert-tensorflow)``."""
    parts = [planned.source]
    for pair, needed in zip(planned.path, planned.environments, strict=True):
        where = f", in {needed}" if needed else ""
        parts.append(f"{pair.target} ({pair.exactness.name.lower()}{where})")
    return " -> ".join(parts)
