"""Pickle: streams of Python's ``pickle`` and archives of ``torch.save``, which only the code that made them can load.

What unpickling would import is listed from the opcodes; nothing is executed. What does not belong here: pickles
whose content is a model of another format, such as scikit-learn's.
"""

from typing import Final

from klever.steps.encodings import magic
from klever.steps.errors import KleverError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.interface import Claim, Evidence, Format, Precedence, Reading
from klever.steps.model.signature import Signature

_SUFFIXES: Final = (".pkl", ".pickle", ".dill", ".pt", ".pth", ".bin", ".ckpt")


class Pickle(Format):
    """Pickles, by the opcodes that they start with."""

    id = "Pickle"
    framework = "Others"
    needs = "anything"
    precedence = Precedence.FALLBACK
    unreadable = "a pickle is code for the classes that wrote it, and tells no inputs or outputs"

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
        from klever.steps.formats.pickle.reader import describe_globals, read_globals

        notes: list[str] = []
        for path in claim.files:
            with opened(files, path) as source:
                notes += describe_globals(path, read_globals(source))
        return Reading(Signature(), notes=tuple(notes))


def _is_pickle(files: ModelFiles, path: str) -> bool:
    head = files.head(path)
    is_zip = head.startswith(magic.ZIP)
    # Protocols 0 and 1 have no magic number, and text may look like their opcodes: the name has to agree.
    may_be = is_zip or head.startswith(magic.PICKLE) or path.endswith(_SUFFIXES[:2])
    if not may_be or magic.begins_with_estimator(head):
        return False
    from klever.steps.formats.pickle.reader import holds_pickle, starts_like_pickle

    if not is_zip:
        return starts_like_pickle(head, whole=files.sizes[path] <= len(head))
    try:
        with opened(files, path) as source:
            return holds_pickle(source)
    except KleverError:
        return False


FORMAT = Pickle()
