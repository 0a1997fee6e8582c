"""TorchScript: the archive that ``torch.jit.save`` writes, of PyTorch 1.0 to 2.x, mobile ones included.

Only recognition stands here; `reader` does the reading.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from klever.steps.encodings import zip as ziparchive
from klever.steps.encodings.pytorch import Container, recognise
from klever.steps.errors import KleverError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.interface import Claim, Evidence, Format, Reading

if TYPE_CHECKING:
    from klever.steps.model.signature import Signature

_SUFFIXES = (".pt", ".pth", ".ts", ".torchscript", ".ptl", ".jit")
#: The first bytes of what ``torch.save`` wrote before 1.6: a pickle of protocol 2 whose value is a magic number.
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


class TorchScript(Format):
    """TorchScript archives, by the members of the ZIP."""

    id: ClassVar[str] = "TorchScript"
    framework: ClassVar[str] = "PyTorch"
    needs: ClassVar[str] = "one *.pt"
    open_sizes: ClassVar[bool] = True

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim an archive that holds code, or by its name what PyTorch wrote otherwise, to say what it is."""
        scripts: list[str] = []
        others: list[str] = []
        for path in files.sizes:
            kind = _container(files, path)
            if kind is Container.SCRIPT:
                scripts.append(path)
            elif kind is not None and path.endswith(_SUFFIXES):
                others.append(path)
        found, evidence = (scripts, Evidence.CONTENT) if scripts else (others, Evidence.NAME)
        if not found:
            return None
        competing = tuple(found) if len(found) > 1 else ()
        rename = {} if found[0].endswith(".pt") else {found[0]: _renamed(found[0])}
        return Claim(evidence, files=(found[0],), competing=competing, rename=rename)

    def read(self, files: ModelFiles, claim: Claim, author: "Signature | None") -> Reading:
        """Read arguments and results of ``forward`` from the code, and what example inputs and weights tell."""
        from klever.steps.formats.torchscript.names import spell_places
        from klever.steps.formats.torchscript.reader import read_archive

        with opened(files, claim.files[0]) as source:
            reading = read_archive(source, author)
        return replace(reading, signature=spell_places(reading.signature, author))


def _container(files: ModelFiles, path: str) -> Container | None:
    """Return which of PyTorch's containers a file is, by a ZIP's directory or the legacy magic number."""
    head = files.head(path)
    if head.startswith(_LEGACY):
        return Container.PICKLE
    if not head.startswith(ziparchive.SIGNATURE):
        return None
    try:
        with opened(files, path) as source:
            found = recognise(ziparchive.ZipArchive(source).names)
    except KleverError:
        # Cut short: its directory is lost, so that only the name speaks for one of PyTorch's.
        return Container.PICKLE if path.endswith(_SUFFIXES) else None
    return found[0] if found else None


def _renamed(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    stem = name
    for suffix in _SUFFIXES:
        stem = stem.removesuffix(suffix)
    return f"{folder}{slash}{stem}.pt"


FORMAT = TorchScript()
