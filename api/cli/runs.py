"""How the end of a run looks: JSON for programs; outputs, or the causes of its failure, for people.

What does not belong here: how it looks while it goes on (`klever.api.cli.tree`).
"""

import shutil
import sys
from typing import Any

import click

from klever.api.cli.output import time_text, visible
from klever.api.cli.tree import draw, has_symbols, human_duration
from klever.steps.errors import TemporaryError
from klever.workflows.argo.reasons import explain_run, is_temporary
from klever.workflows.status import Node, Phase, Run

#: The longest output that is printed; the rest is in the JSON.
_LONGEST_OUTPUT = 500
#: The width of a tree that no terminal bounds.
_WIDE = 200


def exit_code(run: Run) -> int:
    """Return 0 for a run that succeeded, 75 for a failure of nothing but temporary causes, 1 for any other."""
    if not run.phase.is_failure:
        return 0
    return TemporaryError.exit_code if is_temporary(run) else 1


def run_document(run: Run) -> dict[str, Any]:
    """Return a run as JSON values."""
    document: dict[str, Any] = {
        "name": run.name,
        "namespace": run.namespace,
        "phase": run.phase.value,
        "message": run.message,
        "started": time_text(run.started),
        "finished": time_text(run.finished),
        "outputs": run.outputs,
        "nodes": [_node(node) for node in run.nodes.values()],
    }
    if run.phase.is_failure:
        document["failures"] = [
            {"node": name, "cause": reason.cause, "nextStep": reason.next_step, "temporary": reason.temporary}
            for name, reason in explain_run(run)
        ]
    return document


def _node(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.name,
        "displayName": node.display_name,
        "type": node.kind.value,
        "phase": node.phase.value,
        "message": node.message,
        "template": node.template,
        "boundary": node.boundary,
        "children": node.children,
        "inputs": node.inputs,
        "outputs": node.outputs,
        "result": node.result,
        "exitCode": node.exit_code,
        "progress": node.progress,
        "started": time_text(node.started),
        "finished": time_text(node.finished),
    }


def print_summary(run: Run) -> None:
    """Print a run as it is now: its tree, then its outputs or the causes of its failure."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
    for line, _ in draw(run, width, plain=not has_symbols(sys.stdout)):
        click.echo(line)
    if run.phase.is_failure:
        click.echo()
        _print_causes(run)
    elif run.outputs:
        click.echo()
        _print_outputs(run)


def print_end(run: Run, where: str) -> None:
    """Print the outputs of a run, or on standard error why it failed; ``where`` is the option that finds it again."""
    took = human_duration(run.started, run.finished)
    if not run.phase.is_failure:
        click.echo(f"{run.name} {run.phase.value}" + (f" in {took}" if run.phase is Phase.SUCCEEDED and took else ""))
        _print_outputs(run)
        return
    click.echo(f"klever: {visible(run.name)} failed" + (f" after {took}" if took else ""), err=True)
    _print_causes(run, indent="  ", err=True)
    click.echo(f"  logs: klever workflows logs {visible(run.name)} {where}", err=True)


def _print_causes(run: Run, *, indent: str = "", err: bool = False) -> None:
    for name, reason in explain_run(run):
        click.echo(f"{indent}{visible(name)}: {visible(reason.cause)}", err=err)
        if reason.next_step:
            click.echo(f"{indent}  next: {visible(reason.next_step)}", err=err)


def _print_outputs(run: Run) -> None:
    told = {name: value for name, value in run.outputs.items() if value}
    width = max(map(len, told), default=0)
    for name, value in told.items():
        shown = visible(value.strip())
        if len(shown) > _LONGEST_OUTPUT:
            shown = f"{shown[:_LONGEST_OUTPUT]}... ({len(value)} characters; --json has all)"
        click.echo(f"{name.ljust(width)}  {shown}")
