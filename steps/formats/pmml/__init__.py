"""PMML: recognition by the root element. What its fields mean is in `reader`."""

import re
from typing import ClassVar, Final

from klever.steps.files import HEAD_BYTES, ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading
from klever.steps.model.signature import Signature

#: What may stand before the root element (XML 1.0, section 2.8), and how each ends.
_PROLOGUE: Final = (("<?", "?>"), ("<!--", "-->"))
_TAG: Final = re.compile(r"<([^\s<>/!?]+)")


class PMML(Format):
    """One XML document whose root element is ``PMML``, in whatever namespace prefix and encoding."""

    id = "PMML"
    framework = "PMML"
    needs = "exactly one *.pmml"
    suffix: ClassVar[str] = ".pmml"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim the documents in the model's own folder; another name than ``*.pmml`` is renamed."""
        return Claim.of_judged(files, _evidence, self.suffix)

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the fields of the model that a scorer would run; ``author`` adds nothing to them."""
        from klever.steps.formats.pmml.reader import read_document

        del author
        return read_document(files, claim.files[0])


def _evidence(files: ModelFiles, path: str) -> Evidence | None:
    """Judge one file: `Evidence.NAME` where its head ends before the root element."""
    named = path.lower().endswith(PMML.suffix)
    text = _decode(files.head(path))
    if text is None:
        return None
    root = _root_element(text)
    if root is None:
        cut = files.sizes[path] == 0 or text.lstrip()[:1] in ("", "<")
        return Evidence.NAME if named and cut else None
    return Evidence.CONTENT if root.rpartition(":")[2] == "PMML" else None


def _decode(head: bytes) -> str | None:
    """Decode enough to find the root element; None for bytes that begin no XML document.

    Encodings other than UTF-16 share ASCII, which is all that the names before the root are made of.
    """
    for signature, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"<\0", "utf-16-le")):
        if head.startswith(signature):
            return head[: len(head) // 2 * 2].decode(encoding, "replace")
    text = head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    return text if "\0" not in text else None


def _root_element(text: str) -> str | None:
    """Return the root element's qualified name, None where ``text`` ends before it or is no XML."""
    position = 0
    while True:
        position += len(text[position:]) - len(text[position:].lstrip())
        for start, end in _PROLOGUE:
            if text.startswith(start, position):
                position = text.find(end, position) + len(end)
                break
        else:
            if not text.startswith("<!DOCTYPE", position):
                break
            position = _after_doctype(text, position)
        if position < len("-->"):
            return None
    tag = _TAG.match(text, position)
    return tag[1] if tag and (tag.end() < len(text) or len(text) < HEAD_BYTES // 2) else None


def _after_doctype(text: str, position: int) -> int:
    """Return the position behind a document type declaration, 0 where it does not end."""
    subset = text.find("[", position)
    close = text.find(">", position)
    if 0 <= subset < close:
        close = text.find(">", text.find("]", subset)) if "]" in text[subset:] else -1
    return close + 1


FORMAT = PMML()
