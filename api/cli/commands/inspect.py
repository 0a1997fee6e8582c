"""``klever inspect``."""

from pathlib import Path
from typing import Any

import click

from klever.api.cli import options, output
from klever.api.cli.places import looked_for, path_or_reference
from klever.steps.inspect import Inspection, inspect_artifact, inspect_path
from klever.steps.stores import Stores


@click.command("inspect")
@click.argument("target", metavar="PATH_OR_REFERENCE")
@options.format_id
@click.option("--reread", is_flag=True, help="Read the layer also where the config holds a signature read from it.")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print an ormbfile.yaml for the model.")
@options.as_json
@options.connection
def command(target: str, format_id: str | None, reread: bool, as_yaml: bool, as_json: bool, stores: Stores) -> None:
    """Show a model's format, framework, size, signature and layers.

    A path wins over a reference of the same spelling. Nothing is loaded, executed or stored; of a remote artifact only
    what the signature needs is transferred.

    \b
    Example:
      klever inspect ./resnet.onnx
      klever inspect --json harbor.example/vision/resnet:v1
      klever inspect --yaml ./resnet.onnx > ormbfile.yaml
    """
    if as_yaml and as_json:
        raise click.UsageError("choose one of --yaml and --json")
    inspection = _inspect(target, format_id, reread, stores)
    if as_yaml:
        click.echo(inspection.metadata.to_yaml(), nl=False)
        output.print_notes(inspection.notes)
    elif as_json:
        output.print_json(inspection.to_json())
    else:
        _print(target, inspection.to_json())


def _inspect(target: str, format_id: str | None, reread: bool, stores: Stores) -> Inspection:
    place = path_or_reference(target)
    if isinstance(place, Path):
        return inspect_path(place, format_id=format_id)
    with looked_for(target, place):
        return inspect_artifact(place, stores, format_id=format_id, reread=reread)


def _print(target: str, document: dict[str, Any]) -> None:
    rows = [
        ("format", str(document["format"])),
        ("framework", str(document.get("framework", "-"))),
        ("size", output.human_size(document["size"])),
        *((name, str(document[name])) for name in ("author", "description", "created", "digest") if name in document),
    ]
    signature = document["signature"]
    for kind in ("inputs", "outputs"):
        tensors = signature[kind] or []
        lines = [output.tensor_line(tensor) for tensor in tensors] or ["unknown"]
        rows += [(kind if index == 0 else "", line) for index, line in enumerate(lines)]
    if signature["layers"]:
        rows.append(("layers", output.layers_line(signature["layers"], 12)))
    if certificate := document.get("certificate"):
        rows.append(("proof", f"{certificate['level']}, converted from {certificate['source']['format']}"))
    others = list(document.get("signatures", {}))
    if len(others) > 1:
        rows.append(("signatures", ", ".join(others)))
    rows += [(name, _plain(value)) for name, value in document.get("facts", {}).items()]
    click.echo(output.visible(str(document.get("reference", target))))
    width = max(len(label) for label, _ in rows) + 2
    for label, text in rows:
        click.echo(f"  {output.visible(label):<{width}}{output.visible(text)}")
    output.print_notes(document.get("notes", ()))


def _plain(value: object) -> str:
    if isinstance(value, dict) and all(type(item) is int for item in value.values()):
        return output.layers_line(value, 8)
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
