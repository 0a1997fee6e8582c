"""``klever delete``."""

import click

from klever.api.cli import options, output
from klever.steps.errors import NotFoundError, at_stage
from klever.steps.stores import Stores


@click.command("delete")
@click.argument("references", metavar="REFERENCE...", nargs=-1, required=True)
@options.as_json
@options.connection
def command(references: tuple[str, ...], as_json: bool, stores: Stores) -> None:
    """Remove a tag, or with NAME@DIGEST the artifact and all its tags.

    Every reference names its tag or digest. The bytes stay until klever gc, in a registry until its own collection.

    \b
    Example:
      klever delete vision/resnet:v1
      klever delete vision/resnet@sha256:4f1c...
    """
    from klever.steps.artifact import no_such_artifact
    from klever.steps.oci.reference import parse_reference

    parsed = []
    for text in references:
        reference = parse_reference(text)
        if reference.digest is None and not text.endswith(f":{reference.tag}"):
            raise click.UsageError(f"{text} names no version; write {text}:TAG or {text}@DIGEST")
        parsed.append(reference)
    with at_stage("delete"):
        for text, reference in zip(references, parsed, strict=True):
            try:
                stores.open(reference).delete(reference.repository, reference.version)
            except NotFoundError as error:
                if reference.host:
                    raise
                raise no_such_artifact(reference) from error
            if not as_json:
                click.echo(f"deleted {text}")
    if as_json:
        output.print_json({"deleted": list(references)})
