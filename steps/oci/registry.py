"""A registry as a store: the OCI distribution API 1.1 over HTTPS.

    with RegistryStore("harbor.example") as store:
        manifest = store.get_manifest("release/mnist", "v1")

What does not belong here: how requests travel (`klever.steps.oci.session`, `klever.steps.oci.http`), how blobs do
(`klever.steps.oci.download`, `klever.steps.oci.upload`), and what an artifact is.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

from klever.steps.errors import (
    InvalidReferenceError,
    KleverError,
    ManifestError,
    NotFoundError,
    RegistryRefusedError,
    UnauthorizedError,
)
from klever.steps.files import Source
from klever.steps.oci import media
from klever.steps.oci.auth import CATALOG_SCOPE, Authorizer, Find, repository_scope
from klever.steps.oci.credentials import Credentials, DockerCredentials
from klever.steps.oci.descriptor import Descriptor, Digest, digest_of, parse_digest
from klever.steps.oci.download import Download, open_source
from klever.steps.oci.http import Retry, Timeouts, Transport, read_capped, release
from klever.steps.oci.manifest import (
    MAX_MANIFEST_BYTES,
    annotations_of,
    check_media_type,
    is_index,
    load_document,
    subject_of,
)
from klever.steps.oci.reference import parse_repository, parse_tag
from klever.steps.oci.session import Access, Session, clean_text
from klever.steps.oci.store import Progress, StoredManifest, no_progress
from klever.steps.oci.trust import Origin, follow
from klever.steps.oci.upload import Upload, cancel

#: Docker Hub answers the API under another name than the one in references.
_ENDPOINTS: Final = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
_MANIFESTS: Final = (media.MANIFEST, media.INDEX, media.DOCKER_MANIFEST, media.DOCKER_INDEX)
_MAX_PAGE_BYTES: Final = 16 << 20
_PAGE: Final = 1000
#: Pages of a listing; a registry that links on for ever is not followed for ever.
_MAX_PAGES: Final = 10_000
_NEXT: Final = re.compile(r'<([^<>\s]{1,8192})>\s*;[^,<]*?\brel\s*=\s*"?next"?', re.ASCII | re.IGNORECASE)
#: The tag under which referrers are listed where a registry has no API for them ("Referrers Tag Schema").
_REFERRERS_TAG: Final = re.compile(r"(?:sha256-[0-9a-f]{64}|sha512-[0-9a-f]{64})", re.ASCII)
_REFERRERS_TRIES: Final = 3


def find_credentials(host: str, repository: str) -> Credentials | None:
    """Look credentials up where Docker and Podman keep them."""
    return DockerCredentials.from_environment().find(host, repository)


class RegistryStore:
    """The repositories of one registry; implements `klever.steps.oci.store.Store`.

    ``credentials`` are fixed ones, a function that finds them, or None to stay anonymous. ``token_hosts`` are hosts
    that may give tokens for this registry besides its own; by default those of ``KLEVER_TOKEN_HOSTS``, comma-separated.
    """

    def __init__(
        self,
        host: str,
        *,
        plain_http: bool = False,
        insecure: bool = False,
        ca_file: Path | None = None,
        credentials: Credentials | Find | None = find_credentials,
        token_hosts: Collection[str] | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
    ) -> None:
        if token_hosts is None:
            token_hosts = [name for name in re.split(r"[,\s]+", os.environ.get("KLEVER_TOKEN_HOSTS", "")) if name]
        self.host = host
        base = f"{'http' if plain_http else 'https'}://{_ENDPOINTS.get(host, host)}"
        try:
            origin = Origin.of(base)
        except RegistryRefusedError:
            raise InvalidReferenceError(f"{host[:140]!r} is not a registry's host") from None
        self._transport = Transport(insecure=insecure, ca_file=ca_file, timeouts=timeouts, retry=retry)
        authorizer = Authorizer(host, origin, self._transport, _finder(credentials), token_hosts=token_hosts)
        self._session = Session(base, host, self._transport, authorizer)

    def __repr__(self) -> str:
        return f"RegistryStore({self.host!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def ping(self) -> None:
        """Ask whether this is a registry that lets us in (``GET /v2/``); raises `UnauthorizedError` if it does not."""
        response = self._session.request("GET", "/v2/", Access(), about="a log-in")
        release(response)

    def get_manifest(self, repository: str, reference: str | Digest) -> StoredManifest:
        """Return the manifest under a tag or digest, verified; raises `NotFoundError`, `ManifestError`."""
        response = self._session.request(
            "GET",
            f"/v2/{_repository(repository)}/manifests/{_reference(reference)}",
            Access.to(repository, "pull"),
            headers={"Accept": ", ".join(_MANIFESTS)},
            about=self._about(repository, reference),
        )
        declared = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        said = response.headers.get("Docker-Content-Digest", "")
        data = read_capped(response, MAX_MANIFEST_BYTES)
        about = f"the manifest {self._about(repository, reference)}"
        digest = _verify_manifest(data, reference, said, about)
        return StoredManifest(Descriptor(_media_type(data, declared, about), digest, len(data)), data)

    def find_digest(self, repository: str, tag: str) -> Digest:
        """Return the digest that the registry says a tag points at; raises `NotFoundError`.

        Distribution specification, "Checking if content exists in the registry". Where the answer names no digest, or
        the registry knows no such request, the manifest is fetched.
        """
        with suppress(RegistryRefusedError, InvalidReferenceError):
            response = self._session.request(
                "HEAD",
                f"/v2/{_repository(repository)}/manifests/{parse_tag(tag)}",
                Access.to(repository, "pull"),
                headers={"Accept": ", ".join(_MANIFESTS)},
                about=self._about(repository, tag),
            )
            release(response)
            return parse_digest(response.headers.get("Docker-Content-Digest", ""))
        return self.get_manifest(repository, tag).descriptor.digest

    def put_manifest(self, repository: str, data: bytes, media_type: str, *, tag: str | None = None) -> Descriptor:
        """Publish a manifest under its digest, and under ``tag``; see the protocol."""
        descriptor = Descriptor.of(data, media_type)
        reference = parse_tag(tag) if tag else descriptor.digest
        response = self._session.request(
            "PUT",
            f"/v2/{_repository(repository)}/manifests/{reference}",
            Access.to(repository, "pull", "push"),
            headers={"Content-Type": media_type},
            body=data,
            accept=(200, 201, 202, 204),
            about=f"the push of {self._about(repository, reference)}",
        )
        stored = response.headers.get("Docker-Content-Digest", descriptor.digest)
        knows_referrers = "OCI-Subject" in response.headers
        release(response)
        if stored.startswith("sha256:") and stored != descriptor.digest:
            raise ManifestError(
                f"the registry {self.host} stored the manifest as {stored[:80]}, not {descriptor.digest}"
            )
        subject = _subject(data)
        if subject is not None and not knows_referrers:
            self._add_referrer(repository, subject, _as_referrer(data, descriptor))
        return descriptor

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Say whether the blob is there, whole."""
        return self._has_blob(repository, digest, Access.to(repository, "pull"))

    def get_blob(self, repository: str, descriptor: Descriptor, *, progress: Progress = no_progress) -> Iterator[bytes]:
        """Yield the blob's bytes; see the protocol. Raises `NotFoundError`, `TransferError`.

        What has been yielded cannot be taken back: where the digest of a blob of more than 4 MiB is wrong, trying
        again from the beginning is for the caller. Smaller blobs are verified, or fetched again, first.
        """
        return Download(self._session, _repository(repository), descriptor, progress).chunks()

    def blob_source(self, repository: str, descriptor: Descriptor) -> Source | None:
        """Return random access by ranges, each read of at least 64 KiB, or None where the registry has none."""
        return open_source(self._session, _repository(repository), descriptor)

    def put_blob(
        self,
        repository: str,
        chunks: Callable[[], Iterable[bytes]],
        *,
        expected: Descriptor | None = None,
        progress: Progress = no_progress,
    ) -> Descriptor:
        """Store the chunks as one blob; see the protocol. A try that failed is reported as negative progress."""
        upload = Upload(self._session, _repository(repository), chunks, progress)
        if expected is not None and self._has_blob(repository, expected.digest, Access.to(repository, "pull", "push")):
            progress(expected.size)
            return expected
        return upload.send(expected)

    def mount_blob(self, repository: str, descriptor: Descriptor, from_repository: str) -> bool:
        """Make a blob of another repository appear in this one; False where the registry would rather have it sent."""
        access = Access.to(_repository(repository), "pull", "push")
        both = access.also(repository_scope(_repository(from_repository), "pull"))
        query = urlencode({"mount": descriptor.digest, "from": from_repository})
        try:
            response = self._session.request(
                "POST", f"/v2/{repository}/blobs/uploads/?{query}", both, body=b"", accept=(201, 202), about="a mount"
            )
            location = response.headers.get("Location", "")
            release(response)
            if response.status == 201:
                return True
            cancel(self._session, access, follow(self._session.base, location, "sends uploads"))
        except (UnauthorizedError, NotFoundError, RegistryRefusedError):
            # Not to be allowed, or not to know, a mount is no failure: sending the blob tells what is wrong.
            return False
        return False

    def tags(self, repository: str) -> Iterator[str]:
        """Yield a repository's tags in lexical order, without those that only list referrers."""
        access = Access.to(_repository(repository), "pull")
        names = self._listed(
            f"/v2/{repository}/tags/list?n={_PAGE}", access, "tags", f"the tags of {self.host}/{repository}"
        )
        yield from sorted(name for name in names if _is_tag(name) and not _REFERRERS_TAG.fullmatch(name))

    def repositories(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of repositories that begin with ``prefix``; raises `UnauthorizedError` if only few may."""
        about = f"the list of repositories of {self.host}"
        try:
            names = self._listed(
                f"/v2/_catalog?n={_PAGE}", Access("", frozenset([CATALOG_SCOPE])), "repositories", about
            )
        except (UnauthorizedError, NotFoundError, RegistryRefusedError) as error:
            if isinstance(error, RegistryRefusedError) and error.next_step != error.usual_step:
                raise
            next_step = "name the repository: many registries list them for administrators only, or in their web page"
            if isinstance(error, UnauthorizedError):
                next_step = f"{error.next_step}; or {next_step}"
            kind = UnauthorizedError if isinstance(error, UnauthorizedError) else RegistryRefusedError
            raise kind(error.cause, next_step=next_step) from None
        yield from sorted(name for name in names if name.startswith(prefix) and _is_repository(name))

    def delete(self, repository: str, reference: str | Digest) -> None:
        """Remove a tag, or with a digest the manifest and all its tags.

        A registry that cannot remove a tag alone refuses: removing its manifest instead would take other tags with it.
        """
        by_digest = ":" in _reference(reference)
        subject = self._subject_of(repository, Digest(reference)) if by_digest else None
        response = self._session.request(
            "DELETE",
            f"/v2/{_repository(repository)}/manifests/{reference}",
            Access.to(repository, "delete", "pull", "push"),
            accept=(200, 202, 204, 400, 404, 405),
            about=f"the removal of {self._about(repository, reference)}",
        )
        if response.status == 404:
            raise self._session.error(404, self._session.read_error(response), self._about(repository, reference))
        if response.status in (400, 405):
            said = self._session.read_error(response)
            words = f" ({said})" if str(said) else ""
            if by_digest or not self._can_delete(repository):
                raise RegistryRefusedError(
                    f"the registry {self.host} does not remove manifests{words}",
                    next_step="its operator has to allow it (in a CNCF registry: storage.delete.enabled)",
                )
            raise RegistryRefusedError(
                f"the registry {self.host} cannot remove a tag alone{words}",
                next_step="remove the manifest by its digest, which removes all of its tags",
            )
        release(response)
        if subject is not None:
            self._remove_referrer(repository, subject, Digest(reference))

    def referrers(self, repository: str, digest: Digest) -> Iterator[Descriptor]:
        """Yield the manifests whose subject is ``digest``, by the API or by the tag that stands in for it."""
        parse_digest(digest)
        access = Access.to(_repository(repository), "pull")
        about = f"the referrers of {self._about(repository, digest)}"
        try:
            entries = list(self._pages(f"/v2/{repository}/referrers/{digest}", access, "manifests", about))
        except (NotFoundError, RegistryRefusedError):
            entries = self._fallback(repository, digest)
        for entry in entries:
            yield Descriptor.from_json(entry, "an entry of the referrers")

    # How the above is done.

    def _about(self, repository: str, reference: str) -> str:
        return f"{self.host}/{repository}{'@' if ':' in reference else ':'}{reference}"

    def _has_blob(self, repository: str, digest: Digest, access: Access) -> bool:
        response = self._session.request(
            "HEAD",
            f"/v2/{_repository(repository)}/blobs/{parse_digest(digest)}",
            access,
            accept=(200, 404),
            about=f"blob {digest} of {self.host}/{repository}",
        )
        release(response)
        return response.status == 200

    def _listed(self, url: str, access: Access, key: str, about: str) -> set[str]:
        return {name for name in self._pages(url, access, key, about) if isinstance(name, str)}

    def _pages(self, url: str, access: Access, key: str, about: str) -> Iterator[Any]:
        """Yield the entries of a listing that may go on by ``Link`` on the same host (RFC 8288)."""
        url = f"{self._session.base}{url}"
        seen: set[str] = set()
        for _page in range(_MAX_PAGES):
            seen.add(url)
            response = self._session.request("GET", url, access, about=about)
            link = _NEXT.search(response.headers.get("Link", ""))
            entries = self._session.read_json(response, _MAX_PAGE_BYTES).get(key) or []
            if not isinstance(entries, list):
                raise RegistryRefusedError(f"the registry {self.host} does not answer {about} with a list")
            yield from entries
            if not link:
                return
            url = follow(url, link[1], "lists on")
            if Origin.of(url) != self._session.origin or url in seen:
                raise RegistryRefusedError(f"the registry {self.host} links {about} to another place")
        raise RegistryRefusedError(f"the registry {self.host} lists more than {_MAX_PAGES} pages of {about}")

    def _can_delete(self, repository: str) -> bool:
        """Say whether manifests can be removed at all, by asking for one that cannot be there."""
        response = self._session.request(
            "DELETE",
            f"/v2/{repository}/manifests/sha256:{'0' * 64}",
            Access.to(repository, "delete", "pull", "push"),
            accept=range(200, 500),
        )
        release(response)
        return response.status not in (400, 405)

    def _subject_of(self, repository: str, digest: Digest) -> Digest | None:
        """Return the subject whose fallback list has to lose a manifest that is about to be removed."""
        try:
            return _subject(self.get_manifest(repository, digest).data)
        except ManifestError:
            # Whatever it is, it can be removed.
            return None

    def _fallback(self, repository: str, digest: Digest) -> list[Any]:
        try:
            stored = self.get_manifest(repository, _referrers_tag(digest))
        except NotFoundError:
            return []
        entries = load_document(stored.data, "the list of referrers").get("manifests")
        return entries if isinstance(entries, list) else []

    def _add_referrer(self, repository: str, subject: Digest, entry: Descriptor) -> None:
        """List a manifest under its subject's tag, and look whether somebody else's writing took it away again."""
        for _try in range(_REFERRERS_TRIES):
            entries = self._fallback(repository, subject)
            if any(isinstance(one, dict) and one.get("digest") == entry.digest for one in entries):
                return
            self._put_fallback(repository, subject, [*entries, entry.to_json()])

    def _remove_referrer(self, repository: str, subject: Digest, digest: Digest) -> None:
        entries = self._fallback(repository, subject)
        kept = [one for one in entries if not (isinstance(one, dict) and one.get("digest") == digest)]
        if len(kept) < len(entries):
            self._put_fallback(repository, subject, kept)

    def _put_fallback(self, repository: str, subject: Digest, entries: list[Any]) -> None:
        index = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": entries}
        self.put_manifest(repository, json.dumps(index).encode(), media.INDEX, tag=_referrers_tag(subject))


def check_login(
    host: str,
    username: str,
    password: str,
    *,
    plain_http: bool = False,
    insecure: bool = False,
    ca_file: Path | None = None,
    token_hosts: Collection[str] | None = None,
    timeouts: Timeouts | None = None,
    retry: Retry | None = None,
) -> None:
    """Raise `UnauthorizedError` unless a registry accepts a user and a password; one that asks for none accepts all."""
    with RegistryStore(
        host,
        plain_http=plain_http,
        insecure=insecure,
        ca_file=ca_file,
        credentials=Credentials(username, password),
        token_hosts=token_hosts,
        timeouts=timeouts,
        retry=retry,
    ) as store:
        try:
            store.ping()
        except UnauthorizedError as error:
            error.next_step = "check the user and the password"
            raise


def _finder(credentials: Credentials | Find | None) -> Find:
    if isinstance(credentials, Credentials) or credentials is None:
        return lambda _host, _repository: credentials
    return credentials


def _repository(name: str) -> str:
    return parse_repository(name)


def _reference(reference: str) -> str:
    return parse_digest(reference) if ":" in reference else parse_tag(reference)


def _is_tag(name: str) -> bool:
    try:
        parse_tag(name)
    except KleverError:
        return False
    return True


def _is_repository(name: str) -> bool:
    try:
        parse_repository(name)
    except KleverError:
        return False
    return True


def _verify_manifest(data: bytes, reference: str, said: str, about: str) -> Digest:
    """Return the digest of a manifest's bytes, compared to what was asked for and to what the registry says."""
    wanted = [reference] if ":" in reference else []
    for digest in [*wanted, *([said] if said else [])]:
        algorithm = "sha512" if digest.startswith("sha512:") else "sha256"
        actual = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        if actual != digest:
            raise ManifestError(f"{about} has the digest {actual}, not {clean_text(digest)[:140]}")
    return parse_digest(reference) if wanted else digest_of(data)


def _media_type(data: bytes, declared: str, about: str) -> str:
    """Return the media type that a manifest and its ``Content-Type`` agree on; raises `ManifestError`.

    Only the types that were asked for count in the header: a proxy's ``application/json`` is no contradiction. A
    document without ``mediaType`` is what the header says.
    """
    document = load_document(data, about)
    check_media_type(document, declared if declared in _MANIFESTS else None)
    own = document.get("mediaType") or (declared if declared in _MANIFESTS else "")
    return own or (media.INDEX if is_index(document) else media.MANIFEST)


def _subject(data: bytes) -> Digest | None:
    """Return the digest of the manifest that this one is about."""
    subject = subject_of(load_document(data, "the manifest"))
    return subject.digest if subject else None


def _as_referrer(data: bytes, descriptor: Descriptor) -> Descriptor:
    """Describe a manifest as a list of referrers does: with its artifact type and annotations."""
    document = load_document(data, "the manifest")
    config = document.get("config")
    kind = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
    return replace(
        descriptor,
        artifact_type=kind if isinstance(kind, str) else None,
        annotations=annotations_of(document),
    )


def _referrers_tag(digest: Digest) -> str:
    return digest.replace(":", "-", 1)
