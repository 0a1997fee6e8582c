"""The transport: one HTTP exchange, tried again while that can help, over pooled connections.

Pools, TLS, proxies and time-outs are urllib3's. Answers are not judged here but for 429 and 5xx; no redirect is
followed and nothing is known of registries: see `klever.steps.oci.session`.
"""

import email.utils
import errno
import logging
import random
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.wait import wait_for_read

from klever.steps.errors import KleverError, RegistryRefusedError, RegistryUnavailableError
from klever.steps.oci.pace import PacedResponse, TrickleError
from klever.steps.oci.trust import Origin, clean_url, is_inside

Response = urllib3.BaseHTTPResponse
#: A body that can be sent again, or a stream that cannot.
Body = bytes | Iterable[bytes]

#: What is sent by one system call at most, in bytes: each has to get through within the read time-out.
_SEND_BYTES: Final = 256 << 10
#: More of an unwanted answer than this is not read to keep a connection, in bytes.
_DRAIN_BYTES: Final = 64 << 10
_CERTIFICATES: Final = Path("/etc/docker/certs.d")
#: How OpenSSL names an answer that is not TLS, by its version.
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})


def _drop_queries(record: logging.LogRecord) -> bool:
    """Take the query off every path that urllib3 logs: signed addresses and uploads carry their key there."""
    if isinstance(record.args, tuple):
        record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
    return True


# The filter is of urllib3's own logger, since no argument keeps it from logging.
logging.getLogger("urllib3.connectionpool").addFilter(_drop_queries)


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a connection, and for the next bytes of it."""

    connect: float = 10.0
    read: float = 30.0


@dataclass(frozen=True)
class Retry:
    """How often and when to try again: exponential waits with full jitter, as the server asks but within bounds.

    ``total`` bounds the seconds spent waiting between the tries of one call.
    """

    tries: int = 5
    first: float = 0.25
    longest: float = 20.0
    total: float = 120.0
    sleep: Callable[[float], None] = time.sleep

    def attempts(self) -> "Attempts":
        """Begin a series of tries."""
        return Attempts(self)


class Attempts:
    """The tries of one call that are left."""

    def __init__(self, policy: Retry) -> None:
        self._policy = policy
        self._waited = 0.0
        self.failed = 0

    def again(self, asked: float | None = None) -> bool:
        """Wait before another try, ``asked`` seconds if the server says so; False if there is none left."""
        policy = self._policy
        self.failed += 1
        # No secret hangs on the jitter.
        wait = min(policy.first * 2 ** (self.failed - 1), policy.longest) * random.uniform(0.5, 1.0)  # noqa: S311
        if asked is not None:
            wait = max(wait, min(asked, policy.longest))
        if self.failed >= policy.tries or self._waited + wait > policy.total:
            return False
        self._waited += wait
        policy.sleep(wait)
        return True

    def renew(self) -> None:
        """Begin counting anew, after progress."""
        self.failed = 0
        self._waited = 0.0


class _PatientSend(HTTPConnection):
    """A connection that sends under the read time-out and stops sending once a plain server has answered.

    Without the latter a server that refuses an upload early and closes leaves a broken pipe instead of its reason.
    """

    response_class = PacedResponse
    send_timeout: float | None = None

    def send(self, data: Any) -> None:
        if not isinstance(data, bytes) or len(data) <= _SEND_BYTES or self.sock is None:
            super().send(data)
            return
        self.sock.settimeout(self.send_timeout)
        view = memoryview(data)
        for start in range(0, len(view), _SEND_BYTES):
            # On TLS, bytes may be a session ticket instead of an answer.
            if not isinstance(self.sock, ssl.SSLSocket) and wait_for_read(self.sock, timeout=0):
                raise BrokenPipeError(errno.EPIPE, "the server has answered already")
            self.sock.sendall(view[start : start + _SEND_BYTES])


class _PatientSendTLS(_PatientSend, HTTPSConnection):
    unverified = False

    def connect(self) -> None:
        super().connect()
        # The caller chose not to verify: the pool would warn of it with every request.
        self.is_verified = self.is_verified or self.unverified


class _Upload:
    """A streamed body that remembers what its own source raised, which urllib3 would take for a network error."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except Exception as error:
            self.failure = error
            raise


