"""Options that several commands share."""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from klever.steps.stores import Stores

_SHAPE: Final = re.compile(r"(-1|\d{1,9})(,(-1|\d{1,9}))*,?|", re.ASCII)
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


def _batch(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None or value == "dynamic":
        return None if value is None else -1
    if value.isascii() and value.isdigit() and int(value):
        return int(value)
    raise click.BadParameter(f"got {value!r}, expected a number above 0 or dynamic")


def _shapes(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for value in values:
        # A name may hold an equals sign of its own; sizes do not.
        name, equals, sizes = value.rpartition("=")
        if not equals or not name or not _SHAPE.fullmatch(sizes):
            raise click.BadParameter(f"got {value!r}, expected NAME=SIZE,SIZE,... with -1 for a dynamic size")
        shapes[name] = tuple(int(size) for size in sizes.split(",") if size)
    return shapes


def to(*, required: bool) -> Callable[[_Command], _Command]:
    """Return the option that names the format of a conversion's result."""
    return click.option("--to", required=required, metavar="FORMAT", help="The format to convert to, e.g. ONNX.")


def conversion(command: _Command) -> _Command:
    """Add the options of a conversion; the command receives, as ``conversion``, the `Options`."""
    from klever.steps.converters.interface import DEFAULT_OPSET, MAX_OPSET, MIN_OPSET, Options

    @wraps(command)
    def collected(
        *, opset: int, batch: int | None, shapes: dict[str, tuple[int, ...]], dtype: str | None, **rest: Any
    ) -> Any:
        return command(conversion=Options(opset=opset, batch=batch, shapes=shapes, dtype=dtype), **rest)

    for option in (
        click.option(
            "--dtype",
            type=click.Choice(["float16"]),
            help="Compute in half precision; inputs and outputs keep their types.",
        ),
        click.option(
            "--shape",
            "shapes",
            multiple=True,
            metavar="NAME=SIZES",
            callback=_shapes,
            help="The shape of an input, e.g. data=-1,3,224,224; repeatable.",
        ),
        click.option("--batch", metavar="N|dynamic", callback=_batch, help="The first size of every input."),
        click.option(
            "--opset",
            type=click.IntRange(MIN_OPSET, MAX_OPSET),
            default=DEFAULT_OPSET,
            show_default=True,
            help="The version of ONNX's operators.",
        ),
    ):
        collected = option(collected)
    return collected  # type: ignore[return-value]


def assignments(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return the values of a repeatable option NAME=VALUE as a mapping."""
    given: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"got {value!r}, expected NAME=VALUE")
        if name in given:
            raise click.BadParameter(f"{name} is given twice")
        given[name] = text
    return given


def parameters(about: str) -> Callable[[_Command], _Command]:
    """Return the option of a workflow's arguments; the command receives the mapping ``parameters``."""
    return click.option(
        "-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", callback=assignments, help=about
    )


def cluster(command: _Command) -> _Command:
    """Add the options that say which cluster is meant; the command receives ``namespace`` and ``context``."""
    for option in (
        click.option("--context", metavar="NAME", help="The context of the kubeconfig; the current one by default."),
        click.option(
            "-n",
            "--namespace",
            envvar="ARGO_NAMESPACE",
            metavar="NAME",
            help="The namespace on the cluster; that of the context by default. [env: ARGO_NAMESPACE]",
        ),
    ):
        command = option(command)
    return command


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
