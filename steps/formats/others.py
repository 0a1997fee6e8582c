"""Others: any files at all, when the author says so; nothing is claimed and nothing is read."""

from typing import TYPE_CHECKING

from klever.steps.formats.interface import Claim, Format, Precedence, Reading
from klever.steps.model.signature import Signature

if TYPE_CHECKING:
    from klever.steps.files import ModelFiles


class Others(Format):
    """Files of no known format, kept as they are."""

    id = "Others"
    framework = "Others"
    needs = "anything"
    precedence = Precedence.FALLBACK
    unreadable = "no reader knows the format"

    def claim(self, files: "ModelFiles") -> Claim | None:
        """Claim nothing: that a model is of no format is for its author to say."""
        del files
        return None

    def read(self, files: "ModelFiles", claim: Claim, author: Signature | None) -> Reading:
        """Return an empty signature; what the author wrote is all there is."""
        del files, claim, author
        return Reading(Signature())


FORMAT = Others()
