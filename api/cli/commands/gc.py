"""``klever gc``."""

import re
from dataclasses import asdict
from pathlib import Path

import click

from klever.api.cli import options, output
from klever.steps.errors import CorruptBlobError, at_stage
from klever.steps.stores import STORE_FOLDER, home_directory

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(_ctx: click.Context, _parameter: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"(\d+)([smhd]?)", value)
    if not match:
        raise click.BadParameter("got no age such as 30m, 12h or 7d")
    return int(match[1]) * _UNITS[match[2] or "s"]


@click.command("gc")
@click.argument("layout", metavar="[DIRECTORY]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--older-than",
    callback=_seconds,
    default="1h",
    show_default=True,
    help="Keep what was written since: 30m, 12h, 7d.",
)
@click.option("--check", is_flag=True, help="Remove nothing; verify every digest in the store and name what is wrong.")
@options.as_json
def command(layout: Path | None, older_than: float, check: bool, as_json: bool) -> None:
    """Free the blobs that nothing refers to, in this machine's store or in the layout DIRECTORY.

    \b
    Example:
      klever gc
      klever gc --check
    """
    from klever.steps.oci.layout import LayoutStore

    store = LayoutStore(layout or home_directory() / STORE_FOLDER)
    if layout is None and not store.directory.exists():
        # The first publication makes it.
        _tell_empty(check, as_json)
        return
    if check:
        with at_stage("check"):
            faults = list(store.check())
        if as_json:
            output.print_json({"faults": [str(fault) for fault in faults]})
        for fault in faults if not as_json else ():
            click.echo(str(fault), err=True)
        if faults:
            raise CorruptBlobError(
                f"{len(faults)} faults in {store.directory}",
                stage="check",
                next_step="fetch or publish these again",
            )
        if not as_json:
            click.echo("every blob matches its digest")
        return
    with at_stage("gc"):
        collected = store.gc(older_than=older_than)
    if as_json:
        output.print_json(asdict(collected))
        return
    click.echo(f"removed {collected.blobs} blobs and {collected.files} leftovers: {output.human_size(collected.bytes)}")


def _tell_empty(check: bool, as_json: bool) -> None:
    if as_json:
        output.print_json({"faults": []} if check else {"blobs": 0, "files": 0, "bytes": 0})
    else:
        click.echo("there is nothing in this machine's store yet")
