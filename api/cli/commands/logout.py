"""``klever logout``."""

import click

from klever.api.cli import options
from klever.steps.errors import at_stage


@click.command("logout")
@options.host
def command(host: str) -> None:
    """Forget the credentials for the registry HOST.

    \b
    Example:
      klever logout harbor.example
    """
    from klever.steps.oci.credentials import erase_credentials

    with at_stage("logout"):
        found = erase_credentials(host)
    click.echo(f"logged out of {host}" if found else f"there were no credentials for {host}")
