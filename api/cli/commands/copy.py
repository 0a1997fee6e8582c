"""``klever copy``."""

import click

from klever.api.cli import options, output
from klever.api.cli.memory import keep_freed_buffers
from klever.api.cli.progress import progress_bar
from klever.steps.stores import Stores


@click.command("copy")
@click.argument("source")
@click.argument("target")
@options.as_json
@options.connection
def command(source: str, target: str, as_json: bool, stores: Stores) -> None:
    """Copy SOURCE to TARGET between stores and registries, blobs untouched and digests kept.

    \b
    Example:
      klever copy vision/resnet:v1 harbor.example/vision/resnet:v1
      klever copy oci:./exported:resnet-v1 vision/resnet:v1
    """
    keep_freed_buffers()
    from klever.steps.copy import copy
    from klever.steps.oci.reference import parse_reference

    copied = copy(parse_reference(source), parse_reference(target), stores, watch=progress_bar)
    if as_json:
        output.print_json({"source": source, "reference": target, "digest": copied.digest})
        return
    click.echo(f"copied {source} to {target}\n{copied.digest}")
