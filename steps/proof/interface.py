"""What is proven, and what a proof finds: the values that `klever.steps.proof.prove` takes and gives."""

from dataclasses import dataclass
from typing import NamedTuple

from klever.steps.converters.interface import SourceModel
from klever.steps.model.certificate import Level, OutputError, Runtime, Tolerance
from klever.steps.model.signature import Tensor


class Subject(NamedTuple):
    """A model that is run: the source or the result."""

    format: str
    model: SourceModel


@dataclass(frozen=True)
class Evidence:
    """How far the proof came; the fields are those of `klever.steps.model.certificate.Certificate`."""

    level: Level
    seed: int | None = None
    #: The inputs as they were made: every size is known.
    inputs: tuple[Tensor, ...] = ()
    source_runtime: Runtime | None = None
    result_runtime: Runtime | None = None
    tolerance: Tolerance | None = None
    outputs: tuple[OutputError, ...] = ()
    #: Why a level was not reached and what would help, a sentence each: what `klever environments create` makes.
    notes: tuple[str, ...] = ()
