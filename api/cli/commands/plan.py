"""``klever plan``."""

from collections.abc import Sequence
from pathlib import Path

import click

from klever.api.cli import options, output
from klever.api.cli.places import looked_for, path_or_reference
from klever.steps.converters.interface import Options
from klever.steps.plan import Plan, plan, plan_artifact
from klever.steps.recognise import recognise
from klever.steps.stores import Stores


@click.command("plan")
@click.argument("target", metavar="PATH_OR_REFERENCE")
@options.conversion
@options.format_id
@options.as_json
@options.connection
def command(
    target: str, to: str, conversion: Options, format_id: str | None, as_json: bool, stores: Stores
) -> int | None:
    """Say how a model would be converted, what that needs, and what stands in its way; nothing is done.

    Exit code 1 where an operator is not covered or something has to be told first.

    \b
    Example:
      klever plan ./resnet-symbol.json --to ONNX
      klever plan --json harbor.example/vision/resnet:v1 --to ONNX --opset 21
    """
    planned = _plan(target, to, conversion, format_id, stores)
    if as_json:
        output.print_json(planned.to_json())
    else:
        _print(planned)
    return None if planned.is_feasible else 1


def _plan(target: str, to: str, conversion: Options, format_id: str | None, stores: Stores) -> Plan:
    place = path_or_reference(target)
    if isinstance(place, Path):
        return plan(recognise(place, format_id=format_id), to, conversion)
    with looked_for(target, place):
        return plan_artifact(place, stores, to, conversion, format_id=format_id)


def _print(plan: Plan) -> None:
    document = plan.to_json()
    for step in document["steps"]:
        place = "in process"
        if "environment" in step:
            place = f"in {step['environment']}" + ("" if step["environmentReady"] else ", which is not made yet")
        click.echo(f"{step['source']} -> {step['target']}  {step['exactness']}, {place}")
    for each in document["uncovered"]:
        reason = f": {each['reason']}" if each["reason"] else ""
        click.echo(
            output.visible(f"not covered: {each['operator']} {each['count']} x ({_some(each['nodes'])}){reason}")
        )
    for question in document["questions"]:
        click.echo(output.visible(f"to be told: {question['about']}; add {question['answer']}"))
    missing = sorted({step["environment"] for step in document["steps"] if not step.get("environmentReady", True)})
    if missing:
        click.echo(f"next: klever environments create {' '.join(missing)}")
    output.print_notes(document["notes"])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
