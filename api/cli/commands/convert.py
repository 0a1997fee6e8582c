"""``klever convert``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from klever.api.cli import options, output
from klever.api.cli.memory import keep_freed_buffers
from klever.api.cli.places import looked_for, path_or_reference
from klever.api.cli.progress import fraction_bar
from klever.steps.converters.interface import Options
from klever.steps.model.certificate import Certificate, Level
from klever.steps.stores import Stores

if TYPE_CHECKING:
    from klever.steps.convert import Converted


@click.command("convert")
@click.argument("target", metavar="PATH_OR_REFERENCE")
@options.to(required=True)
@options.conversion
@click.option("--output", "directory", type=click.Path(path_type=Path), help="The directory to write a package to.")
@click.option("--as", "reference", metavar="REFERENCE", help="The reference to publish the result under.")
@click.option(
    "--require",
    "level",
    type=click.Choice([level.value for level in Level]),
    default=Level.EXECUTED.value,
    show_default=True,
    help="The proof without which nothing is kept: compared with the source in its own runtime, executed, or none.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the proof's inputs.")
@click.option("--create-environments", is_flag=True, help="Make the environments that the work needs.")
@click.option("--unsafe-publish-unverified", is_flag=True, help="Keep a result that differs or was not proven.")
@click.option("--again", is_flag=True, help="Convert also what was converted before.")
@click.option("--force", is_flag=True, help="Replace a directory that is there already.")
@options.format_id
@options.as_json
@options.connection
def command(
    target: str,
    to: str,
    conversion: Options,
    directory: Path | None,
    reference: str | None,
    create_environments: bool,
    force: bool,
    format_id: str | None,
    as_json: bool,
    stores: Stores,
    **demands: Any,
) -> None:
    """Convert a model to another format, prove that the result computes the same, and keep or publish it.

    The result is run on inputs made from a seed, and compared with the source where the source's own runtime is there;
    the certificate says what was done. Operators that no converter covers are all named before anything is written.
    What was converted before is found.

    \b
    Example:
      klever convert ./resnet-symbol.json --to ONNX --output ./resnet-onnx
      klever convert vision/ssd:v1 --to ONNX --as vision/ssd-onnx:v1 --require compared --create-environments
    """
    if (directory is None) == (reference is None):
        raise click.UsageError("say where the result goes: either --output DIRECTORY or --as REFERENCE")
    keep_freed_buffers()
    from klever.steps.conversions import Demands
    from klever.steps.convert import convert
    from klever.steps.oci.reference import parse_reference

    source = path_or_reference(target)
    destination = directory if directory is not None else parse_reference(reference or "")
    demanded = Demands(level=Level(demands.pop("level")), **demands)
    with fraction_bar() as report:

        def run() -> "Converted":
            return convert(
                source,
                to,
                destination,
                stores,
                options=conversion,
                demands=demanded,
                format_id=format_id,
                force=force,
                create_environments=create_environments,
                report=report,
            )

        if isinstance(source, Path):
            converted = run()
        else:
            with looked_for(target, source):
                converted = run()
    place = str(directory) if directory is not None else str(reference)
    if as_json:
        output.print_json(_document(converted, place))
    else:
        _print(converted, place)


def _document(converted: "Converted", place: str) -> dict[str, Any]:
    document = {**converted.metadata.to_json(), "found": converted.found}
    if converted.reference is None:
        document["directory"] = place
    else:
        document |= {"reference": place, "digest": converted.reference.digest}
    return document | ({"notes": list(converted.notes)} if converted.notes else {})


def _print(converted: "Converted", place: str) -> None:
    verb = "found" if converted.found else "converted"
    output.print_notes(converted.notes)
    click.echo(f"{verb} {place}  {converted.metadata.format}, {_proof(converted.certificate)}")
    if converted.reference is not None:
        click.echo(converted.reference.digest)


def _proof(certificate: Certificate) -> str:
    """Return in words how the result was proven."""
    if certificate.level is Level.NONE:
        return "not proven"
    runtime = certificate.result.runtime
    ran = f"executed in {runtime.name} {runtime.version}" if runtime else "executed"
    if certificate.level is Level.EXECUTED or certificate.source.runtime is None:
        return ran
    source = certificate.source.runtime
    errors = [output.largest_absolute for output in certificate.outputs if output.largest_absolute is not None]
    verdict = "agrees" if certificate.within_tolerance else "DIFFERS"
    return f"{ran}, {verdict} with {source.name} {source.version} to {max(errors, default=0.0):.2g}"
