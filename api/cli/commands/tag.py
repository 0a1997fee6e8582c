"""``klever tag``."""

from dataclasses import replace

import click

from klever.api.cli import options, output
from klever.steps.stores import Stores


@click.command("tag")
@click.argument("reference")
@click.argument("targets", metavar="TAG_OR_REFERENCE...", nargs=-1, required=True)
@options.as_json
@options.connection
def command(reference: str, targets: tuple[str, ...], as_json: bool, stores: Stores) -> None:
    """Give the artifact at REFERENCE more tags, or another name in the same store.

    \b
    Example:
      klever tag vision/resnet:v1 stable
      klever tag vision/resnet:v1 vision/backbone:v1
    """
    from klever.steps.copy import copy
    from klever.steps.oci.reference import parse_reference, parse_tag

    source = parse_reference(reference)
    tagged = []
    for text in targets:
        bare = not set(text) & set("/:@")
        target = replace(source, tag=parse_tag(text), digest=None) if bare else parse_reference(text)
        if (target.host, target.layout) != (source.host, source.layout):
            raise click.UsageError(f"{text} is in another store; use klever copy")
        tagged.append({"reference": str(target), "digest": copy(source, target, stores).digest})
    if as_json:
        output.print_json(tagged)
        return
    for entry in tagged:
        click.echo(f"tagged {entry['reference']}\n{entry['digest']}")
