"""Robot accounts: the one that Klever works by, found, made, and given what it needs in each project.

A robot of level ``project`` belongs to one project, whose administrator may make it; one of level ``system`` may work
in several, and takes an administrator of Harbor. Both have rights in projects alone. What does not belong here: where
its secret is kept. Source: swagger of Harbor 2.16; recording ``robot-create``; what a request may hold is checked in
Harbor's ``src/server/v2.0/handler/robot.go``.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from klever.api.harbor import errors
from klever.api.harbor.client import Document, Harbor, path_of
from klever.steps.errors import PermanentError

PROJECT, SYSTEM = "project", "system"
#: What steps, server and relist do in a project, and no more: pull and push models, and see what there is. A tag is
#: put on a model by pushing its manifest; ``tag create`` is for those that are put through the REST interface.
RIGHTS: Final = frozenset(
    {
        ("artifact", "list"),
        ("artifact", "read"),
        ("repository", "list"),
        ("repository", "pull"),
        ("repository", "push"),
        ("tag", "create"),
        ("tag", "list"),
    }
)
#: It does not expire: --rotate makes a new secret when somebody decides so.
_FOREVER: Final = -1
_PREFIX: Final = "robot$"
_DESCRIPTION: Final = "Klever: reads the signatures of models, converts them, and finds those that no event told of."


class RobotDisabledError(PermanentError):
    """Somebody has disabled the robot, or it has expired; setting it up again must not undo that."""


class Robot(NamedTuple):
    """A robot account."""

    id: int
    #: As it logs in: ``robot$release+klever``.
    name: str
    level: str
    disabled: bool
    #: By project.
    rights: Mapping[str, frozenset[tuple[str, str]]]
    document: Document


@dataclass(frozen=True)
class Made:
    """A robot that was made, with the secret that Harbor tells once."""

    name: str
    secret: str = field(repr=False)


def find(harbor: Harbor, name: str, projects: Mapping[str, int]) -> Robot | None:
    """Return the robot ``name`` that is meant for projects, given with their ids; None where there is none.

    For one project that is its own robot, or else one of the whole Harbor; for several only the latter.
    """
    if len(projects) == 1:
        ((_, number),) = projects.items()
        query = {"q": f"Level={PROJECT},ProjectID={number}"}
        for document in harbor.list_all("/robots", query):
            # A robot's own name cannot hold a plus sign.
            if str(document.get("name", "")).rpartition("+")[2] == name:
                return _read(document)
    return _of_the_system(harbor, name, needed=len(projects) > 1)


def make(harbor: Harbor, name: str, projects: Iterable[str]) -> Made:
    """Create the robot, of level ``project`` for one project; raises `HarborConflictError` where the name is taken."""
    names = sorted(projects)
    created = harbor.create(
        "/robots",
        {
            "name": name,
            "description": _DESCRIPTION,
            "level": PROJECT if len(names) == 1 else SYSTEM,
            "duration": _FOREVER,
            "permissions": [_permission(project, RIGHTS) for project in names],
        },
    ).document
    login, secret = created.get("name"), created.get("secret")
    if not isinstance(login, str) or not isinstance(secret, str) or not login or not secret:
        raise errors.HarborRefusedError("Harbor made a robot without telling its name and secret", stage="robot")
    return Made(login, secret)


def lacks(robot: Robot, projects: Iterable[str]) -> list[str]:
    """Return the projects in which the robot may do less, or more, than `RIGHTS`."""
    return [project for project in sorted(projects) if robot.rights.get(project, frozenset()) != RIGHTS]


def grant(harbor: Harbor, robot: Robot, projects: Iterable[str]) -> None:
    """Give the robot `RIGHTS` in the projects, neither more nor less; what it may do in others stays as it is."""
    granted = set(projects)
    others = [each for each in _permissions(robot.document) if each.get("namespace") not in granted]
    # Name and level have to be as Harbor gives them, and what is not said of the others it would set to nothing.
    known = {
        key: robot.document[key] for key in ("id", "name", "level", "duration", "disable") if key in robot.document
    }
    document = known | {
        "description": robot.document.get("description", ""),
        "permissions": [*others, *(_permission(project, RIGHTS) for project in sorted(granted))],
    }
    harbor.replace(path_of("robots", str(robot.id)), document)


def refresh_secret(harbor: Harbor, robot: Robot) -> str:
    """Have Harbor make a new secret for the robot, and return it; the old one is worth nothing from then on."""
    answer = harbor.change(path_of("robots", str(robot.id)), {"secret": ""})
    secret = answer.get("secret") if isinstance(answer, dict) else None
    if not isinstance(secret, str) or not secret:
        raise errors.HarborRefusedError("Harbor made a new secret for the robot and did not tell it", stage="robot")
    return secret


def check_usable(robot: Robot) -> None:
    """Raise `RobotDisabledError` for a robot that cannot log in whatever its secret."""
    if robot.disabled:
        raise RobotDisabledError(
            f"the robot {robot.name} is disabled in Harbor",
            stage="robot",
            next_step="enable it in Harbor if that was not on purpose, or choose another with --robot-name",
        )
    expires = robot.document.get("expires_at", _FOREVER)
    if isinstance(expires, int) and 0 < expires < time.time():
        raise RobotDisabledError(
            f"the robot {robot.name} has expired",
            stage="robot",
            next_step="give it another duration in Harbor, or delete it there, then run this again",
        )


def _of_the_system(harbor: Harbor, name: str, *, needed: bool) -> Robot | None:
    try:
        # Robots without a level in the query are those of the system.
        named = {str(each.get("name", "")): each for each in harbor.list_all("/robots")}
    except errors.HarborUnauthorizedError as error:
        if not needed:
            # An administrator of the one project, who makes its own.
            return None
        error.next_step = (
            "a robot for several projects takes an administrator of Harbor: log in as one, or run this once for each"
            " project, with a --robot-name and namespaces of its own"
        )
        raise
    close = [login for login in named if login.endswith(name) and "+" not in login]
    prefix = _PREFIX if not close or _PREFIX + name in named else _prefix(harbor)
    found = named.get(prefix + name)
    return _read(found) if found else None


def _prefix(harbor: Harbor) -> str:
    """Return what stands before the names of robots, which an administrator may change."""
    try:
        document = harbor.get("/configurations")
        return str(document["robot_name_prefix"]["value"])
    except (errors.HarborNotFoundError, errors.HarborUnauthorizedError, LookupError, TypeError):
        return _PREFIX


def _read(document: Document) -> Robot:
    rights = {
        str(each.get("namespace", "")): frozenset(
            (str(right.get("resource", "")), str(right.get("action", "")))
            for right in each.get("access") or ()
            if isinstance(right, dict)
        )
        for each in _permissions(document)
        if each.get("kind") == PROJECT
    }
    try:
        return Robot(
            int(document["id"]),
            str(document["name"]),
            str(document.get("level") or ""),
            bool(document.get("disable")),
            rights,
            document,
        )
    except (LookupError, TypeError, ValueError):
        raise errors.HarborRefusedError("Harbor lists a robot without an id", stage="robot") from None


def _permissions(document: Document) -> Iterator[dict[str, Any]]:
    return (each for each in document.get("permissions") or () if isinstance(each, dict))


def _permission(project: str, rights: Iterable[tuple[str, str]]) -> dict[str, Any]:
    access = [{"resource": resource, "action": action} for resource, action in sorted(rights)]
    return {"kind": PROJECT, "namespace": project, "access": access}
