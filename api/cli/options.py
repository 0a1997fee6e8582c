"""Options that several commands share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from klever.steps.stores import Stores

_Command = TypeVar("_Command", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
format_id = click.option("--format", "format_id", metavar="FORMAT", help="Settle the format, e.g. ONNX.")


def _host(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Take a registry as people write it, also as the address that a browser shows."""
    from klever.steps.errors import InvalidReferenceError
    from klever.steps.oci.reference import parse_reference

    text = re.sub(r"^https?://|/$", "", value)
    try:
        if parse_reference(f"{text}/x").host == text:
            return text
    except InvalidReferenceError:
        pass
    raise click.BadParameter(f"got {value!r}, expected HOST[:PORT] as references begin with it")


host = click.argument("host", callback=_host)


def connection(command: _Command) -> _Command:
    """Add the options of a connection; the command receives them as ``stores``."""

    def collect(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        stores = ctx.params.get("stores")
        if stores is None:
            stores = ctx.params["stores"] = Stores()
            ctx.call_on_close(stores.close)
        setattr(stores, str(parameter.name), value)
        return value

    for option in (
        click.option(
            "--plain-http",
            is_flag=True,
            envvar="KLEVER_PLAIN_HTTP",
            expose_value=False,
            callback=collect,
            help="Talk HTTP, not HTTPS, to the registry. [env: KLEVER_PLAIN_HTTP]",
        ),
        click.option(
            "--insecure",
            is_flag=True,
            envvar="KLEVER_INSECURE",
            expose_value=False,
            callback=collect,
            help="Do not verify the registry's certificate. [env: KLEVER_INSECURE]",
        ),
        click.option(
            "--ca-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            envvar="KLEVER_CA_FILE",
            expose_value=False,
            callback=collect,
            help="Trust the certificate authorities in this file. [env: KLEVER_CA_FILE]",
        ),
    ):
        command = option(command)
    return command
