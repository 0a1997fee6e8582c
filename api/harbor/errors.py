"""What goes wrong between Harbor and us, told to a person.

What does not belong here: errors of the registry behind it (`klever.steps.errors`).
"""

from klever.steps.errors import PermanentError, TemporaryError


class MalformedEventError(PermanentError):
    """A payload is not what Harbor sends; it is answered with HTTP 400."""

    usual_step = "send what a Harbor webhook policy sends, in its Default or CloudEvents format"


class HarborUnavailableError(TemporaryError):
    """Harbor does not answer, or answers 429 or 5xx, after the retries."""

    usual_step = "check that Harbor runs and is reached from here, then try again"


class HarborUnauthorizedError(PermanentError):
    """Harbor does not accept the credentials, or they may not do this."""

    usual_step = "check the user and the password, and what a robot may do in this project"


class HarborNotFoundError(PermanentError):
    """There is no such project, repository, artifact, robot or policy."""


class HarborConflictError(PermanentError):
    """What was to be created exists already."""


class HarborRefusedError(PermanentError):
    """Harbor will not do this for another reason, or does not answer as Harbor does."""

    usual_step = "check the address, or ask Harbor's administrator"


class AnswerTooLongError(HarborRefusedError):
    """Harbor answers with more than is read at once."""
