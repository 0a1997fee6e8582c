"""Pickles and archives of ``torch.save``: the globals that loading would import, told in words.

What does not belong here: the opcodes (`encodings.pickle`), the judgement of names (`frameworks.callables`).
"""

from typing import TYPE_CHECKING, Final

from klever.steps.encodings import magic
from klever.steps.encodings import pickle as opcodes
from klever.steps.encodings.stream import Stream
from klever.steps.encodings.zip import ZipArchive
from klever.steps.errors import MalformedModelError, ModelError, TruncatedModelError
from klever.steps.files import HEAD_BYTES, BytesSource
from klever.steps.frameworks.callables import Risk, describe, judge
from klever.steps.frameworks.joblib import read_joblib
from klever.steps.frameworks.pytorch import Container, open_container, recognise

if TYPE_CHECKING:
    from klever.steps.files import Source

#: Before 1.6 ``torch.save`` wrote pickles in a row: magic number, protocol version, system, value, storage keys.
_LEGACY_HEADERS: Final = 3
_MAX_PICKLE_BYTES: Final = 64 << 20


def holds_pickle(source: "Source") -> bool:
    """Tell whether a ZIP archive is one of ``torch.save``; raises a `ModelError` where it is damaged."""
    found = recognise(ZipArchive(source).names)
    return found is not None and found[0] is Container.PICKLE


def starts_like_pickle(head: bytes, *, whole: bool) -> bool:
    """Tell whether the head's opcodes are valid up to its end, or up to a STOP."""
    try:
        read_joblib(BytesSource(head))
    except TruncatedModelError:
        return not whole
    except ModelError:
        return False
    return True


def read_globals(source: "Source") -> tuple[opcodes.Global, ...]:
    """Return the globals that loading a pickle or an archive of ``torch.save`` would import."""
    head = source.read_at(0, HEAD_BYTES)
    if head.startswith(magic.ZIP):
        archive = open_container(source)
        found = recognise(archive.names)
        if found is None or found[0] is not Container.PICKLE:
            raise MalformedModelError("the file is a ZIP archive without a pickle of torch.save")
        data = archive.read(f"{found[1]}data.pkl", _MAX_PICKLE_BYTES)
        return opcodes.read_pickle(Stream(BytesSource(data))).globals
    if not head.startswith(magic.LEGACY_TORCH):
        return read_joblib(source)[1]
    stream, budget = Stream(source), opcodes.Budget()
    for _ in range(_LEGACY_HEADERS):
        opcodes.read_pickle(stream, budget=budget)
    return opcodes.read_pickle(stream, budget=budget).globals


def describe_globals(path: str, named: tuple[opcodes.Global, ...]) -> list[str]:
    """Say what loading ``path`` would import, in a sentence for each degree of risk, the worst first."""
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
