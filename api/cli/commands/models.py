"""``klever models``."""

import click

from klever.api.cli import options, output
from klever.steps.artifact import StoredArtifact
from klever.steps.oci.reference import Reference
from klever.steps.stores import Stores


@click.command("models")
@click.argument("prefix", metavar="[REFERENCE_PREFIX]", default="")
@options.as_json
@options.connection
def command(prefix: str, as_json: bool, stores: Stores) -> None:
    """List the versions in this machine's store, or below a reference's prefix, with what is known of each.

    \b
    Example:
      klever models
      klever models --json harbor.example/vision/
    """
    from klever.steps.models import list_models

    place, repositories = parse_prefix(prefix)
    artifacts = list_models(place, repositories, stores)
    if as_json:
        output.print_json([_document(artifact) for artifact in artifacts])
        return
    rows = [_row(artifact) for artifact in artifacts]
    if not rows:
        found = f"no models below {output.visible(prefix)}" if prefix else "no models yet"
        click.echo(f"{found}; see klever publish --help", err=True)
        return
    output.print_table(("REFERENCE", "FORMAT", "SIZE", "CREATED", "SIGNATURE"), rows)


def parse_prefix(text: str) -> tuple[Reference, str]:
    """Split a prefix of references into the store that it means and the prefix of repository names."""
    if text.startswith("oci:"):
        directory, _, prefix = text[len("oci:") :].partition(":")
        return Reference("", "", layout=directory), prefix
    first, slash, rest = text.partition("/")
    if _is_host(first, slash):
        from klever.steps.oci.reference import parse_reference

        # A host alone is no reference; with a name behind it the grammar checks it.
        return Reference(parse_reference(f"{first}/x").host, ""), rest.rstrip("/") + ("/" if rest.endswith("/") else "")
    return Reference("", ""), text


def _is_host(first: str, slash: str) -> bool:
    """Say whether a prefix begins with a host; without a slash behind it, ``net:v1`` is a name and a tag."""
    if slash or first.startswith("["):
        return first == "localhost" or bool(set(first) & set(".:"))
    name, _, port = first.partition(":")
    return (name == "localhost" or "." in name) and (not port or port.isdigit())


def _document(artifact: StoredArtifact) -> dict[str, object]:
    metadata = artifact.metadata.to_json()
    return {
        "reference": _name(artifact),
        "digest": artifact.descriptor.digest,
        "format": metadata.get("format"),
        "framework": metadata.get("framework"),
        "size": artifact.manifest.layer.size,
        "created": metadata.get("created"),
        "signature": metadata.get("signature"),
    }


def _row(artifact: StoredArtifact) -> tuple[str, ...]:
    metadata = artifact.metadata
    signature = metadata.to_json().get("signature") or {}
    sides = [
        ", ".join(output.tensor_line(tensor) for tensor in tensors[:2]) + (", ..." if len(tensors) > 2 else "")
        for tensors in (signature.get("inputs") or [], signature.get("outputs") or [])
    ]
    return (
        _name(artifact),
        metadata.format,
        output.human_size(artifact.manifest.layer.size),
        metadata.created or "-",
        " -> ".join(side or "?" for side in sides) if any(sides) else "-",
    )


def _name(artifact: StoredArtifact) -> str:
    reference = artifact.reference
    return str(Reference(reference.host, reference.repository, reference.tag, None, reference.layout))
