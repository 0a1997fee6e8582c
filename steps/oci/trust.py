"""Where a registry may send this client: redirects, token servers and upload addresses.

A registry names other addresses in its answers, and each of them is a chance to make the client give credentials away
or knock at doors inside its own network. This module decides; it opens no connection. What does not belong here:
tokens and headers (`klever.steps.oci.auth`).
"""

import ipaddress
import re
import socket
from collections.abc import Collection
from typing import Final, NamedTuple, Self
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from klever.steps.errors import RegistryRefusedError, UnauthorizedError

_PORTS: Final = {"http": 80, "https": 443}
#: Numbers joined by dots, in any of the bases of C.
_SHORT_ADDRESS: Final = re.compile(r"(?:0[xX][0-9a-fA-F]+|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]+|[0-9]+)){0,3}", re.ASCII)
_MAX_URL: Final = 16_384

#: Second-level names under which anyone can register below a country's domain, so they are no common owner.
_SHARED_SECOND_LEVELS: Final = frozenset(
    {"ac", "co", "com", "edu", "gob", "gov", "ltd", "me", "net", "ne", "or", "org", "nom"}
)

#: Registries whose token server belongs to the same owner under another domain: end of the host, end of the realm.
_KNOWN_PAIRS: Final = (
    ("docker.com", "auth.docker.io"),
    (".aliyuncs.com", ".aliyuncs.com"),
    ("lscr.io", "ghcr.io"),
)


class Origin(NamedTuple):
    """Scheme, host and port: what credentials are bound to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the origin of an absolute http or https URL; raises `RegistryRefusedError` for any other."""
        parts = _split(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in _PORTS or not parts.hostname or port == -1 or parts.username or parts.password:
            raise RegistryRefusedError(f"the registry names {clean_url(url)}, which is not an http or https address")
        return cls(parts.scheme, parts.hostname.rstrip("."), port or _PORTS[parts.scheme])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def clean_url(url: str) -> str:
    """Return a URL without user, query and fragment, which hold signatures and tokens, fit for a message."""
    try:
        parts = urlsplit(url[:_MAX_URL])
    except ValueError:
        return "an invalid address"
    text = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return "".join(character for character in text[:200] if character.isprintable())


def follow(base: str, location: str, what: str) -> str:
    """Return the absolute URL that an answer's ``Location`` leads to; raises `RegistryRefusedError` if it must not.

    From https nothing leads to http, save on the registry's own host: there the address is what a proxy that ends TLS
    made of it, and the scheme and port that are in use are kept. Nothing leads from elsewhere to this machine.
    """
    try:
        target = urljoin(base, location)
    except ValueError:
        target = location = ""
    if not location or len(target) > _MAX_URL:
        raise RegistryRefusedError(f"the registry at {Origin.of(base)} {what} without an address")
    here, there = Origin.of(base), Origin.of(target)
    if here.scheme == "https" and there.scheme == "http":
        if there.host != here.host:
            raise RegistryRefusedError(f"{here} {what} to {clean_url(target)}, which is not encrypted: refused")
        return urlunsplit(_split(target)._replace(scheme="https", netloc=_split(base).netloc))
    if there.host != here.host and is_inside(there.host) and not is_inside(here.host):
        raise RegistryRefusedError(f"{here} {what} to {there}, an address of this machine: refused")
    return target


def check_realm(registry: Origin, realm: str, allowed: Collection[str]) -> None:
    """Raise `UnauthorizedError` unless ``realm`` may be asked for tokens, and be told credentials, of ``registry``.

    It may if it is on the same host, on a host of the same parent domain, a pair known to belong together, or in
    ``allowed``; never over plain http if the registry speaks https. Source of the field: Docker's token specification.
    """
    refused = f"the registry {registry} asks for a token from {clean_url(realm)}"
    try:
        there = Origin.of(realm)
    except RegistryRefusedError:
        raise UnauthorizedError(f"{refused}, which is not an http or https address") from None
    if registry.scheme == "https" and there.scheme == "http":
        raise UnauthorizedError(f"{refused}, which is not encrypted: nothing was sent there")
    if not (
        there.host == registry.host
        or str(there) in allowed
        or there.host in allowed
        or _same_owner(registry.host, there.host)
    ):
        raise UnauthorizedError(
            f"{refused}, a host that is not the registry's: nothing was sent there",
            next_step=f"if {there.host} is this registry's token server, set KLEVER_TOKEN_HOSTS={there.host}",
        )


def is_inside(host: str) -> bool:
    """Say whether a host, as written, is this machine or its own link: what no remote server has reason to name."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    if address is None:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified)


def _same_owner(registry: str, realm: str) -> bool:
    if _is_address(registry) or _is_address(realm):
        return False
    if realm.endswith("." + registry):
        return "." in registry
    parent = registry.partition(".")[2]
    labels = parent.split(".")
    shared = len(labels) < 2 or (len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _SHARED_SECOND_LEVELS)
    if not shared and (realm == parent or realm.endswith("." + parent)):
        return True
    return any(registry.endswith(host) and realm.endswith(token) for host, token in _KNOWN_PAIRS)


def _is_address(host: str) -> bool:
    return _address(host) is not None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is, also in the short forms that resolvers take: ``127.1``, ``0x7f000001``."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if _SHORT_ADDRESS.fullmatch(host) else None
    except OSError:
        return None


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise RegistryRefusedError("the registry names an invalid address") from None
