"""``klever serving``."""

import time
from typing import TYPE_CHECKING, Any

import click

from klever.api.cli import options, output

if TYPE_CHECKING:
    from klever.api.serving.local.record import Place

_name = click.argument("name")
_POLL_SECONDS = 0.2


@click.group("serving")
def command() -> None:
    """List, show, stop or delete what is served on this machine.

    \b
    Example:
      klever serving list
      klever serving logs resnet --follow
      klever serving delete resnet
    """


@command.command("list")
@options.as_json
def list_servings(as_json: bool) -> None:
    """List what is served, by name.

    \b
    Example:
      klever serving list --json
    """
    from klever.api.serving.local import control

    documents = [_document(place) for place, _ in control.list_all()]
    if as_json:
        output.print_json(documents)
        return
    rows = [
        tuple(str(document[key]) for key in ("name", "state", "format", "server", "url", "reference"))
        for document in documents
    ]
    output.print_table(("NAME", "STATE", "FORMAT", "SERVER", "URL", "REFERENCE"), rows)


@command.command("get")
@_name
@options.as_json
def get_serving(name: str, as_json: bool) -> None:
    """Show how a serving stands.

    \b
    Example:
      klever serving get resnet
    """
    from klever.api.serving.local import control

    document = _document(control.find(name))
    if as_json:
        output.print_json(document)
        return
    for key, value in document.items():
        if value not in ("", {}, []):
            click.echo(output.visible(f"{key}: {value}"))


@command.command("logs")
@_name
@click.option("--follow", "-f", is_flag=True, help="Go on with what the server says from now on.")
@click.option("--tail", type=click.IntRange(0), metavar="LINES", help="The last lines only.")
def show_logs(name: str, follow: bool, tail: int | None) -> None:
    """Show what the server of a serving says.

    \b
    Example:
      klever serving logs resnet --tail 50 --follow
    """
    from klever.api.serving.local import control

    place = control.find(name)
    with place.log.open("rb") as log:
        lines = log.readlines()
        for line in lines[len(lines) - tail :] if tail is not None else lines:
            click.echo(line.rstrip(b"\n"))
        while follow:
            line = log.readline()
            if line:
                click.echo(line.rstrip(b"\n"))
            else:
                time.sleep(_POLL_SECONDS)


@command.command("start")
@_name
def start_serving(name: str) -> None:
    """Start a serving that was stopped, or that this machine's end has ended.

    \b
    Example:
      klever serving start resnet
    """
    from klever.api.serving.local import control

    place = control.find(name)
    control.start(place)
    click.echo(f"{name} is served at {control.wait_ready(place, 120).url}")


@command.command("stop")
@_name
def stop_serving(name: str) -> None:
    """End a serving's server and keep all else.

    \b
    Example:
      klever serving stop resnet
    """
    from klever.api.serving.local import control

    control.stop(control.find(name))
    click.echo(f"stopped {name}")


@command.command("delete")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def delete_servings(names: tuple[str, ...]) -> None:
    """End servings and remove all of them but the artifacts.

    \b
    Example:
      klever serving delete resnet mnist
    """
    from klever.api.serving.local import control

    for place in [control.find(name) for name in names]:
        control.delete(place)
        click.echo(f"deleted {place.name}")


def _document(place: "Place") -> dict[str, Any]:
    asked, standing = place.read_asked(), place.read_standing()
    return {
        "name": asked.name,
        "state": standing.state.value,
        "url": standing.url,
        "ports": dict(standing.ports),
        "format": asked.format,
        "server": asked.server,
        "reference": asked.reference,
        "served": asked.pinned,
        "created": asked.created,
        "restarts": standing.restarts,
        "message": standing.message,
    }
