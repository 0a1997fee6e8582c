"""Every error that Klever raises on purpose, and what its type promises.

    KleverError
    ├── PermanentError          trying again cannot help; exit code 1
    │   ├── ModelError          the model's own bytes or files
    │   │   ├── UnrecognisedFormatError
    │   │   ├── AmbiguousFormatError
    │   │   ├── MissingFilesError
    │   │   ├── MalformedModelError
    │   │   │   └── TruncatedModelError
    │   │   ├── UnsafeModelError
    │   │   ├── LimitExceededError
    │   │   └── UnsupportedOperatorsError   no converter carries them over
    │   ├── ConversionError     a conversion that fails or that nothing can make
    │   │   ├── NoPathError     no chain of converters leads there
    │   │   ├── UnansweredError the files do not tell what a converter has to know
    │   │   └── UnprovenError   the result differs from the source, or that it does not could not be shown
    │   ├── ServingError        a server or platform cannot serve this model as it is
    │   ├── EnvironmentMissingError
    │   ├── MetadataError       ormbfile.yaml or a config blob
    │   ├── InvalidReferenceError
    │   ├── ArchiveError        a layer that must not be unpacked
    │   ├── ManifestError       a manifest that is not an ORMB artifact's
    │   ├── CorruptBlobError    stored bytes that do not match their digest
    │   ├── NotFoundError
    │   ├── AlreadyExistsError
    │   ├── StorageDeniedError  no permission, or not the kind of file it has to be
    │   ├── UnauthorizedError
    │   └── RegistryRefusedError
    └── TemporaryError          the same call may succeed later; exit code 75 (EX_TEMPFAIL of sysexits.h)
        ├── RegistryUnavailableError
        ├── TransferError       a blob cut short or altered on its way
        └── StorageError        disk full, read-only, busy

What does not belong here: an error with a meaning for one module alone; that one derives from these beside it.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar


class KleverError(Exception):
    """A failure told to a person: what was being done, why it failed, what to do next.

    ``cause`` is one clear sentence without the stage. ``stage`` (``recognise``, ``read``, ``pack``, ``push``,
    ``pull``, ``unpack``, ...) may be left to a verb, which sets it by `at_stage` where none is set.
    """

    exit_code: ClassVar[int] = 1
    temporary: ClassVar[bool] = False
    #: The next step where the one who raises knows none that is closer to the case.
    usual_step: ClassVar[str] = ""

    def __init__(self, cause: str, *, stage: str = "", next_step: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.stage = stage
        self.next_step = next_step or self.usual_step

    def __str__(self) -> str:
        return f"{self.stage}: {self.cause}" if self.stage else self.cause


class PermanentError(KleverError):
    """Trying again cannot help: the input or the request has to change."""


class TemporaryError(KleverError):
    """The same call may succeed later."""

    exit_code = 75
    temporary = True


class ModelError(PermanentError):
    """The model's files cannot be used as they are."""


class UnrecognisedFormatError(ModelError):
    """No format claims these files."""


class AmbiguousFormatError(ModelError):
    """Several formats or files claim to be the model; ``candidates`` lists them."""

    def __init__(self, cause: str, *, candidates: tuple[str, ...], stage: str = "", next_step: str = "") -> None:
        super().__init__(cause, stage=stage, next_step=next_step)
        self.candidates = candidates


class MissingFilesError(ModelError):
    """The format is clear, but files that it needs are not there; ``missing`` names them."""

    def __init__(self, cause: str, *, missing: tuple[str, ...], stage: str = "", next_step: str = "") -> None:
        super().__init__(cause, stage=stage, next_step=next_step)
        self.missing = missing


class MalformedModelError(ModelError):
    """The bytes break the format's definition."""

    usual_step = "check that the file is whole, or save the model again with its framework"


class TruncatedModelError(MalformedModelError):
    """The bytes end before the format's definition allows."""

    usual_step = "get the whole file again"


class UnsafeModelError(ModelError):
    """The file asks for something that reading must never do: run code, leave its directory, expand entities."""

    usual_step = "do not load it, and ask whoever made it"


class LimitExceededError(ModelError):
    """The file is larger, deeper or more repetitive than any real model; a defence, not a judgement of size."""

    usual_step = "check that this is the file that you mean"


