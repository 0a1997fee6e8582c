"""Keras 3 archives (``.keras``): recognition. A ZIP of ``metadata.json``, ``config.json`` and the weights."""

from typing import Final

from klever.steps.errors import KleverError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.interface import Claim, Evidence, Format, Reading, renamed
from klever.steps.model.signature import Signature

_SUFFIX: Final = ".keras"
_ZIP_SIGNATURE: Final = b"PK\x03\x04"
#: Where the name of the first member stands in a local file header, and what Keras writes first.
_NAME_OFFSET: Final = 30
_FIRST_MEMBERS: Final = (b"metadata.json", b"config.json")
_MEMBERS: Final = frozenset({"metadata.json", "config.json"})


class Keras(Format):
    """A Keras model in its own archive."""

    id = "Keras"
    framework = "Keras"
    needs = "one *.keras"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim ZIP archives at the top that hold both JSON files, by the archive's directory."""
        found: list[str] = []
        cut: list[str] = []
        for path in files.sizes:
            if "/" in path:
                continue
            head = files.head(path)
            if head.startswith(_ZIP_SIGNATURE):
                if path.endswith(_SUFFIX) or head.startswith(_FIRST_MEMBERS, _NAME_OFFSET):
                    whole = _holds_members(files, path)
                    if whole is None:
                        cut.append(path)
                    elif whole:
                        found.append(path)
            elif path.endswith(_SUFFIX) and _ZIP_SIGNATURE.startswith(head):
                cut.append(path)
        candidates = found or cut
        if not candidates:
            return None
        evidence = Evidence.CONTENT if found else Evidence.NAME
        return Claim.of_one(evidence, candidates, renamed(candidates[0], _SUFFIX, files.sizes))

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read ``config.json``; the weights are not touched."""
        from klever.steps.formats.keras.reader import read_model

        with opened(files, claim.files[0]) as source:
            return read_model(source, author)


def _holds_members(files: ModelFiles, path: str) -> bool | None:
    """Whether an archive holds what a model needs; None where its directory cannot be read."""
    from klever.steps.encodings.zip import ZipArchive

    try:
        with opened(files, path) as source:
            return ZipArchive(source).names.keys() >= _MEMBERS
    except KleverError:
        return None


FORMAT = Keras()
