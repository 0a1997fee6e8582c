"""Pickle: streams of Python's ``pickle`` and archives of ``torch.save``, which only the code that made them can load.

What unpickling would import is listed from the opcodes; nothing is executed. What does not belong here: pickles
whose content is a model of another format, such as scikit-learn's.
"""

from typing import TYPE_CHECKING, ClassVar, Final

from klever.steps.encodings import pickle as opcodes
from klever.steps.encodings import zip as ziparchive
from klever.steps.encodings.callables import Risk, describe, judge
from klever.steps.encodings.joblib import begins_with_estimator, read_joblib
from klever.steps.encodings.pytorch import Container, recognise
from klever.steps.encodings.stream import Stream
from klever.steps.errors import KleverError, MalformedModelError, ModelError, TruncatedModelError
from klever.steps.files import HEAD_BYTES, BytesSource, ModelFiles, opened
from klever.steps.formats.interface import Claim, Evidence, Format, Precedence, Reading
from klever.steps.model.signature import Signature

if TYPE_CHECKING:
    from klever.steps.files import Source

_SUFFIXES: Final = (".pkl", ".pickle", ".dill", ".pt", ".pth", ".bin", ".ckpt")
#: ``torch.save`` before 1.6 wrote pickles one after the other: magic number, version, system, value, storage keys.
_LEGACY: Final = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_HEADERS: Final = 3
_MAX_PICKLE_BYTES: Final = 64 << 20


class Pickle(Format):
    """Pickles, by the opcodes that they start with."""

    id: ClassVar[str] = "Pickle"
    framework: ClassVar[str] = "Others"
    needs: ClassVar[str] = "anything"
    precedence: ClassVar[Precedence] = Precedence.FALLBACK
    unreadable: ClassVar[str] = "a pickle is code for the classes that wrote it, and tells no inputs or outputs"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim a file that is a pickle or an archive around one, unless scikit-learn's names say whose it is."""
        found = [path for path in files.sizes if _is_pickle(files, path)]
        if found:
            return Claim(Evidence.CONTENT, files=tuple(found))
        named = [path for path in files.sizes if path.endswith(_SUFFIXES[:3])]
        return Claim(Evidence.NAME, files=tuple(named)) if named else None

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """List what loading would import, with what is known to be dangerous first."""
        del author
        notes: list[str] = []
        for path in claim.files:
            with opened(files, path) as source:
                notes += _describe(path, _read(source))
        return Reading(Signature(), notes=tuple(notes))


def _is_pickle(files: ModelFiles, path: str) -> bool:
    head = files.head(path)
    if head.startswith(ziparchive.SIGNATURE):
        try:
            with opened(files, path) as source:
                found = recognise(ziparchive.ZipArchive(source).names)
        except KleverError:
            return False
        return found is not None and found[0] is Container.PICKLE
    if begins_with_estimator(head):
        return False
    if head[:1] == b"\x80":
        return _starts_like_pickle(head, whole=files.sizes[path] <= len(head))
    # Protocols 0 and 1 have no magic number, and text may look like their opcodes: the name has to agree.
    return path.endswith(_SUFFIXES[:2]) and _starts_like_pickle(head, whole=files.sizes[path] <= len(head))


def _starts_like_pickle(head: bytes, *, whole: bool) -> bool:
    """Tell whether the head's opcodes are valid up to its end, or up to a STOP."""
    try:
        read_joblib(BytesSource(head))
    except TruncatedModelError:
        return not whole
    except ModelError:
        return False
    return True


def _read(source: "Source") -> tuple[opcodes.Global, ...]:
    """Return the globals that loading would import."""
    head = source.read_at(0, HEAD_BYTES)
    if head.startswith(ziparchive.SIGNATURE):
        archive = ziparchive.ZipArchive(source)
        found = recognise(archive.names)
        if found is None or found[0] is not Container.PICKLE:
            raise MalformedModelError("the file is a ZIP archive without a pickle of torch.save")
        data = archive.read(f"{found[1]}data.pkl", _MAX_PICKLE_BYTES)
        return opcodes.read_pickle(Stream(BytesSource(data))).globals
    if not head.startswith(_LEGACY):
        return read_joblib(source)[1]
    stream, budget = Stream(source), opcodes.Budget()
    for _ in range(_LEGACY_HEADERS):
        opcodes.read_pickle(stream, budget=budget)
    return opcodes.read_pickle(stream, budget=budget).globals


def _describe(path: str, named: tuple[opcodes.Global, ...]) -> list[str]:
    dangerous, unknown, known = (
        [one for one in named if judge(one) is risk] for risk in (Risk.DANGEROUS, Risk.UNKNOWN, Risk.KNOWN)
    )
    notes = []
    if dangerous:
        notes.append(f"DANGEROUS: loading {path} would import {describe(dangerous)}; do not load it")
    if unknown:
        notes.append(f"loading {path} would import {describe(unknown)}, of which nothing is known")
    if known:
        notes.append(f"loading {path} would import {describe(known)}, known to build values only")
    if not notes:
        notes.append(f"loading {path} would import nothing: it holds plain values")
    return notes


FORMAT = Pickle()
