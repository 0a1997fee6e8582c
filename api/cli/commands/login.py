"""``klever login``."""

import sys

import click

from klever.api.cli import options
from klever.steps.errors import at_stage
from klever.steps.stores import Stores


@click.command("login")
@options.host
@click.option("--username", "-u", help="The user; asked for on a terminal where it is not given.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@options.connection
def command(host: str, username: str | None, password_stdin: bool, stores: Stores) -> None:
    """Check credentials against the registry HOST and keep them as Docker does.

    They go to Docker's config.json or, where that names one, to its credential helper.

    \b
    Example:
      klever login harbor.example -u ada --password-stdin < password.txt
    """
    from klever.steps.oci.credentials import Credentials, save_credentials
    from klever.steps.oci.registry import check_login

    interactive = sys.stdin.isatty()
    if username is None:
        if password_stdin or not interactive:
            raise click.UsageError("give --username")
        username = click.prompt("Username", err=True)
    if password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    elif interactive:
        password = click.prompt("Password", hide_input=True, err=True)
    else:
        raise click.UsageError("give the password on standard input with --password-stdin")
    with at_stage("login"):
        check_login(
            host,
            username,
            password,
            plain_http=stores.plain_http,
            insecure=stores.insecure,
            ca_file=stores.ca_file,
        )
        save_credentials(host, Credentials(username, password))
    click.echo(f"logged in to {host} as {username}")
