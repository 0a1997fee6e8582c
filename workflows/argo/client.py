"""Speak to a cluster's API server: which one, as whom, and what its refusals mean.

The ``kubernetes`` client reads the kubeconfig, gets tokens and opens connections. The requests are made here, on its
pool: streams are needed line by line, documents as they are, and refusals as our own errors. What does not belong here:
workflows.
"""

import json
import os
import random
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import quote, urlencode

import urllib3

from klever.steps.errors import KleverError, printable
from klever.workflows.argo import errors
from klever.workflows.manifest import Document

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

#: Seconds until a connection is made, and until an answer begins. The API server itself gives up after 60.
_CONNECT_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 65.0
#: Tries of a request that failed for now, and seconds before the second; each further wait is twice as long.
_TRIES: Final = 4
_FIRST_WAIT_SECONDS: Final = 0.5
#: Objects that a list asks for at once, as kubectl does.
_PAGE: Final = 500
#: Connections that are kept: more than the logs of many pods and two watches need at once, because urllib3 warns of
#: each that it does not keep.
_CONNECTIONS: Final = 160
#: Where a pod finds its own namespace (k8s.io/docs: Accessing the Kubernetes API from a Pod).
_NAMESPACE_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
#: The most that is taken from a stream at once, in bytes.
_CHUNK_BYTES: Final = 1 << 16
#: The longest answer that tells of a failure, in bytes; the rest is not read.
_REFUSAL_BYTES: Final = 1 << 16
#: ``workflows.argoproj.io is forbidden: User "ada" cannot create resource "workflows" in API group ...``
_FORBIDDEN: Final = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)


class Resource(NamedTuple):
    """A kind of object of the API, in a namespace."""

    group: str
    plural: str
    version: str = "v1alpha1"

    @property
    def root(self) -> str:
        """The path of its group and version, where the server lists what it knows of them."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Return the path of one object, or of all; those of every namespace where ``namespace`` is empty."""
        parts = [self.root, *(["namespaces", quote(namespace, safe="")] if namespace else ()), self.plural]
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)


WORKFLOWS: Final = Resource("argoproj.io", "workflows")
WORKFLOW_TEMPLATES: Final = Resource("argoproj.io", "workflowtemplates")
PODS: Final = Resource("", "pods", "v1")


