"""``klever fetch``."""

from pathlib import Path

import click

from klever.api.cli import options, output
from klever.api.cli.memory import keep_freed_buffers
from klever.api.cli.progress import progress_bar
from klever.steps.stores import Stores


@click.command("fetch")
@click.argument("reference")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a directory that is there already.")
@options.as_json
@options.connection
def command(reference: str, directory: Path, force: bool, as_json: bool, stores: Stores) -> None:
    """Fetch REFERENCE into DIRECTORY as a package: ormbfile.yaml and model/.

    Everything is verified while it streams; the directory appears when it is whole.

    \b
    Example:
      klever fetch harbor.example/vision/resnet:v1 ./resnet
    """
    keep_freed_buffers()
    from klever.steps.fetch import fetch
    from klever.steps.oci.reference import parse_reference

    artifact = fetch(parse_reference(reference), directory, stores, force=force, watch=progress_bar)
    if as_json:
        output.print_json(
            {
                **artifact.metadata.to_json(),
                "reference": reference,
                "digest": artifact.descriptor.digest,
                "directory": str(directory),
            }
        )
        return
    click.echo(f"fetched {reference} into {directory}\n{artifact.descriptor.digest}")
