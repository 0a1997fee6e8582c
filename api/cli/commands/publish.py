"""``klever publish``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from klever.api.cli import options, output
from klever.api.cli.memory import keep_freed_buffers
from klever.api.cli.progress import progress_bar
from klever.steps.stores import Stores


@click.command("publish")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("reference")
@options.format_id
@click.option("--framework", help="Override the framework of the format.")
@click.option("--author", help='Who made the model: "Ada <ada@example.com>".')
@click.option("--description", help="What the model does, in a sentence.")
@click.option("--tag", "tags", multiple=True, metavar="TEXT", help="A word to find the model by; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; repeatable.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="[GROUP.]NAME=VALUE",
    help="A metric, of training by default; repeatable.",
)
@click.option(
    "--hyper-parameter",
    "hyper_parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A hyper-parameter; repeatable.",
)
@click.option("--training-git", metavar="URL[@REVISION]", help="The repository that trained the model.")
@click.option("--dataset-git", metavar="URL[@REVISION]", help="The repository of the data.")
@click.option("--gpu-type", help="The GPU that the model is for.")
@options.as_json
@options.connection
def command(path: Path, reference: str, format_id: str | None, as_json: bool, stores: Stores, **flags: Any) -> None:
    """Recognise the model at PATH, read its signature, pack it and push it as REFERENCE.

    PATH is a model file, a directory with a model in it, or an ORMB package; for a single file, those beside it that
    belong to it come along. Flags add to what an ormbfile.yaml says.

    \b
    Example:
      klever publish ./resnet.onnx harbor.example/vision/resnet:v1 --author Ada --metric accuracy=0.93
    """
    keep_freed_buffers()
    from klever.steps.oci.reference import parse_reference
    from klever.steps.publish import publish

    published = publish(
        path,
        parse_reference(reference),
        stores,
        format_id=format_id,
        changes=_changes(flags),
        watch=progress_bar,
    )
    document = {**published.metadata.to_json(), "reference": reference, "digest": published.descriptor.digest}
    if as_json:
        output.print_json(document | ({"notes": list(published.notes)} if published.notes else {}))
        return
    output.print_notes(published.notes)
    click.echo(
        f"published {reference}  {document['format']}, {output.human_size(published.metadata.size)}\n"
        f"{published.descriptor.digest}"
    )


def _changes(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the flags that were given into fields of the metadata."""
    from klever.steps.model.metadata import NamedValue

    changes: dict[str, Any] = {
        name: flags[name] for name in ("framework", "author", "description", "gpu_type") if flags[name] is not None
    }
    if flags["tags"]:
        changes["tags"] = tuple(flags["tags"])
    if flags["labels"]:
        changes["labels"] = dict(_pairs("--label", flags["labels"]))
    if flags["hyper_parameters"]:
        pairs = _pairs("--hyper-parameter", flags["hyper_parameters"])
        changes["hyper_parameters"] = tuple(NamedValue(name=name, value=value) for name, value in pairs)
    if flags["metrics"]:
        groups: dict[str, tuple[NamedValue, ...]] = {}
        for name, value in _pairs("--metric", flags["metrics"]):
            group, dot, short = name.partition(".")
            group, short = (group, short) if dot else ("training", name)
            if not group or not short:
                raise click.BadParameter(f"got {name!r}, expected [GROUP.]NAME=VALUE", param_hint="--metric")
            groups[group] = (*groups.get(group, ()), NamedValue(name=short, value=value))
        changes["metrics"] = groups
    for name in ("training", "dataset"):
        if flags[f"{name}_git"]:
            changes[name] = _git(flags[f"{name}_git"])
    return changes


def _pairs(flag: str, values: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for value in values:
        name, equals, text = value.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"got {value!r}, expected NAME=VALUE", param_hint=flag)
        pairs.append((name, text))
    return pairs


def _git(text: str) -> Any:
    from klever.steps.model.metadata import GitSource, Provenance

    # An address may hold an @ of its own (git@host:path), so only one behind the last slash begins a revision.
    address, at, revision = text.rpartition("@")
    if not at or "/" in revision or ":" in revision:
        address, revision = text, ""
    return Provenance(git=GitSource(repository=address, revision=revision or None))
