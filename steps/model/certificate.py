"""The certificate of a conversion: how it was shown that the result computes what the source does, and how closely.

It lies beside the converted model as ``certificate.json``, in its metadata, and in a store as a referrer.
"""

from enum import StrEnum
from typing import Any

from pydantic import Field, ValidationError

from klever.steps.errors import MetadataError
from klever.steps.model.signature import Document, Tensor, Text
from klever.steps.model.strict import parse_json


class Level(StrEnum):
    """What was done to prove a result; a higher one includes the lower."""

    #: Nothing was run.
    NONE = "none"
    #: The result runs on inputs of its signature.
    EXECUTED = "executed"
    #: Its outputs agree with those of the source in the source's own runtime.
    COMPARED = "compared"

    @property
    def rank(self) -> int:
        """The place in the order of levels, from 0."""
        return list(Level).index(self)


class Runtime(Document):
    """What ran a model."""

    name: Text
    version: Text


class Party(Document):
    """The source or the result: its format, the digest of its packed layer, and what ran it, if anything did."""

    format: Text
    digest: Text
    runtime: Runtime | None = None


class ConverterVersion(Document):
    """One converter of the path."""

    converter: Text
    version: Text


class Tolerance(Document):
    """An output agrees where ``|result - source| <= absolute + relative * |source|`` holds for each element.

    Where ``of_largest`` times the largest ``|source|`` of the output is more than ``absolute`` it takes its place: a
    sum of large numbers that cancel is no more precise than they are. Where ``of_spread`` times what lies between the
    largest and the smallest of them is less, that does: a thousand probabilities of about a thousandth each would
    otherwise agree with any others.
    """

    absolute: float
    relative: float
    of_largest: float | None = Field(default=None, alias="ofLargest")
    of_spread: float | None = Field(default=None, alias="ofSpread")


class OutputError(Document):
    """How far one output of the result is from that of the source; ``difference`` says what is no matter of numbers."""

    name: Text
    largest_absolute: float | None = Field(default=None, alias="largestAbsolute")
    largest_relative: float | None = Field(default=None, alias="largestRelative")
    within_tolerance: bool = Field(alias="withinTolerance")
    difference: Text | None = None


class Certificate(Document):
    """A proof, or what there is of it. ``inputs`` are those that the models ran on, made from ``seed``."""

    level: Level
    created: Text
    source: Party
    result: Party
    path: tuple[ConverterVersion, ...]
    options: dict[str, Any]
    seed: int | None = None
    inputs: tuple[Tensor, ...] = ()
    tolerance: Tolerance | None = None
    outputs: tuple[OutputError, ...] = ()
    notes: tuple[Text, ...] = ()

    @property
    def within_tolerance(self) -> bool:
        """Whether nothing that was compared differs."""
        return all(output.within_tolerance for output in self.outputs)


def parse_certificate(data: bytes) -> Certificate:
    """Parse a certificate as it hangs on an artifact; raises `MetadataError`."""
    try:
        return Certificate.model_validate(parse_json(data))
    except (ValueError, ValidationError, RecursionError):
        raise MetadataError("the certificate is not one that can be read") from None