class UnsupportedOperatorsError(ModelError):
    """No converter carries these operators over; ``operators`` maps each to the names of its nodes."""

    usual_step = "convert to a format that has them, or ask for these operators"

    def __init__(
        self, cause: str, *, operators: Mapping[str, tuple[str, ...]], stage: str = "", next_step: str = ""
    ) -> None:
        super().__init__(cause, stage=stage, next_step=next_step)
        self.operators = operators


class ConversionError(PermanentError):
    """The conversion itself fails, or what it made is no valid model."""

    usual_step = "report the model's operators and this message"


class NoPathError(ConversionError):
    """No chain of converters leads from the one format to the other."""

    usual_step = "choose another target; klever plan lists what the source can become"


class UnansweredError(ConversionError):
    """The files do not tell what a converter has to know; ``next_step`` is how to tell it."""

    usual_step = "tell it by the option that klever plan names"


class UnprovenError(ConversionError):
    """The result differs from the source beyond the tolerance, or the level of proof that was asked was not reached."""

    usual_step = "do not use the result; --unsafe-publish-unverified publishes it all the same"


class ServingError(PermanentError):
    """A server or platform cannot serve this model as it is."""

    usual_step = "see klever plan --serve"


class EnvironmentMissingError(PermanentError):
    """A part of the work needs an environment of its own that is not there."""

    usual_step = "see klever environments list"


class MetadataError(PermanentError):
    """An ormbfile.yaml or config blob does not say what it has to."""

    usual_step = "correct it, or ask whoever wrote it"


class InvalidReferenceError(PermanentError):
    """The text is not a reference, digest, tag or repository name."""

    usual_step = "write the reference as [HOST[:PORT]/]NAME[:TAG][@DIGEST]"


class ArchiveError(PermanentError):
    """A layer breaks the rules of an artifact's archive; nothing of it was published."""

    usual_step = "do not use this artifact, and ask whoever published it"


class ManifestError(PermanentError):
    """A manifest is not that of an ORMB artifact, or contradicts itself."""

    usual_step = "check the reference, or ask whoever published it"


class CorruptBlobError(PermanentError):
    """Bytes at rest in a store do not match their digest."""

    usual_step = "publish or copy the artifact there again"


class NotFoundError(PermanentError):
    """The store answers that there is no such tag, manifest, blob or repository."""

    usual_step = "check the name; klever models lists what a store holds"


class AlreadyExistsError(PermanentError):
    """The target exists and would have to be overwritten."""

    usual_step = "choose another place"


class StorageDeniedError(PermanentError):
    """The local disk will refuse this again: no permission, no directory, a name too long."""

    usual_step = "correct the path or its permissions, then try again"


class UnauthorizedError(PermanentError):
    """The registry wants other credentials, or forbids this to these."""

    usual_step = "log in with klever login"


class RegistryRefusedError(PermanentError):
    """The registry answers that it will not do this, for a reason other than credentials or absence."""

    usual_step = "check the address, or ask the registry's operator"


class RegistryUnavailableError(TemporaryError):
    """The registry cannot be reached or answers 429 or 5xx, after the retries."""

    usual_step = "try again later"


class TransferError(TemporaryError):
    """A blob arrived short or with another digest, after the retries; nothing of it was published."""

    usual_step = "try again"


class StorageError(TemporaryError):
    """The local disk refuses for now: full, read-only, or failing."""

    usual_step = "make room on the disk, then try again"


#: What no waiting changes: the path or its permissions have to.
_LASTING = frozenset({
    errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL
})  # fmt: skip


def storage_error(doing: str, error: OSError) -> StorageError | StorageDeniedError:
    """Return the error for what the operating system refused, permanent or temporary by its number."""
    kind = StorageDeniedError if error.errno in _LASTING else StorageError
    return kind(f"{doing}: {error.strerror or error}")


def printable(text: str, limit: int = 100) -> str:
    """Return text from outside as it may stand in a sentence unquoted: on one line, of bounded length."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:limit])
    return shown if len(text) <= limit else f"{shown}..."


@contextmanager
def at_stage(stage: str) -> Iterator[None]:
    """Name the stage of a `KleverError` that leaves the block without one."""
    try:
        yield
    except KleverError as error:
        error.stage = error.stage or stage
        raise
