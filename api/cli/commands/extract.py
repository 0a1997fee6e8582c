"""``klever extract``."""

import click

from klever.api.cli import options, output
from klever.api.cli.places import looked_for
from klever.api.cli.progress import progress_bar
from klever.steps.stores import Stores


@click.command("extract")
@click.argument("reference")
@options.format_id
@click.option("--repack", is_flag=True, help="Make a new layer without the ormbfile.yaml that another tool left in it.")
@options.as_json
@options.connection
def command(reference: str, format_id: str | None, repack: bool, as_json: bool, stores: Stores) -> None:
    """Read the signature of an artifact from its layer and write it into the artifact's config.

    The layer stays where it is: a new config and manifest are written, kilobytes, and the tag moves to them where it
    still points at what was read. Certificates stay attached. What carries its layer's signature is left alone.

    \b
    Example:
      klever extract harbor.example/vision/resnet:v1
      klever extract --repack --json oci:exported:resnet
    """
    from klever.steps.enrich import enrich
    from klever.steps.oci.reference import parse_reference

    parsed = parse_reference(reference)
    with looked_for(reference, parsed):
        enriched = enrich(parsed, stores, format_id=format_id, repack=repack, watch=progress_bar)
    document = {
        **enriched.metadata.to_json(),
        "reference": reference,
        "digest": enriched.descriptor.digest,
        "changed": enriched.changed,
        "moved": enriched.moved,
    }
    if as_json:
        output.print_json(document | ({"notes": list(enriched.notes)} if enriched.notes else {}))
        return
    output.print_notes(enriched.notes)
    verb = "extracted" if enriched.changed else "unchanged"
    click.echo(f"{verb} {reference}  {document['format']}")
    if line := output.signature_line(document.get("signature")):
        click.echo(f"  {line}")
    click.echo(enriched.descriptor.digest)
