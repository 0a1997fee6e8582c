"""A model's metadata: ``ormbfile.yaml`` in a package, the config blob in an artifact; one document, two spellings.

    >>> Metadata.from_yaml("format: ONNX\\nauthor: Ada\\nreviewed-by: Grace\\n").to_json()
    {'format': 'ONNX', 'author': 'Ada', 'reviewed-by': 'Grace'}

Unknown fields survive a rewrite, at every depth; a null equals absence. The field types are those that the original
``ormb`` tool parses.
"""

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator

from klever.steps.errors import MetadataError
from klever.steps.model.certificate import Certificate
from klever.steps.model.signature import Document, NamedSignature, Signature, Text, first_fault
from klever.steps.model.strict import parse_json

#: What Go marshals for a time that was never set.
GO_ZERO_TIME = "0001-01-01T00:00:00Z"
#: A config blob larger than this is not read, in bytes. Registries limit manifests to 4 MiB; a config is alike.
MAX_CONFIG_BYTES = 8 << 20
#: As many values as an ormbfile.yaml may hold, which a config becomes when it is fetched.
MAX_CONFIG_NODES = 200_000


class NamedValue(Document):
    """One metric or hyper-parameter; both sides are text in ORMB."""

    name: Text
    value: Text


class GitSource(Document):
    """Where code or data came from."""

    repository: Text | None = None
    revision: Text | None = None
    description: Text | None = None


class Provenance(Document):
    """The ``training`` and ``dataset`` sections."""

    git: GitSource | None = None


class Metadata(Document):
    """Everything that travels with a model but its bytes. ``size`` is that of the packed model, in bytes."""

    format: Text
    framework: Text | None = None
    size: int | None = Field(default=None, ge=0)
    created: Text | None = None
    author: Text | None = None
    description: Text | None = None
    tags: tuple[Text, ...] | None = None
    labels: dict[str, Text] | None = None
    metrics: dict[str, tuple[NamedValue, ...]] | None = None
    hyper_parameters: tuple[NamedValue, ...] | None = Field(default=None, alias="hyperParameters")
    signature: Signature | None = None
    #: Every signature that a SavedModel declares, by its key; ``signature`` is the one that is served.
    signatures: dict[str, NamedSignature] | None = None
    #: What else the file tells of itself: opsets, a producer, a parameter count.
    facts: dict[str, Any] | None = None
    #: How a converted model was proven to compute what its source does.
    certificate: Certificate | None = None
    training: Provenance | None = None
    dataset: Provenance | None = None
    gpu_type: Text | None = Field(default=None, alias="gpuType")
    directory_structure: tuple[str, ...] | None = Field(default=None, alias="directoryStructure")

    @field_validator("created")
    @classmethod
    def _drop_zero_time(cls, value: str | None) -> str | None:
        return None if value == GO_ZERO_TIME else value

    @classmethod
    def from_yaml(cls, text: str | bytes, what: str = "ormbfile.yaml") -> Self:
        """Parse ``ormbfile.yaml``; raises `MetadataError` that begins with ``what``."""
        from klever.steps.model.document import parse_yaml

        return cls._from_document(parse_yaml(text, what), what)

    @classmethod
    def from_config(cls, data: bytes, what: str = "the config blob", *, format_id: str | None = None) -> Self:
        """Parse a config blob; raises `MetadataError` that begins with ``what``.

        ``format_id`` is the format of one that does not say any.
        """
        if len(data) > MAX_CONFIG_BYTES:
            raise MetadataError(f"{what} is larger than {MAX_CONFIG_BYTES >> 20} MiB")
        try:
            document = parse_json(data, max_nodes=MAX_CONFIG_NODES)
        except ValueError as error:
            raise MetadataError(f"{what} {error}") from None
        if format_id and isinstance(document, dict) and not document.get("format"):
            document["format"] = format_id
        return cls._from_document(document, what)

    @classmethod
    def _from_document(cls, document: object, what: str) -> Self:
        if not isinstance(document, Mapping):
            raise MetadataError(f"{what} is not a map of fields")
        if document.get("format") is None:
            raise MetadataError(f"{what} does not say the format", next_step="add a line such as 'format: ONNX'")
        try:
            return cls.model_validate(document)
        except (ValidationError, RecursionError) as error:
            raise MetadataError(f"{what}: {_first_fault(error)}") from None

    def to_config(self) -> bytes:
        """Return the config blob: JSON, UTF-8, one line; raises `MetadataError` where nobody could read it."""
        try:
            data = json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except ValueError as error:
            reason = "it is not UTF-8" if isinstance(error, UnicodeError) else str(error).lower()
            raise MetadataError(f"the metadata cannot be written as JSON: {reason}") from None
        self.from_config(data, "the metadata")
        return data

    def to_yaml(self) -> str:
        """Return ``ormbfile.yaml``; the fields that belong in the config alone are left out."""
        import yaml

        document = self.to_json()
        for name in ("size", "created", "directoryStructure"):
            document.pop(name, None)
        # libyaml's where PyYAML was built with it: ten times as fast, for signatures of ten thousand columns.
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        text: str = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110)
        return text

    def changed(self, **changes: Any) -> Self:
        """Return the same metadata with fields replaced."""
        return self.model_copy(update=changes)


def _first_fault(error: ValidationError | RecursionError) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else first_fault(error)
