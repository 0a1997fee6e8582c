"""What every converter provides: one `Converter` named ``CONVERTER`` in a module ``<source>_to_<target>``.

What does not belong here: a store, a registry, the network. A converter takes the files of one model and writes those
of another into an empty directory.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import ClassVar, Final

from klever.steps.errors import UnansweredError, UnsupportedOperatorsError, printable
from klever.steps.files import LocalFiles, ModelFiles
from klever.steps.formats.interface import Claim
from klever.steps.model.signature import Signature

#: Called with the part of the work that is done, from 0 to 1, and what is being done now.
Progress = Callable[[float, str], None]

MIN_OPSET, DEFAULT_OPSET, MAX_OPSET = 13, 17, 21
#: How many of an operator's nodes an error names; the error holds them all.
_SHOWN_NODES: Final = 5
#: The longest reason that an error tells whole, in characters.
_SHOWN_REASON: Final = 300


def no_progress(_done: float, _doing: str) -> None:
    """Report nothing."""


class Exactness(IntEnum):
    """How sure it is that a pair keeps the mathematics; the path finder prefers the higher."""

    #: A run of the model on example inputs is recorded; what depends on the data is lost.
    TRACED = 1
    #: A library rewrites the graph by patterns.
    REWRITTEN = 2
    #: Operator by operator, from the definitions of both formats.
    EXACT = 3


@dataclass(frozen=True)
class Options:
    """What a person may ask of a conversion; part of what names its result."""

    #: The version of ONNX's operators, from `MIN_OPSET` to `MAX_OPSET`.
    opset: int = DEFAULT_OPSET
    #: The first size of every input: a number, -1 for dynamic, None to keep what the source says.
    batch: int | None = None
    #: Input name to the shape that it is to have, in elements; -1 for a dynamic size.
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    #: ``float16`` to store weights and compute in half precision; inputs and outputs keep their types.
    dtype: str | None = None


@dataclass(frozen=True)
class Uncovered:
    """An operator or layer type that a converter cannot carry over, and every node that uses it."""

    operator: str
    nodes: tuple[str, ...]
    #: Why, where it is not the operator as such but an attribute of it: ``only for mode "constant"``.
    reason: str = ""


@dataclass(frozen=True)
class Question:
    """What the files do not tell and a converter has to know."""

    #: One sentence: ``the shape of input 'data' is not in the files``.
    about: str
    #: How to tell it on the command line: ``--shape data=1,3,224,224``.
    answer: str


@dataclass(frozen=True)
class Survey:
    """What stands between a model and its conversion; nothing does where all is empty."""

    uncovered: tuple[Uncovered, ...] = ()
    questions: tuple[Question, ...] = ()
    notes: tuple[str, ...] = ()
    #: The environment that this file needs, where that depends on the file; else it is `Converter.environment`.
    environment: str = ""


@dataclass(frozen=True)
class SourceModel:
    """The model to convert: its files, what its format claimed, and its signature.

    For `Converter.survey` the files may lie in a registry; for `Converter.convert` they are on the local disk.
    """

    files: ModelFiles
    claim: Claim
    #: What was read from the files, joined with what the author wrote.
    signature: Signature

    def path(self, name: str) -> Path:
        """Return where a file of the model lies on the disk; for `Converter.convert` only."""
        path = self.local_path(name)
        if path is None:
            raise TypeError("the files of this model are not on the local disk")
        return path

    def local_path(self, name: str) -> Path | None:
        """Return where a file of the model lies on the disk; None where it lies in a registry."""
        return self.files.paths[name] if isinstance(self.files, LocalFiles) else None


@dataclass(frozen=True)
class Conversion:
    """What a person or the proof should know about a finished conversion."""

    notes: tuple[str, ...] = ()
    #: Input name to the half-open range of values that make sense for it: the rows of an embedding, lengths.
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def check_survey(survey: Survey) -> None:
    """Raise `UnsupportedOperatorsError` or `UnansweredError` with all that a survey found in the way."""
    if survey.uncovered:
        operators: dict[str, tuple[str, ...]] = {}
        for each in survey.uncovered:
            operators[each.operator] = (*operators.get(each.operator, ()), *each.nodes)
        told = "; ".join(_told(each) for each in survey.uncovered)
        raise UnsupportedOperatorsError(f"no converter covers {told}", operators=operators)
    if survey.questions:
        raise UnansweredError(
            "; ".join(question.about for question in survey.questions),
            next_step="add " + " ".join(question.answer for question in survey.questions),
        )


def _told(each: Uncovered) -> str:
    """Return an operator with some of its nodes and the reason, for a sentence."""
    shown = ", ".join(map(printable, each.nodes[:_SHOWN_NODES])) + (", ..." if len(each.nodes) > _SHOWN_NODES else "")
    reason = f", {printable(each.reason, _SHOWN_REASON)}" if each.reason else ""
    return f"{printable(each.operator)} ({len(each.nodes)}: {shown}){reason}"


class Converter(ABC):
    """What turns models of one format into those of another; which two, says the table."""

    #: Raised by whoever changes what the converter writes; part of what names a result.
    version: ClassVar[str]
    #: The environment of `klever.steps.environments` that its program runs in; empty for this very process.
    environment: ClassVar[str] = ""

    @abstractmethod
    def survey(self, model: SourceModel, options: Options) -> Survey:
        """Say what the conversion lacks, from headers and graphs alone: in a tenth of a second, with no weights read.

        Imports neither numpy nor onnx nor a framework. Raises a `ModelError`.
        """

    @abstractmethod
    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Write the converted model into the empty ``directory``.

        Raises `UnsupportedOperatorsError` with all that `survey` finds before anything is written,
        `ConversionError` where the conversion itself fails, a `ModelError` for the source's bytes.
        """
