"""Keras 3 archives: from ``config.json`` to a signature."""

from collections.abc import Mapping
from typing import Any, Final

from klever.steps.encodings.zip import ZipArchive
from klever.steps.errors import MalformedModelError
from klever.steps.files import Source
from klever.steps.formats.interface import Reading
from klever.steps.frameworks.keras import interpret, parse_config
from klever.steps.frameworks.keras.document import MAX_CONFIG_BYTES
from klever.steps.model.signature import Signature

_CONFIG: Final = "config.json"
_METADATA: Final = "metadata.json"
_MAX_METADATA_BYTES: Final = 64 << 10


def read_model(source: Source, author: Signature | None) -> Reading:
    """Read the signature from ``config.json``; raises a `ModelError` where there is none that holds a model."""
    config, facts = read_configuration(ZipArchive(source))
    found = interpret(config, author)
    return Reading(found.signature, notes=found.notes, facts=facts)


def read_configuration(archive: ZipArchive) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Read ``config.json`` and who wrote the archive; raises as `read_model`."""
    data = archive.read(_CONFIG, MAX_CONFIG_BYTES)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise MalformedModelError(f"{_CONFIG} of the Keras archive is not UTF-8") from None
    return parse_config(text), _read_facts(archive)


def _read_facts(archive: ZipArchive) -> dict[str, str]:
    """Return the version of Keras that wrote the archive, if it says so."""
    if _METADATA not in archive.names:
        return {}
    metadata = parse_config(archive.read(_METADATA, _MAX_METADATA_BYTES).decode("utf-8", "replace"))
    version = metadata.get("keras_version")
    return {"keras_version": version} if isinstance(version, str) else {}
