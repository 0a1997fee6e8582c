"""TorchScript: the archive that ``torch.jit.save`` writes, of PyTorch 1.0 to 2.x, mobile ones included.

Only recognition stands here; `reader` does the reading.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from klever.steps.encodings import magic
from klever.steps.errors import KleverError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.interface import Claim, Evidence, Format, Reading

if TYPE_CHECKING:
    from klever.steps.model.signature import Signature

_SUFFIXES: Final = (".pt", ".pt2", ".pth", ".ts", ".torchscript", ".ptl", ".jit")


class TorchScript(Format):
    """TorchScript archives, by the members of the ZIP."""

    id = "TorchScript"
    framework = "PyTorch"
    needs = "one *.pt"
    open_sizes = True

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim an archive that holds code, or by its name what PyTorch wrote otherwise, to say what it is."""
        scripts: list[str] = []
        others: list[str] = []
        for path in files.sizes:
            is_script = _is_script(files, path)
            if is_script:
                scripts.append(path)
            elif is_script is not None and path.endswith(_SUFFIXES):
                others.append(path)
        found, evidence = (scripts, Evidence.CONTENT) if scripts else (others, Evidence.NAME)
        if not found:
            return None
        rename = {} if found[0].endswith(".pt") else {found[0]: _renamed(found[0])}
        return Claim.of_one(evidence, found, rename)

    def read(self, files: ModelFiles, claim: Claim, author: "Signature | None") -> Reading:
        """Read arguments and results of ``forward`` from the code, and what example inputs and weights tell."""
        from klever.steps.formats.torchscript.names import spell_places
        from klever.steps.formats.torchscript.reader import read_archive

        with opened(files, claim.files[0]) as source:
            reading = read_archive(source, author)
        return replace(reading, signature=spell_places(reading.signature, author))


def _is_script(files: ModelFiles, path: str) -> bool | None:
    """Tell whether a file of PyTorch's is TorchScript; None where it is not PyTorch's."""
    head = files.head(path)
    if head.startswith(magic.LEGACY_TORCH):
        return False
    if not head.startswith(magic.ZIP):
        return None
    from klever.steps.encodings.zip import ZipArchive
    from klever.steps.frameworks.pytorch import Container, recognise

    try:
        with opened(files, path) as source:
            found = recognise(ZipArchive(source).names)
    except KleverError:
        # Cut short: its directory is lost, so that only the name speaks for one of PyTorch's.
        return False if path.endswith(_SUFFIXES) else None
    return found[0] is Container.SCRIPT if found else None


def _renamed(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    stem = name
    for suffix in _SUFFIXES:
        stem = stem.removesuffix(suffix)
    return f"{folder}{slash}{stem}.pt"


FORMAT = TorchScript()
