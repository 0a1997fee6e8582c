"""``klever-initializer``: lay a model out for the server that starts beside it.

It takes the place of ``ormb-storage-initializer`` of Klever 0.2, with its arguments, its flags and its variables. What
does not belong here: where which file lies (`klever.steps.serving`).
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from klever.api.cli import options, output
from klever.api.cli.run import run_command
from klever.steps.stores import Stores

if TYPE_CHECKING:
    from klever.steps.oci.credentials import Credentials

#: Names of user and password, the first pair that is there. Seldon's operator knows the second alone.
_VARIABLES: Final = (("ORMB_USERNAME", "ORMB_PASSWORD"), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
#: What the first argument of the old program may be.
_OLD_COMMAND: Final = "pull-and-export"


@click.command("klever-initializer", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("uri", metavar="REFERENCE")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--server", metavar="NAME", help="triton, mlserver or openscoring; by default what takes the format.")
@click.option("--name", metavar="NAME", help="The model's name; DIRECTORY is then the server's own.")
@click.option(
    "--relayout",
    type=click.BOOL,
    default=True,
    show_default=True,
    help="Lay the files out for a server; false leaves the package as it was published.",
)
@options.as_json
@options.connection
def command(
    uri: str,
    directory: Path,
    server: str | None,
    name: str | None,
    relayout: bool,
    as_json: bool,
    stores: Stores,
) -> None:
    """Pull REFERENCE, verified, and lay it out in DIRECTORY for its server.

    REFERENCE is that of an artifact, or oci+model://REFERENCE?server=NAME&name=NAME. Without a name DIRECTORY is the
    model's own and has its name. Run again, it finds its work done.

    Credentials are those of DOCKER_CONFIG, or ORMB_USERNAME and ORMB_PASSWORD, or AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY.

    \b
    Example:
      klever-initializer harbor.example/vision/resnet:v1 /mnt/resnet
      klever-initializer --server triton --name resnet harbor.example/vision/resnet:v1 /mnt/models
    """
    from dataclasses import replace

    from klever.api.cli.memory import keep_freed_buffers
    from klever.api.cli.progress import progress_lines
    from klever.steps.serving.uri import check_name, parse_model_uri

    keep_freed_buffers()
    stores.credentials = credentials_of(os.environ)
    parsed = parse_model_uri(uri)
    if not relayout:
        from klever.steps.fetch import fetch

        artifact = fetch(parsed.reference, directory, stores, force=True, watch=progress_lines)
        click.echo(f"fetched {artifact.reference} into {directory}")
        return
    from klever.steps.provision import provision

    parsed = replace(parsed, server=server or parsed.server, name=check_name(name) if name else parsed.name)
    done = provision(parsed, directory, stores, watch=progress_lines)
    if as_json:
        output.print_json(
            {
                "reference": str(done.artifact.reference),
                "digest": done.artifact.descriptor.digest,
                "format": done.artifact.metadata.format,
                "server": done.server.id,
                "name": done.name,
                "directory": str(done.directory),
                "notes": list(done.notes),
                "found": done.found,
            }
        )
        return
    what = "lies already" if done.found else "is laid out"
    click.echo(f"{done.artifact.reference} {what} in {done.directory} for {done.server.id}")
    output.print_notes(done.notes)


def credentials_of(environment: Mapping[str, str]) -> "Credentials | None":
    """Return what the old variables say; None where they say nothing."""
    from klever.steps.oci.credentials import Credentials

    for user, password in _VARIABLES:
        if environment.get(user) and environment.get(password):
            return Credentials(environment[user], environment[password])
    return None


def main() -> None:
    """Run ``klever-initializer`` with the process's arguments and exit with its code."""
    arguments = sys.argv[1:]
    if arguments[:1] == [_OLD_COMMAND]:
        arguments = arguments[1:]
    sys.exit(run_command(command, arguments, "klever-initializer"))