class Transport:
    """Connections to a registry and to where it sends us; safe to share between threads."""

    def __init__(
        self,
        *,
        insecure: bool = False,
        ca_file: Path | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self.retry = retry or Retry()
        self._insecure = insecure
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._managers: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        retry: bool = True,
    ) -> Response:
        """Send a request and return the answer, whose body is still to be read and which has to be closed.

        Connection errors, time-outs, 429 and 5xx are tried again unless ``retry`` is False or the body is a stream.
        The last 429 or 5xx is returned as it is. Raises `RegistryUnavailableError`, or `RegistryRefusedError` where
        TLS cannot be agreed.
        """
        attempts = self.retry.attempts()
        again = retry and not (body is not None and not isinstance(body, bytes))
        while True:
            try:
                response = self._once(method, url, headers or {}, body)
            except RegistryUnavailableError:
                if not again or not attempts.again():
                    raise
                continue
            if not again or not worth_retrying(response.status) or not attempts.again(retry_after(response)):
                return response
            release(response)

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Response:
        origin = Origin.of(url)
        upload = _Upload(body) if body is not None and not isinstance(body, bytes) else None
        manager = self._manager(origin)
        try:
            return manager.urlopen(
                method,
                url,
                body=upload or body,
                headers={"User-Agent": "klever", "Accept-Encoding": "identity", **headers},
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if upload is not None and upload.failure is not None:
                raise upload.failure from None
            raise_for_network(error, origin)
        except Exception:
            if upload is not None and upload.failure is not None:
                raise upload.failure from None
            raise

    def _manager(self, origin: Origin) -> urllib3.PoolManager:
        proxy = _proxy(origin)
        key = f"{origin.scheme} {proxy}"
        with self._lock:
            if key not in self._managers:
                # A context is made for https alone: loading the trusted authorities takes time.
                tls = origin.scheme == "https" or proxy.startswith("https:")
                if tls and self._context is None:
                    self._context = self._tls(origin)
                self._managers[key] = self._make_manager(proxy)
            return self._managers[key]

    def _make_manager(self, proxy: str) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "timeout": urllib3.Timeout(connect=self.timeouts.connect, read=self.timeouts.read),
            "maxsize": 8,
        }
        if self._context is not None:
            options["ssl_context"] = self._context
            options["cert_reqs"] = "CERT_NONE" if self._insecure else "CERT_REQUIRED"
        manager = _proxied(proxy, options) if proxy else urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = self._pools()
        return manager

    def _pools(self) -> dict[str, type[urllib3.HTTPConnectionPool]]:
        """Return urllib3's pools with connections of ours, which know this transport's choices."""
        patience = self.timeouts.read
        insecure = self._insecure

        class Plain(_PatientSend):
            send_timeout = patience

        class Tls(_PatientSendTLS):
            send_timeout = patience
            unverified = insecure

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Tls

        return {"http": PlainPool, "https": TlsPool}

    def _tls(self, origin: Origin) -> ssl.SSLContext:
        # Honours SSL_CERT_FILE and SSL_CERT_DIR.
        context = ssl.create_default_context()
        own = sorted((_CERTIFICATES / str(origin)).glob("*.crt"))
        for path in [*([self._ca_file] if self._ca_file else []), *own]:
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError):
                raise RegistryRefusedError(f"{path} is not a readable file of PEM certificates") from None
        if self._insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def worth_retrying(status: int) -> bool:
    """Say whether an answer may be another one soon."""
    return status == 429 or (500 <= status <= 599 and status not in (501, 505))


