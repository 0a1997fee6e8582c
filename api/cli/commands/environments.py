"""``klever environments``."""

import sys
from typing import Any

import click

from klever.api.cli import options, output
from klever.steps.environments.locate import directory_of, is_made, made_with, serves
from klever.steps.environments.table import ENVIRONMENTS, Environment, environment
from klever.workflows.templates.images import IMAGE_OF_ENVIRONMENT


@click.group("environments")
def command() -> None:
    """List, make or remove environments: Pythons of their own for what a framework has to do.

    Most conversions need none. They lie in KLEVER_ENVIRONMENTS, by default below KLEVER_HOME; pip installs what is
    pinned from where its own configuration says.

    \b
    Example:
      klever environments list
      klever environments create prove-mxnet
      klever environments delete prove-mxnet
    """


@command.command("list")
@options.as_json
def list_environments(as_json: bool) -> None:
    """List the environments that there are, and where each is on this machine.

    \b
    Example:
      klever environments list --json
    """
    documents = [_document(entry) for entry in ENVIRONMENTS.values()]
    if as_json:
        output.print_json(documents)
        return
    rows = [(entry["id"], entry["state"], " or ".join(entry["pythons"]), entry["purpose"]) for entry in documents]
    output.print_table(("ENVIRONMENT", "STATE", "PYTHON", "NEEDED TO"), rows)


@command.command("create")
@click.argument("environment_ids", metavar="ID...", nargs=-1, required=True)
@options.as_json
def create_environments(environment_ids: tuple[str, ...], as_json: bool) -> None:
    """Make environments on this machine, unless they are there already.

    A Python of the version that is needed has to be installed: on the PATH, by pyenv or uv, or named by a variable
    such as KLEVER_PYTHON_3_8.

    \b
    Example:
      klever environments create prove-mxnet prove-caffe2
    """
    from klever.steps.environments.create import create

    # All ids are looked up before the first download.
    wanted = [environment(name) for name in environment_ids]
    for entry in wanted:
        python = create(entry, _tell if sys.stderr.isatty() or not as_json else _tell_nobody)
        if not as_json:
            click.echo(f"{entry.id}: {python}")
    if as_json:
        output.print_json([_document(entry) for entry in wanted])


@command.command("delete")
@click.argument("environment_ids", metavar="ID...", nargs=-1, required=True)
@options.as_json
def delete_environments(environment_ids: tuple[str, ...], as_json: bool) -> None:
    """Remove environments from this machine, those that other versions of Klever made too.

    \b
    Example:
      klever environments delete prove-mxnet
    """
    from klever.steps.environments.create import delete

    removed = [path for name in environment_ids for path in delete(environment(name))]
    if as_json:
        output.print_json({"deleted": [str(path) for path in removed]})
        return
    for path in removed:
        click.echo(f"deleted {path}")
    if not removed:
        click.echo("there was nothing to delete", err=True)


def _document(entry: Environment) -> dict[str, Any]:
    directory = directory_of(entry)
    state = "running" if serves(entry) else "made" if is_made(directory) else "absent"
    return {
        "id": entry.id,
        "purpose": entry.purpose,
        "state": state,
        "directory": str(directory) if state == "made" else None,
        "python": made_with(directory) if state == "made" else None,
        "pythons": [f"{major}.{minor}" for major, minor in entry.pythons],
        "requirements": list(entry.requirements),
        "image": IMAGE_OF_ENVIRONMENT.get(entry.id),
    }


def _tell(done: float, doing: str) -> None:
    click.echo(f"{done:4.0%}  {output.visible(doing)}", err=True)


def _tell_nobody(_done: float, _doing: str) -> None:
    pass