class Stream:
    """An answer that does not end: lines as they come, until either side ends it."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self._interrupted = False

    def lines(self, longest: int) -> Iterator[bytes]:
        """Yield the lines without their ends; one of more than ``longest`` bytes comes in pieces.

        Raises `ClusterUnreachableError` when the connection breaks or is silent for too long.
        """
        rest = b""
        try:
            # What has arrived is given at once: read1 waits for the first byte only.
            while chunk := self._response.read1(_CHUNK_BYTES):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield from _pieces(line, longest)
                if len(rest) > longest:
                    yield rest
                    rest = b""
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if not self._interrupted:
                raise errors.ClusterUnreachableError(f"the connection to the cluster broke: {_brief(error)}") from error
        if rest and not self._interrupted:
            yield rest

    def close(self) -> None:
        """Let go of the connection; by the thread that reads."""
        self._response.close()

    def interrupt(self) -> None:
        """End the lines, from another thread than the one that reads."""
        self._interrupted = True
        # A stream that has ended has no connection any more.
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            self._response.shutdown()


def _pieces(line: bytes, longest: int) -> Iterator[bytes]:
    if len(line) <= longest:
        yield line
        return
    for start in range(0, len(line), longest):
        yield line[start : start + longest]


class Trust(NamedTuple):
    """Files by which both sides of a connection know each other; None where there is none."""

    authorities: str | None
    certificate: str | None
    key: str | None
    #: Whether the server's certificate is checked.
    verified: bool


class Cluster:
    """One API server, as one user, with the namespace that is meant where none is named."""

    def __init__(
        self, api: "ApiClient", namespace: str, *, answer_seconds: float = _ANSWER_SECONDS, tries: int = _TRIES
    ) -> None:
        self._api = api
        self.namespace = namespace
        self._answer_seconds = answer_seconds
        self._tries = tries

    def hurried(self, seconds: float) -> "Cluster":
        """Return the same cluster for requests that are asked once and are worth nothing after some seconds."""
        return Cluster(self._api, self.namespace, answer_seconds=seconds, tries=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._api.rest_client.pool_manager.clear()

    @property
    def address(self) -> str:
        """The API server's URL."""
        return str(self._api.configuration.host)

    @property
    def token(self) -> str:
        """What an ``Authorization`` header has to say; empty where a certificate tells who asks."""
        return self._authorization().get("authorization", "")

    @property
    def trust(self) -> "Trust":
        """Which certificates count, for whoever opens connections of his own."""
        settings = self._api.configuration
        return Trust(settings.ssl_ca_cert, settings.cert_file, settings.key_file, bool(settings.verify_ssl))

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Document:
        """Return a document."""
        return self._document("GET", path, query)

    def create(self, path: str, document: Document, query: Mapping[str, str] | None = None) -> Document:
        """Create an object and return it as the server keeps it.

        Tried again where the connection broke, so the document has to have a name: the second of two that arrive is
        refused with `NameTakenError`.
        """
        return self._document("POST", path, query, document)

    def replace(self, path: str, document: Document) -> Document:
        """Write an object that was read before; raises `ConflictError` where it has changed since."""
        return self._document("PUT", path, None, document)

    def merge(self, path: str, change: Document) -> Document:
        """Merge a change into an object (RFC 7386)."""
        return self._document("PATCH", path, None, change, "application/merge-patch+json")

    def apply(self, path: str, document: Document, query: Mapping[str, str]) -> Document:
        """Create an object or make its fields what the document says (server-side apply); ``query`` names the manager.

        Raises `ConflictError` where another manager has set a field otherwise and ``force`` is not asked for.
        """
        return self._document("PATCH", path, query, document, "application/apply-patch+yaml")

    def delete(
        self, path: str, query: Mapping[str, str] | None = None, *, only: Mapping[str, str] | None = None
    ) -> None:
        """Delete an object, and in the background what it owns; raises `ClusterObjectMissingError` for none.

        ``only`` has the ``uid`` and ``resourceVersion`` that it has to have; one that differs is a `ConflictError`.
        """
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": dict(only)} if only else None
        self._document("DELETE", path, {"propagationPolicy": "Background"} | dict(query or {}), body)

    def list_all(self, path: str, query: Mapping[str, str] | None = None) -> tuple[list[Document], str]:
        """Return all objects and the resource version at which they were so, read in pages."""
        items: list[Document] = []
        version = ""
        for page in self._pages(path, query, _PAGE):
            items += page.get("items") or []
            version = str((page.get("metadata") or {}).get("resourceVersion", ""))
        return items, version

    def each(self, path: str, query: Mapping[str, str] | None = None, *, page: int = _PAGE) -> Iterator[Document]:
        """Yield all objects, with no more than ``page`` of them in memory."""
        for listed in self._pages(path, query, page):
            yield from listed.get("items") or ()

    def _pages(self, path: str, query: Mapping[str, str] | None, size: int) -> Iterator[Document]:
        token = ""
        while True:
            page = self.get(path, {**(query or {}), "limit": str(size)} | ({"continue": token} if token else {}))
            yield page
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def stream(self, path: str, query: Mapping[str, str], *, silence_seconds: float) -> Stream:
        """Open an answer that does not end; it counts as broken after ``silence_seconds`` without a byte."""
        response = self._request("GET", path, query, None, "", timeout=silence_seconds)
        return Stream(response)

    def _document(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Document | None = None,
        content_type: str = "application/json",
    ) -> Document:
        for wait in _waits(self._tries):
            try:
                response = self._request(method, path, query, body, content_type, timeout=self._answer_seconds)
                try:
                    document: Document = json.loads(response.data)
                finally:
                    response.release_conn()
            except errors.ClusterUnreachableError:
                if wait is None:
                    raise
                time.sleep(wait)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                if wait is None:
                    raise self._unreachable(error) from error
                time.sleep(wait)
            except ValueError as error:
                raise errors.NoClusterError(f"{self.address} does not answer as a Kubernetes API server") from error
            else:
                return document
        raise AssertionError

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Document | None,
        content_type: str,
        *,
        timeout: float,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json, */*"} | self._authorization()
        if body is not None:
            headers["Content-Type"] = content_type
        url = self.address + path + (f"?{urlencode(query)}" if query else "")
        try:
            response: urllib3.BaseHTTPResponse = self._api.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=urllib3.Timeout(connect=min(_CONNECT_SECONDS, timeout), read=timeout),
                preload_content=False,
                # Ours are the retries; and a redirect would carry the token elsewhere.
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.SSLError as error:
            if not isinstance(error.args[0], ssl.SSLCertVerificationError):
                # A handshake that was cut.
                raise self._unreachable(error) from error
            raise errors.UntrustedClusterError(
                f"the certificate of {self.address} is not trusted: {error.args[0].verify_message}", stage="cluster"
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        if response.status >= 300:
            text = response.read(_REFUSAL_BYTES)
            response.close()
            raise self._refusal(response.status, text, method, path)
        return response

    def _authorization(self) -> dict[str, str]:
        # Asked for each request: the client renews a token that is about to expire.
        settings = self._api.configuration.auth_settings()
        return {each["key"]: each["value"] for each in settings.values() if each["in"] == "header" and each["value"]}

    def _unreachable(self, error: Exception) -> errors.ClusterUnreachableError:
        return errors.ClusterUnreachableError(
            f"the cluster at {self.address} does not answer: {_brief(error)}", stage="cluster"
        )

    def _refusal(self, status: int, text: bytes, method: str, path: str) -> KleverError:
        try:
            document = json.loads(text)
            document = document if isinstance(document, dict) else {}
        except ValueError:
            document = {}
        message = printable(str(document.get("message") or text.decode(errors="replace").strip()), 600)
        reason = str(document.get("reason") or "")
        if status == 401:
            return errors.ClusterUnauthorizedError(
                f"the cluster at {self.address} does not accept the credentials", stage="cluster"
            )
        if status == 403:
            return _forbidden(message)
        if status == 404:
            # An unknown kind of object gets a plain text; an unknown object a Status with its name.
            details = document.get("details") or {}
            if not details.get("name") and "/argoproj.io/" in path:
                return errors.ArgoMissingError(
                    f"the cluster at {self.address} does not know Argo's workflows", stage="cluster"
                )
            return errors.ClusterObjectMissingError(message, stage="cluster")
        if status == 409:
            kind = errors.NameTakenError if reason == "AlreadyExists" else errors.ConflictError
            return kind(message, stage="cluster")
        if status == 410:
            return errors.ExpiredError(message, stage="cluster")
        if status == 429 or status >= 500:
            return errors.ClusterUnreachableError(
                f"the cluster at {self.address} answers {status}: {message}", stage="cluster"
            )
        if status in (400, 413, 422) and method in ("POST", "PUT", "PATCH"):
            return errors.InvalidWorkflowError(message, stage="cluster")
        return errors.RefusedError(f"the cluster answers {status}: {message}", stage="cluster")


def connect(*, context: str | None = None, namespace: str | None = None) -> Cluster:
    """Return the cluster that the kubeconfig or the pod's own service account names.

    ``context`` is one of the kubeconfig's, the current one by default; ``namespace`` by default that of the context or
    of the pod. Nothing is sent yet. Raises `ClientMissingError`, `NoClusterError`.
    """
    try:
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration
        from yaml import YAMLError
    except ImportError as error:
        raise errors.ClientMissingError(
            f"running on Argo needs the kubernetes client: {error}", stage="cluster"
        ) from error

    configuration = Configuration()
    configuration.connection_pool_maxsize = _CONNECTIONS
    try:
        if context is None and not _has_kubeconfig() and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            home = _pods_namespace()
        else:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                context=context, client_configuration=configuration
            )
            home = _context_namespace(context)
    except config.ConfigException as error:
        raise errors.NoClusterError(
            f"no cluster is configured: {printable(str(error), 300)}", stage="cluster"
        ) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, YAMLError) as error:
        # The client checks little of a kubeconfig; a wrong one ends in whatever it then touches.
        raise errors.NoClusterError(
            f"the kubeconfig cannot be used: {printable(str(error), 300)}", stage="cluster"
        ) from error
    return Cluster(ApiClient(configuration), namespace or home or "default")


def _has_kubeconfig() -> bool:
    named = os.environ.get("KUBECONFIG")
    return bool(named) or Path("~/.kube/config").expanduser().is_file()


def _context_namespace(context: str | None) -> str:
    from kubernetes.config import list_kube_config_contexts

    contexts, current = list_kube_config_contexts()  # type: ignore[no-untyped-call]
    chosen = current if context is None else {each["name"]: each for each in contexts}[context]
    return str((chosen.get("context") or {}).get("namespace") or "")


def _pods_namespace() -> str:
    return Path(_NAMESPACE_FILE).read_text(encoding="utf-8").strip()


def _waits(tries: int) -> Iterator[float | None]:
    """Yield, for each try, how long to wait after its failure; None after the last."""
    wait = _FIRST_WAIT_SECONDS
    for _ in range(tries - 1):
        # Spread, so that many clients do not come back at once.
        yield wait * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        wait *= 2
    yield None


def _forbidden(message: str) -> errors.ForbiddenError:
    found = _FORBIDDEN.search(message)
    if found is None:
        # Admission refuses with the same code: a quota, a policy.
        return errors.ForbiddenError(f"the cluster forbids this: {message}", stage="cluster")
    resource = found["resource"] + (f".{found['group']}" if found["group"] else "")
    where = f" in namespace {found['namespace']}" if found["namespace"] else ""
    return errors.ForbiddenError(
        f"{found['user']} may not {found['verb']} {resource}{where}",
        stage="cluster",
        next_step=f"ask whoever administers the cluster for the right to {found['verb']} {resource}{where}",
    )


def _brief(error: Exception) -> str:
    """Return what a person understands of a connection's error: its last part, without addresses of objects."""
    text = re.sub(r"<[^>]*>:? ?", "", str(error))
    return printable(text.rpartition(": ")[2].strip(" )'\"") or type(error).__name__, 200)
