"""Who asks a Harbor, by which credentials, and what they may do: the administrator, robots, strangers; tokens.

What does not belong here: what is asked for.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from harbor.inventory import Inventory, RefusedError, Robot

TOKEN_SECONDS = 1800


@dataclass(frozen=True)
class User:
    """Somebody; without a name a stranger."""

    name: str = ""
    is_admin: bool = False
    robot: Robot | None = None
    #: By a token: the repositories and actions that it is good for; None for who came with a password.
    granted: frozenset[tuple[str, str]] | None = None

    @property
    def is_known(self) -> bool:
        return bool(self.name)

    def may(self, inventory: Inventory, project: str, resource: str, action: str) -> bool:
        """Say whether this user may do something in a project."""
        if self.is_admin:
            return True
        if self.robot is not None and not self.robot.disabled and self.robot.may(project, resource, action):
            return True
        found = inventory.projects.get(project)
        return found is not None and found.is_public and action in ("pull", "read", "list")

    def may_at_registry(self, inventory: Inventory, repository: str, action: str) -> bool:
        if self.granted is not None:
            return (repository, action) in self.granted
        return self.may(inventory, repository.partition("/")[0], "repository", action)

    def require(self, inventory: Inventory, project: str, resource: str, action: str) -> None:
        """Raise what the REST interface answers to who may not."""
        if not self.may(inventory, project, resource, action):
            self.refuse()

    def require_admin(self) -> None:
        if not self.is_admin:
            self.refuse()

    def refuse(self) -> None:
        if not self.is_known:
            raise RefusedError(401, "UNAUTHORIZED", "unauthorized")
        raise RefusedError(403, "FORBIDDEN", "forbidden")


STRANGER = User()


@dataclass
class Users:
    """Everybody that a Harbor knows."""

    inventory: Inventory
    admin_password: str = field(repr=False, default="Harbor12345")
    _key: bytes = field(repr=False, default_factory=lambda: os.urandom(32))

    def by_header(self, header: str) -> User:
        """Return who sends an ``Authorization``; a wrong one is a stranger's."""
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(value.strip())
        if scheme.lower() != "basic":
            return STRANGER
        try:
            name, _, password = base64.b64decode(value).decode().partition(":")
        except ValueError:
            return STRANGER
        if name == "admin" and hmac.compare_digest(password, self.admin_password):
            return User("admin", is_admin=True)
        robot = self.inventory.robots.get(name)
        if robot is not None and not robot.disabled and hmac.compare_digest(password, robot.secret):
            return User(robot.name, robot=robot)
        return STRANGER

    def make_token(self, user: User, scopes: Iterable[str]) -> dict[str, Any]:
        """Return what ``/service/token`` answers, to whoever asks: a token for what they may do of what they ask."""
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            if kind == "repository":
                allowed = [
                    each for each in actions.split(",") if each and user.may_at_registry(self.inventory, name, each)
                ]
                access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {"sub": user.name, "iat": now, "exp": now + TOKEN_SECONDS, "access": access}
        body = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        token = f"{body}.{self._sign(body)}"
        issued = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        return {"token": token, "access_token": token, "expires_in": TOKEN_SECONDS, "issued_at": issued}

    def _by_token(self, token: str) -> User:
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature, self._sign(body)):
            return STRANGER
        claims = json.loads(base64.urlsafe_b64decode(body.partition(".")[2] + "==="))
        if claims["exp"] < time.time():
            return STRANGER
        granted = frozenset((each["name"], action) for each in claims["access"] for action in each["actions"])
        return User(claims["sub"], granted=granted)

    def _sign(self, body: str) -> str:
        return base64.urlsafe_b64encode(hmac.digest(self._key, body.encode(), hashlib.sha256)).decode().rstrip("=")


def _encode(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
