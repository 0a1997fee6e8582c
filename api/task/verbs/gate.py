"""``klever-task gate``."""

import json
from collections.abc import Iterator

from klever.api.task.inputs import Inputs
from klever.api.task.places import parse_place
from klever.api.task.telling import Progress, say
from klever.steps.gate import check, judge
from klever.steps.oci.reference import Reference
from klever.steps.stores import Stores


def run(inputs: Inputs, stores: Stores, progress: Progress) -> dict[str, str]:
    """Hold the certificate of every result against what is required; all that fall short are named."""
    references, level = tuple(dict.fromkeys(_references(inputs))), inputs.level()
    judgements = []
    for count, reference in enumerate(references, 1):
        judgements.append(judge(reference, stores, level=level))
        say(f"{'refused' if judgements[-1].fault else 'passed'} {reference} {judgements[-1].fault}".rstrip())
        progress.report(count / len(references))
    check(judgements)
    return {"report": json.dumps([judgement.to_json() for judgement in judgements])}


def _references(inputs: Inputs) -> Iterator[Reference]:
    """Yield the references of a JSON list of them, or of the outputs of the tasks that made them."""
    document = inputs.json("results")
    if not isinstance(document, list) or not document:
        raise inputs.error("results", "a JSON list of at least one reference")
    for entry in document:
        text = entry.get("reference") if isinstance(entry, dict) else entry
        if not isinstance(text, str) or not text:
            raise inputs.error("results", "a reference in each entry of the list: a conversion gave none")
        yield parse_place(text)
