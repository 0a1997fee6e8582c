"""``klever plan``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from klever.api.cli import options, output
from klever.api.cli.places import looked_for, path_or_reference
from klever.steps.converters.interface import Options
from klever.steps.plan import Plan, plan, plan_artifact
from klever.steps.recognise import recognise
from klever.steps.stores import Stores

if TYPE_CHECKING:
    from klever.steps.serve import ServingPlan


@click.command("plan")
@click.argument("target", metavar="PATH_OR_REFERENCE")
@options.to(required=False)
@click.option("--serve", is_flag=True, help="Say how the model would be served instead.")
@click.option(
    "--on",
    "platform",
    metavar="PLATFORM",
    help="With --serve: local, kubernetes, seldon or kserve. [default: kubernetes]",
)
@click.option(
    "--server",
    metavar="NAME",
    help="With --serve: triton, mlserver or openscoring; by default the first that takes the model.",
)
@options.conversion
@options.format_id
@options.as_json
@options.connection
def command(
    target: str,
    to: str | None,
    serve: bool,
    platform: str | None,
    server: str | None,
    conversion: Options,
    format_id: str | None,
    as_json: bool,
    stores: Stores,
) -> int | None:
    """Say how a model would be converted or served, what that needs, and what stands in its way; nothing is done.

    Exit code 1 where an operator is not covered or something has to be told first.

    \b
    Example:
      klever plan ./resnet-symbol.json --to ONNX
      klever plan --json harbor.example/vision/resnet:v1 --to ONNX --opset 21
      klever plan vision/resnet:v1 --serve --on local
    """
    if serve == (to is not None):
        raise click.UsageError("give either --to FORMAT or --serve")
    if not serve and (platform or server):
        raise click.UsageError("--on and --server go with --serve")
    planned: Plan | ServingPlan
    if to is not None:
        planned = _plan(target, to, conversion, format_id, stores)
    else:
        planned = _plan_serving(target, platform or "kubernetes", server, conversion, format_id, stores)
    if as_json:
        output.print_json(planned.to_json())
    elif isinstance(planned, Plan):
        _print(planned)
    else:
        _print_serving(planned)
    return None if planned.is_feasible else 1


def _plan(target: str, to: str, conversion: Options, format_id: str | None, stores: Stores) -> Plan:
    place = path_or_reference(target)
    if isinstance(place, Path):
        return plan(recognise(place, format_id=format_id), to, conversion)
    with looked_for(target, place):
        return plan_artifact(place, stores, to, conversion, format_id=format_id)


def _plan_serving(
    target: str, platform: str, server: str | None, conversion: Options, format_id: str | None, stores: Stores
) -> "ServingPlan":
    from klever.steps.serve import plan_serving, plan_serving_artifact
    from klever.steps.serving.uri import usual_name

    place = path_or_reference(target)
    if isinstance(place, Path):
        model = recognise(place, format_id=format_id)
        return plan_serving(model, platform=platform, server=server, options=conversion)
    with looked_for(target, place):
        return plan_serving_artifact(
            place,
            stores,
            name=usual_name(place),
            platform=platform,
            server=server,
            options=conversion,
            format_id=format_id,
        )


def _print_serving(plan: "ServingPlan") -> None:
    click.echo(f"{plan.format} on {plan.platform}: {plan.server.id}")
    if plan.conversion is not None:
        _print(plan.conversion)
    resources = plan.resources.quantities
    click.echo(f"about {resources['cpu']} of a processor, {resources['memory']} of memory")
    for each in plan.lacks:
        click.echo(output.visible(f"missing: {each}"))
    output.print_notes(plan.notes)


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