def retry_after(response: Response) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, as a number or a date (RFC 9110, section 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", value, re.ASCII):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def release(response: Response) -> None:
    """Let go of an answer: its connection is kept if little of the body is left."""
    try:
        response.read(_DRAIN_BYTES, decode_content=False)
        if response.read(1, decode_content=False):
            response.close()
    except (urllib3.exceptions.HTTPError, OSError):
        response.close()
    response.release_conn()


def read_capped(response: Response, limit: int) -> bytes:
    """Read a whole body of ``limit`` bytes at most, and let go of the answer.

    Raises `RegistryUnavailableError` where it breaks off and `RegistryRefusedError` where it is longer.
    """
    parts: list[bytes] = []
    size = 0
    try:
        while size <= limit and (part := response.read(limit + 1 - size, decode_content=False)):
            parts.append(part)
            size += len(part)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        response.close()
        raise RegistryUnavailableError(f"an answer of the registry broke off ({network_reason(error)})") from None
    finally:
        release(response)
    if size > limit:
        raise RegistryRefusedError(f"an answer of the registry is longer than {limit} bytes")
    return b"".join(parts)


def raise_for_network(error: Exception, origin: Origin) -> NoReturn:
    """Raise what a failed connection means: the registry is unavailable, or it must be spoken to in another way.

    Texts of urllib3 are not passed on: they hold URLs with their signatures.
    """
    failure: KleverError = RegistryUnavailableError(
        f"cannot reach the registry at {origin}: {network_reason(error)}",
        next_step="check the address and the network, then try again",
    )
    cause = next((arg for arg in (*error.args, error) if isinstance(arg, ssl.SSLError)), None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        failure = RegistryRefusedError(
            f"the certificate of {origin} cannot be verified: {cause.verify_message}",
            next_step="name its authority's certificate with --ca-file or SSL_CERT_FILE, or use --insecure for a test",
        )
    elif cause is not None and cause.reason in _NOT_TLS:
        failure = RegistryRefusedError(
            f"{origin} does not speak TLS", next_step="if it is meant to be plain HTTP, use --plain-http"
        )
    elif isinstance(error, urllib3.exceptions.LocationValueError | ValueError):
        failure = RegistryRefusedError(f"{origin} is not an address that can be connected to")
    raise failure from None


def network_reason(error: BaseException) -> str:
    """Name a network error in words without addresses."""
    exceptions = urllib3.exceptions
    links: list[BaseException] = [error, *(arg for arg in error.args if isinstance(arg, BaseException))]
    links += [link for known in tuple(links) for link in (known.__cause__, known.__context__) if link]
    for kind, words in (
        (exceptions.NameResolutionError, "the name cannot be resolved"),
        (exceptions.ProxyError, "the proxy does not answer"),
        (TrickleError, "the server sends next to nothing"),
        (exceptions.IncompleteRead, "the answer is shorter than announced"),
        (exceptions.ReadTimeoutError, "no answer in time"),
    ):
        if any(isinstance(link, kind) for link in links):
            return words
    for link in links:
        if isinstance(link, OSError) and link.strerror and not isinstance(link, ssl.SSLError):
            return link.strerror.lower()
    if any(isinstance(link, exceptions.ConnectTimeoutError) for link in links):
        return "no connection in time"
    return "no answer in time" if any(isinstance(link, TimeoutError) for link in links) else "the connection broke off"


def _proxied(proxy: str, options: Mapping[str, Any]) -> urllib3.ProxyManager:
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        secret = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=secret) if parts.username else None
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if parts.hostname:
            return urllib3.ProxyManager(address, proxy_headers=headers, **options)
    except (urllib3.exceptions.HTTPError, ValueError):
        pass
    raise RegistryRefusedError(
        f"the proxy {clean_url(proxy)} is not an http or https address",
        next_step="set HTTPS_PROXY and HTTP_PROXY, or NO_PROXY for the registry's host",
    )


def _proxy(origin: Origin) -> str:
    """Return the proxy's URL for an origin by the environment, or nothing; this machine is reached without one."""
    if is_inside(origin.host):
        return ""
    proxies = urllib.request.getproxies_environment()
    # On macOS `urllib.request.proxy_bypass` would ask the system's settings instead.
    if urllib.request.proxy_bypass_environment(f"{origin.host}:{origin.port}", proxies):  # type: ignore[attr-defined]
        return ""
    return proxies.get(origin.scheme) or proxies.get("all") or ""
