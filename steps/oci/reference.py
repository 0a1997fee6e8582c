"""References: where an artifact is, parsed once into a type.

    >>> parse_reference("harbor.example:8443/release/mnist:v1").host
    'harbor.example:8443'
    >>> parse_reference("mnist")
    Reference(host='', repository='mnist', tag='latest', digest=None, layout=None)
    >>> parse_reference("oci:exported:release/mnist:v1").layout
    'exported'

The grammar is that of Docker's ``distribution/reference`` package, save that a name without a host means the
laptop's own store and not Docker Hub, and that ``oci:DIRECTORY[:NAME]`` is any OCI image layout, as skopeo writes it.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, Self

from klever.steps.errors import InvalidReferenceError, at_stage
from klever.steps.oci.descriptor import Digest, parse_digest

DEFAULT_TAG: Final = "latest"
#: Longest repository name with its host, in characters (``NameTotalLengthMax``).
MAX_NAME_LENGTH: Final = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII)
_LAYOUT = "oci:"
_FORM = "[HOST[:PORT]/]NAME[:TAG][@DIGEST]"


@dataclass(frozen=True)
class Reference:
    """One artifact's place: a host (empty for the laptop's store) or a layout directory, a repository, a version."""

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None
    #: The directory of an OCI image layout other than the laptop's store.
    layout: str | None = None

    def __str__(self) -> str:
        text = f"{_LAYOUT}{self.layout}" if self.layout is not None else ""
        name = f"{self.host}/{self.repository}" if self.host else self.repository
        name += (f":{self.tag}" if name else self.tag) if self.tag else ""
        text = f"{text}:{name}" if text and name else text + name
        return f"{text}@{self.digest}" if self.digest else text

    @property
    def version(self) -> str | Digest:
        """The digest where there is one, which decides, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    @property
    def new_tag(self) -> str | None:
        """The tag that writing here gives: ``latest`` where none is named; None where only a digest is."""
        return self.tag or (None if self.digest else DEFAULT_TAG)

    def check_destination(self) -> None:
        """Raise `InvalidReferenceError` where something cannot be published under this reference."""
        if self.digest:
            raise InvalidReferenceError(
                f"{self} names a digest, which follows from what is published",
                stage="push",
                next_step="publish under a tag: NAME:TAG",
            )

    def pinned(self, digest: Digest) -> Self:
        """Return this reference bound to ``digest``, which no later move of the tag changes."""
        return replace(self, digest=digest)


@at_stage("reference")
def parse_reference(text: str) -> Reference:
    """Parse a reference; raises `InvalidReferenceError` that says which part is wrong."""
    if text.startswith(_LAYOUT):
        return _parse_layout(text[len(_LAYOUT) :])
    name, digest = _split_digest(text)
    host, name = _split_host(name)
    name, colon, tag = name.partition(":")
    if colon:
        parse_tag(tag)
    reference = Reference(host, parse_repository(name), tag or (None if digest else DEFAULT_TAG), digest)
    if len(host) + 1 + len(name) > MAX_NAME_LENGTH:
        raise InvalidReferenceError(f"the name in {text[:60]!r}... is longer than {MAX_NAME_LENGTH} characters")
    return reference


def parse_tag(text: str) -> str:
    """Return ``text`` if it is a tag: a letter, digit or underscore, then up to 127 of those, dots and hyphens."""
    if not _TAG.fullmatch(text):
        raise InvalidReferenceError(
            f"{text[:140]!r} is not a tag: got other than letters, digits, '_', '.', '-' (128 at most)",
            next_step=f"write the reference as {_FORM}",
        )
    return text


def parse_repository(text: str) -> str:
    """Return ``text`` if it is a repository name: lower-case components joined by slashes."""
    if not _REPOSITORY.fullmatch(text) or len(text) > MAX_NAME_LENGTH:
        lower = text.lower()
        next_step = f"write the reference as {_FORM}"
        if lower != text and _REPOSITORY.fullmatch(lower):
            next_step = f"names are lower case: use {lower}"
        raise InvalidReferenceError(f"{text[:140]!r} is not a repository name", next_step=next_step)
    return text


def _split_digest(text: str) -> tuple[str, Digest | None]:
    name, at, digest = text.partition("@")
    return name, parse_digest(digest) if at else None


def _split_host(name: str) -> tuple[str, str]:
    """Take the first component for a host by Docker's rule: a dot, a colon, an upper-case letter or ``localhost``."""
    first, slash, rest = name.partition("/")
    if not slash or not (set(first) & set(".:") or first == "localhost" or first.lower() != first):
        return "", name
    match = _HOST.fullmatch(first)
    if not match or int(match["port"] or 1) not in range(1, 65536):
        raise InvalidReferenceError(f"{first[:140]!r} is not a host", next_step=f"write the reference as {_FORM}")
    return first, rest


def _parse_layout(rest: str) -> Reference:
    rest, digest = _split_digest(rest)
    directory, _, name = rest.partition(":")
    if not directory or "\0" in directory:
        raise InvalidReferenceError("an oci: reference names a directory", next_step="write oci:DIRECTORY[:NAME[:TAG]]")
    repository, colon, tag = name.rpartition(":")
    if colon:
        parse_repository(repository)
    if name:
        parse_tag(tag)
    return Reference("", repository, tag or None, digest, directory)
