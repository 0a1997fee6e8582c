"""``klever-task targets``."""

import json
from collections.abc import Iterator

from klever.api.task.destinations import destination
from klever.api.task.inputs import Inputs
from klever.api.task.telling import Progress, say
from klever.steps.artifact import load_artifact
from klever.steps.converters.paths import reachable
from klever.steps.converters.table import PAIRS
from klever.steps.errors import NoPathError
from klever.steps.formats.table import load_format
from klever.steps.stores import Stores


def run(inputs: Inputs, stores: Stores, _progress: Progress) -> dict[str, str]:
    """List where the model is to be converted to; what no converter reaches is refused before anything is done."""
    reference = inputs.reference("model")
    formats = tuple(dict.fromkeys(load_format(name).id for name in _names(inputs)))
    if not formats:
        raise inputs.error("formats", "at least one format")
    artifact = load_artifact(stores.open(reference), reference)
    known = reachable(PAIRS, artifact.metadata.format)
    if unknown := [name for name in formats if name not in known]:
        raise NoPathError(
            f"no converter leads from {artifact.metadata.format} to {' or '.join(unknown)}",
            stage="targets",
            next_step=f"{artifact.metadata.format} can become {', '.join(known) or 'nothing else yet'}",
        )
    targets = [
        {"to": name, "as": str(destination(reference, artifact.descriptor.digest, name, inputs.text("as")))}
        for name in formats
    ]
    if len({target["as"] for target in targets}) < len(targets):
        raise inputs.error("as", "a pattern with {format} in it, as there are several formats")
    for target in targets:
        say(f"{target['to']} -> {target['as']}")
    return {"targets": json.dumps(targets), "model": str(artifact.reference)}


def _names(inputs: Inputs) -> Iterator[str]:
    """Yield the names in a JSON list or between commas."""
    if not inputs.text("formats").lstrip().startswith("["):
        yield from filter(None, map(str.strip, inputs.text("formats").split(",")))
        return
    for name in inputs.json("formats"):
        if not isinstance(name, str):
            raise inputs.error("formats", "a JSON list of formats")
        yield name
