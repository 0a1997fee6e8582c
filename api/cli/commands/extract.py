"""``klever extract``."""

from typing import TYPE_CHECKING

import click

from klever.api.cli import options, output
from klever.api.cli.places import looked_for
from klever.api.cli.progress import progress_bar
from klever.steps.stores import Stores

if TYPE_CHECKING:
    from klever.steps.model.signature import Tensor


def _tensors(_ctx: click.Context, parameter: click.Parameter, value: str | None) -> "tuple[Tensor, ...] | None":
    """Read a list of tensors as ormbfile.yaml writes them, in JSON."""
    if value is None:
        return None
    from klever.steps.errors import MetadataError
    from klever.steps.model.signature import parse_tensors

    try:
        return parse_tensors(value, str(parameter.name))
    except MetadataError as error:
        raise click.BadParameter(f"{error.cause}; {error.next_step}") from None


@click.command("extract")
@click.argument("reference")
@options.format_id
@click.option(
    "--as", "publish_as", metavar="REFERENCE", help="Publish the result under this, and leave the model's tag."
)
@click.option("--inputs", metavar="JSON", callback=_tensors, help="What you say of the inputs: a list of tensors.")
@click.option("--outputs", metavar="JSON", callback=_tensors, help="The same of the outputs.")
@click.option("--all-tags", is_flag=True, help="Move every tag of the repository that points at what was read.")
@click.option("--repack", is_flag=True, help="Make a new layer without the ormbfile.yaml that another tool left in it.")
@options.as_json
@options.connection
def command(
    reference: str,
    format_id: str | None,
    publish_as: str | None,
    inputs: "tuple[Tensor, ...] | None",
    outputs: "tuple[Tensor, ...] | None",
    all_tags: bool,
    repack: bool,
    as_json: bool,
    stores: Stores,
) -> None:
    """Read the signature of an artifact from its layer and write it into the artifact's config.

    The layer stays where it is: a new config and manifest are written, kilobytes, and the tag moves to them where it
    still points at what was read. Certificates stay attached. What carries its layer's signature is left alone. With
    --as the result goes elsewhere, with its layer where that is another repository. What --inputs and --outputs say
    fills what the files cannot tell, as an ormbfile.yaml does.

    \b
    Example:
      klever extract harbor.example/vision/resnet:v1
      klever extract --repack --json oci:exported:resnet
      klever extract vision/net:v1 --as vision/net:v1-read --inputs '[{"name": "x", "size": [-1, 3]}]'
    """
    from klever.steps.enrich import enrich
    from klever.steps.model.signature import Signature
    from klever.steps.oci.reference import parse_reference

    told = None if inputs is None and outputs is None else Signature(inputs=inputs, outputs=outputs)
    parsed = parse_reference(reference)
    with looked_for(reference, parsed):
        enriched = enrich(
            parsed,
            stores,
            format_id=format_id,
            told=told,
            repack=repack,
            publish_as=parse_reference(publish_as) if publish_as else None,
            all_tags=all_tags,
            watch=progress_bar,
        )
    place = publish_as or reference
    document = {
        **enriched.metadata.to_json(),
        "reference": place,
        "digest": enriched.descriptor.digest,
        "changed": enriched.changed,
        "moved": enriched.moved,
    }
    if as_json:
        output.print_json(document | ({"notes": list(enriched.notes)} if enriched.notes else {}))
        return
    output.print_notes(enriched.notes)
    verb = "extracted" if enriched.changed else "unchanged"
    click.echo(f"{verb} {place}  {document['format']}")
    if line := output.signature_line(document.get("signature")):
        click.echo(f"  {line}")
    click.echo(enriched.descriptor.digest)
