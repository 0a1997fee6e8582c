"""As whom a command speaks to Harbor: options, environment, terminal, or the credentials that login kept.

What does not belong here: what it then asks.
"""

import os
import sys
from typing import Final

import click

from klever.steps.errors import PermanentError
from klever.steps.oci.credentials import Credentials, DockerCredentials

USERNAME_VARIABLE: Final = "KLEVER_HARBOR_USERNAME"
PASSWORD_VARIABLE: Final = "KLEVER_HARBOR_PASSWORD"  # noqa: S105 - a name


class NotLoggedInError(PermanentError):
    """Nothing says as whom Harbor is to be asked."""


def find_user(host: str, username: str | None, *, password_stdin: bool) -> Credentials | None:
    """Return who asks; None where nobody is named and nobody is logged in to ``host``."""
    username = username or os.environ.get(USERNAME_VARIABLE)
    if password_stdin:
        if not username:
            raise click.UsageError("give --username")
        return Credentials(username, sys.stdin.read().rstrip("\r\n"))
    if username and (password := os.environ.get(PASSWORD_VARIABLE)):
        return Credentials(username, password)
    kept = DockerCredentials.from_environment().find(host)
    if kept and kept.password and username in (None, kept.username):
        return kept
    if username and sys.stdin.isatty():
        return Credentials(username, click.prompt("Password", hide_input=True, err=True))
    if username:
        raise NotLoggedInError(
            f"there is no password for {username} at {host}",
            stage="login",
            next_step=f"klever login {host}, or give it with --password-stdin or in {PASSWORD_VARIABLE}",
        )
    return None


def require_user(host: str, username: str | None, *, password_stdin: bool) -> Credentials:
    """Do as `find_user`, and raise `NotLoggedInError` for nobody."""
    found = find_user(host, username, password_stdin=password_stdin)
    if found is None:
        raise NotLoggedInError(
            f"no credentials for {host}",
            stage="login",
            next_step=f"klever login {host}, or give --username with --password-stdin or {PASSWORD_VARIABLE}",
        )
    return found
