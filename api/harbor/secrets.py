"""The Kubernetes secrets by which an installation reaches Harbor, and Harbor reaches it.

    klever-harbor     username, password    the robot, for the server and the relist
    klever-registry   .dockerconfigjson     the same robot, for pods; other registries' entries stay
    klever-hook       authorization         what Harbor sends with its events

What does not belong here: where they are kept (`klever.api.harbor.keeping`).
"""

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from klever.steps.errors import PermanentError
from klever.steps.oci.credentials import Credentials

HARBOR, REGISTRY, HOOK = "klever-harbor", "klever-registry", "klever-hook"
_OPAQUE: Final = "Opaque"
_DOCKER: Final = "kubernetes.io/dockerconfigjson"
_TYPES: Final = {HARBOR: _OPAQUE, REGISTRY: _DOCKER, HOOK: _OPAQUE}
_DOCKER_KEY: Final = ".dockerconfigjson"
_LABELS: Final = {"app.kubernetes.io/name": "klever", "app.kubernetes.io/part-of": "klever"}
#: Marks `HARBOR` from before Harbor is asked for a new secret until it is kept: whoever was interrupted between the two
#: may ask for another, as nobody has the first.
_PENDING: Final = "kleveross.io/pending"
#: Of the text that comes with events, in bytes before it is written as text.
_HOOK_BYTES: Final = 32

Document = dict[str, Any]


class SecretUnusableError(PermanentError):
    """A Kubernetes secret has another type or content than its name promises."""


def build_harbor(namespace: str, credentials: Credentials, *, pending: bool = False) -> Document:
    """Return the secret with the robot's name and password."""
    data = {"username": credentials.username, "password": credentials.password}
    return _secret(HARBOR, namespace, data, {_PENDING: "robot"} if pending else {})


def build_registry(namespace: str, host: str, credentials: Credentials, before: Document | None) -> Document:
    """Return the secret with the robot's credentials for a registry beside what was in it ``before``."""
    config = _docker_config(before) if before else {}
    config["auths"] = {**(config.get("auths") or {}), host: {"auth": credentials.basic}}
    return _secret(REGISTRY, namespace, {_DOCKER_KEY: json.dumps(config, sort_keys=True)})


def build_hook(namespace: str, authorization: str) -> Document:
    """Return the secret with what Harbor sends."""
    return _secret(HOOK, namespace, {"authorization": authorization})


def new_authorization() -> str:
    """Return a new text for the header ``Authorization``."""
    return f"Bearer {secrets.token_urlsafe(_HOOK_BYTES)}"


def read_harbor(document: Document) -> Credentials:
    """Return the robot's name and password; both may be empty."""
    return Credentials(_text(document, "username"), _text(document, "password"))


def read_registry(document: Document, host: str) -> Credentials | None:
    """Return the credentials for a registry; None where there are none."""
    entry = (_docker_config(document).get("auths") or {}).get(host)
    if not isinstance(entry, dict):
        return None
    try:
        username, _, password = base64.b64decode(entry.get("auth") or "", validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
        username = password = ""
    username, password = username or entry.get("username") or "", password or entry.get("password") or ""
    if not (isinstance(username, str) and isinstance(password, str) and username and password):
        return None
    return Credentials(username, password)


def read_hook(document: Document) -> str:
    """Return what Harbor is to send; empty where the secret does not have it.

    Each line is a text that the server accepts, the first one is told to Harbor.
    """
    return next((line.strip() for line in _text(document, "authorization").splitlines() if line.strip()), "")


def is_pending(document: Document) -> bool:
    """Say whether somebody was about to replace the robot's password and did not come to it."""
    return _PENDING in ((document.get("metadata") or {}).get("annotations") or {})


def check(document: Document) -> None:
    """Raise `SecretUnusableError` for a secret of another type than its name promises; Kubernetes changes no type."""
    name, namespace = document["metadata"]["name"], document["metadata"].get("namespace", "")
    found, expected = document.get("type") or _OPAQUE, _TYPES[name]
    if found != expected:
        raise SecretUnusableError(
            f"the secret {name} in namespace {namespace} has the type {found}, expected {expected}",
            stage="secrets",
            next_step=f"delete it, unless something else needs it, and run klever harbor setup again: "
            f"kubectl delete secret {name} -n {namespace}",
        )


def same(one: Document, other: Document) -> bool:
    """Say whether two secrets of one name mean the same."""
    if one["metadata"]["name"] == REGISTRY:
        return _docker_config(one) == _docker_config(other)
    return _texts(one) == _texts(other) and is_pending(one) == is_pending(other)


def _secret(
    name: str, namespace: str, data: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> Document:
    metadata: Document = {"name": name, "namespace": namespace, "labels": dict(_LABELS)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": _TYPES[name],
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def _docker_config(document: Document) -> Document:
    text = _text(document, _DOCKER_KEY)
    try:
        config = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        config = None
    auths = config.get("auths", {}) if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(auths, dict | None):
        metadata = document["metadata"]
        raise SecretUnusableError(
            f"the secret {metadata['name']} in namespace {metadata.get('namespace', '')} holds no Docker configuration",
            stage="secrets",
            next_step=f"correct it, or delete it: kubectl delete secret {metadata['name']}",
        )
    return config


def _texts(document: Document) -> dict[str, str]:
    return {key: _text(document, key) for key in document.get("data") or {}}


def _text(document: Document, key: str) -> str:
    """Return a value as text; empty for none, and for what is no text."""
    try:
        return base64.b64decode((document.get("data") or {}).get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
        return ""
