"""What every format's module provides: one `Format` named ``FORMAT``."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Self

from klever.steps.files import ModelFiles
from klever.steps.model.signature import NamedSignature, Signature


class Evidence(IntEnum):
    """What a claim rests on; content outweighs a name."""

    NAME = 1
    CONTENT = 2


class Precedence(IntEnum):
    """What kind of claim a format makes; a higher one settles the matter."""

    #: Anything may be inside: Pickle. A better answer is always preferred.
    FALLBACK = 0
    FILE = 1
    #: The whole directory is the model, whatever other formats' files lie in it: MLflow.
    DIRECTORY = 2


@dataclass(frozen=True)
class Claim:
    """A format's statement that these files are a model of its own."""

    evidence: Evidence
    #: The paths that the reader and a server need, those that bear headers first. Other files travel along.
    files: tuple[str, ...]
    #: What the format also needs and is not there, in words: ``one *.prototxt``.
    missing: tuple[str, ...] = ()
    #: Files that compete for a place that only one can have (several ``*.onnx``), with the files of the others.
    competing: tuple[str, ...] = ()
    #: Path to the name that the package must give it, where an old client would not find it by its own.
    rename: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_one(cls, evidence: Evidence, candidates: Sequence[str], rename: Mapping[str, str] | None = None) -> Self:
        """Claim the first of ``candidates``, of which a model is exactly one file; the others compete with it."""
        first, *others = candidates
        return cls(evidence, (first,), competing=tuple(candidates) if others else (), rename=rename or {})

    @classmethod
    def of_judged(
        cls, files: ModelFiles, judge: Callable[[ModelFiles, str], Evidence | None], suffix: str
    ) -> Self | None:
        """Claim the one file at the model's root that ``judge`` finds evidence for; None where there is none.

        Proven files come before likely ones, and all of them compete. Another suffix than ``suffix`` is renamed.
        """
        judged = ((judge(files, path), path) for path in files.sizes if "/" not in path)
        found = sorted(((kind, path) for kind, path in judged if kind), key=lambda pair: -pair[0])
        if not found:
            return None
        strongest, first = found[0]
        return cls.of_one(strongest, [path for _, path in found], renamed(first, suffix, files.sizes))


def outermost(paths: Sequence[str]) -> list[str]:
    """Return the paths that lie nearest to the model's root."""
    depth = min((path.count("/") for path in paths), default=0)
    return [path for path in paths if path.count("/") == depth]


def renamed(path: str, suffix: str, taken: Container[str] = ()) -> dict[str, str]:
    """Return ``path`` with the name that ends in ``suffix`` in the place of its own suffix; nothing where it does.

    Where that name is ``taken`` by another file, the suffix is put behind the whole name.
    """
    if path.endswith(suffix):
        return {}
    folder, slash, name = path.rpartition("/")
    short = f"{folder}{slash}{name.rpartition('.')[0] or name}{suffix}"
    return {path: f"{path}{suffix}" if short in taken else short}


@dataclass(frozen=True)
class Reading:
    """What a reader learned from the files alone."""

    signature: Signature
    #: All signatures that the file declares, where there are more than one can be served (SavedModel).
    signatures: Mapping[str, NamedSignature] | None = None
    #: The framework, where the file tells another than the format's usual one (MLflow flavours).
    framework: str | None = None
    #: What could not be read and why, or what a user should know (a custom operator, code in a pickle).
    notes: tuple[str, ...] = ()
    #: Other facts of the file for the metadata, under names of their own (GGUF's architecture, a producer).
    facts: Mapping[str, Any] = field(default_factory=dict)


class Format(ABC):
    """One model format."""

    #: The name in ``ormbfile.yaml``.
    id: ClassVar[str]
    #: The framework that ``ormbfile.yaml`` names beside it.
    framework: ClassVar[str]
    #: What the package must hold, in words, for help texts and the README's table.
    needs: ClassVar[str]
    #: Why a signature cannot be read; empty where it can.
    unreadable: ClassVar[str] = ""
    #: How claims of the same evidence are weighed against those of other formats.
    precedence: ClassVar[Precedence] = Precedence.FILE
    #: Whether a size of -1 means "the file does not tell", which the author may fill, and not "any size".
    open_sizes: ClassVar[bool] = False

    @abstractmethod
    def claim(self, files: ModelFiles) -> Claim | None:
        """Say whether ``files`` hold a model of this format, from `ModelFiles.head` and the names; None if not.

        Cheap: no more than the heads is read, save where the magic stands elsewhere (a ZIP's directory). Never
        raises for the content of the files.
        """

    def companions(self, name: str, siblings: frozenset[str]) -> tuple[str, ...]:
        """Return which of ``siblings`` belong to the bare model file ``name`` in the same directory.

        The names of directories end in a slash; one that is returned belongs to the model with all that is in it.
        """
        del name, siblings
        return ()

    @abstractmethod
    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the signature.

        ``author`` is what a person wrote by hand: input shapes in it may be used to infer those of outputs, where
        the files do not tell. Raises a `ModelError` and nothing else.
        """
