"""Harbor's REST interface v2.0, as much of it as Klever and its tests use.

What does not belong here: the registry's interface below ``/v2/``, and connections.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode

from harbor.deliveries import Deliveries, Happening
from harbor.inventory import Artifact, Inventory, Policy, Project, RefusedError, shown_time
from harbor.users import User

ROOT = "/api/v2.0"
MAX_PAGE = 100
_EVENTS = {"PUSH_ARTIFACT", "PULL_ARTIFACT", "DELETE_ARTIFACT", "QUOTA_EXCEED", "QUOTA_WARNING", "REPLICATION"}
_EVENTS |= {"SCANNING_FAILED", "SCANNING_COMPLETED", "SCANNING_STOPPED", "TAG_RETENTION"}
#: The keys of a project that Harbor lets be set, all but one of them booleans.
_METADATA = {"public", "enable_content_trust", "enable_content_trust_cosign", "prevent_vul", "auto_scan", "severity"}

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Request:
    """A request, read."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: User
    id: str

    def document(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise RefusedError(400, "BAD_REQUEST", "the body is not a JSON object")
        return found


@dataclass
class Answer:
    """What goes back; ``document`` None for an empty body."""

    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Rest:
    """The interface of one Harbor."""

    inventory: Inventory
    deliveries: Deliveries
    #: As references name its registry.
    host: str

    def answer(self, request: Request) -> Answer:
        """Answer a request; raises `RefusedError`."""
        path = request.path.removeprefix(ROOT)
        for pattern, methods in _ROUTES:
            if found := re.fullmatch(pattern, path):
                if request.method not in methods:
                    raise RefusedError(405, "METHOD_NOT_ALLOWED", f"method {request.method} is not allowed")
                with self.inventory.lock:
                    return methods[request.method](self, request, **found.groupdict())
        raise RefusedError(404, "NOT_FOUND", f"path {path} was not found")

    # Projects.

    def _list_projects(self, request: Request) -> Answer:
        user = request.user
        seen = [
            project
            for project in self.inventory.projects.values()
            if user.is_admin or project.is_public or (user.robot is not None and user.robot.works_in(project.name))
        ]
        if wanted := request.query.get("name"):
            seen = [project for project in seen if wanted in project.name]
        return _paged(request, sorted(seen, key=lambda each: each.id), Project.to_json)

    def _head_project(self, request: Request) -> Answer:
        self.inventory.project(request.query.get("project_name", ""))
        return Answer()

    def _create_project(self, request: Request) -> Answer:
        if not request.user.is_admin:
            request.user.refuse()
        asked = request.document()
        project = self.inventory.add_project(asked.get("project_name", ""), asked.get("metadata"))
        return Answer(201, headers={"Location": f"{ROOT}/projects/{project.id}"})

    def _get_project(self, request: Request, project: str) -> Answer:
        found = self._project(request, project, "project", "read")
        return Answer(document=found.to_json())

    def _list_metadata(self, request: Request, project: str) -> Answer:
        return Answer(document=self._project(request, project, "metadata", "list").metadata)

    def _add_metadata(self, request: Request, project: str) -> Answer:
        found, asked = self._project(request, project, "metadata", "create"), request.document()
        if len(asked) != 1:
            raise RefusedError(400, "BAD_REQUEST", "only allow one key/value pair")
        key, value = next(iter(asked.items()))
        if key not in _METADATA:
            raise RefusedError(400, "BAD_REQUEST", f"invalid key: {key}")
        found.metadata[key] = str(value)
        return Answer()

    # Artifacts.

    def _list_repositories(self, request: Request, project: str) -> Answer:
        found = self._project(request, project, "repository", "list")
        return _paged(request, _newest(found.repositories.values()), lambda each: each.to_json())

    def _list_all_artifacts(self, request: Request, project: str) -> Answer:
        found = self._project(request, project, "artifact", "list")
        artifacts = [one for repository in found.repositories.values() for one in repository.listed()]
        return self._listed(request, artifacts)

    def _list_artifacts(self, request: Request, project: str, repository: str) -> Answer:
        self._project(request, project, "artifact", "list")
        return self._listed(request, self.inventory.repository(_name(project, repository)).listed())

    def _listed(self, request: Request, artifacts: list[Artifact]) -> Answer:
        tagged = dict(part.partition("=")[::2] for part in request.query.get("q", "").split(",")).get("tags")
        if tagged is not None:
            artifacts = [each for each in artifacts if bool(each.tags) is (tagged == "*")]
        with_tag = request.query.get("with_tag", "true") == "true"
        return _paged(request, _newest(artifacts), lambda each: each.to_json(with_tag=with_tag))

    def _get_artifact(self, request: Request, project: str, repository: str, reference: str) -> Answer:
        return Answer(document=self._artifact(request, project, repository, reference, "read").to_json())

    def _delete_artifact(self, request: Request, project: str, repository: str, reference: str) -> Answer:
        artifact = self._artifact(request, project, repository, reference, "delete")
        for tag in self.inventory.delete_artifact(artifact) or [None]:
            happened = Happening("DELETE_ARTIFACT", artifact.repository, artifact.digest, tag, request.user.name)
            self.deliveries.announce(happened, request.id)
        return Answer()

    def _create_tag(self, request: Request, project: str, repository: str, reference: str) -> Answer:
        self._project(request, project, "tag", "create")
        artifact = self.inventory.artifact(_name(project, repository), unquote(reference))
        name = str(request.document().get("name"))
        if name in artifact.repository.tags:
            raise RefusedError(409, "CONFLICT", f"tag {name} already exists")
        # No event goes out: a webhook of Harbor tells of pushes alone.
        self.inventory.set_tag(artifact, name)
        return Answer(201)

    # Robots.

    def _list_robots(self, request: Request) -> Answer:
        request.user.require_admin()
        asked = dict(part.partition("=")[::2] for part in request.query.get("q", "").split(",") if part)
        level, project = asked.get("Level", "system"), int(asked.get("ProjectID", 0))
        robots = [one for one in self.inventory.robots.values() if (one.level, one.project) == (level, project)]
        return _paged(request, _newest(robots), lambda each: each.to_json())

    def _create_robot(self, request: Request) -> Answer:
        request.user.require_admin()
        asked = request.document()
        projects = {name: found.id for name, found in self.inventory.projects.items()}
        for each in asked.get("permissions") or ():
            if each.get("namespace") not in {"*", *projects}:
                raise RefusedError(404, "NOT_FOUND", f"project {each.get('namespace')} not found")
        robot = self.inventory.add_robot(asked, projects)
        document = {
            "creation_time": shown_time(robot.created),
            "expires_at": -1,
            "id": robot.id,
            "name": robot.name,
            "secret": robot.secret,
        }
        return Answer(201, document, {"Location": f"{ROOT}/robots/{robot.id}"})

    def _get_robot(self, request: Request, number: str) -> Answer:
        request.user.require_admin()
        return Answer(document=self.inventory.robot(int(number)).to_json())

    def _update_robot(self, request: Request, number: str) -> Answer:
        request.user.require_admin()
        robot, asked = self.inventory.robot(int(number)), request.document()
        if asked.get("name") != robot.name or asked.get("level") != robot.level:
            raise RefusedError(400, "BAD_REQUEST", "cannot update the level or name of robot")
        if not asked.get("permissions"):
            raise RefusedError(400, "BAD_REQUEST", "bad request empty permission")
        robot.permissions = list(asked["permissions"])
        robot.description = str(asked.get("description") or "")
        robot.disabled = bool(asked.get("disable"))
        robot.duration = int(asked.get("duration") or -1)
        return Answer()

    def _refresh_robot(self, request: Request, number: str) -> Answer:
        request.user.require_admin()
        robot, secret = self.inventory.robot(int(number)), request.document().get("secret")
        if not secret:
            from harbor.inventory import new_secret

            robot.secret = new_secret()
            return Answer(document={"secret": robot.secret})
        if not all(re.search(kind, secret) for kind in ("[a-z]", "[A-Z]", "[0-9]", ".{8}")):
            raise RefusedError(
                400,
                "BAD_REQUEST",
                "the secret must longer than 8 chars with at least 1 uppercase letter, 1 lowercase letter and 1 number",
            )
        robot.secret = secret
        return Answer(document={})

    def _delete_robot(self, request: Request, number: str) -> Answer:
        request.user.require_admin()
        del self.inventory.robots[self.inventory.robot(int(number)).name]
        return Answer()

    # Webhook policies.

    def _list_policies(self, request: Request, project: str) -> Answer:
        found = self._project(request, project, "notification-policy", "list")
        policies = [each for each in self.inventory.policies.values() if each.project is found]
        return _paged(request, _newest(policies), Policy.to_json)

    def _create_policy(self, request: Request, project: str) -> Answer:
        found = self._project(request, project, "notification-policy", "create")
        policy = self.inventory.add_policy(found, _checked_policy(request.document()))
        return Answer(201, headers={"Location": f"{ROOT}/projects/{project}/webhook/policies/{policy.id}"})

    def _get_policy(self, request: Request, project: str, number: str) -> Answer:
        found = self._project(request, project, "notification-policy", "read")
        return Answer(document=self.inventory.policy(found, int(number)).to_json())

    def _update_policy(self, request: Request, project: str, number: str) -> Answer:
        found = self._project(request, project, "notification-policy", "update")
        policy = self.inventory.policy(found, int(number))
        policy.document = _checked_policy(request.document())
        policy.updated = time.time()
        return Answer()

    def _delete_policy(self, request: Request, project: str, number: str) -> Answer:
        found = self._project(request, project, "notification-policy", "delete")
        del self.inventory.policies[self.inventory.policy(found, int(number)).id]
        return Answer()

    def _list_executions(self, request: Request, project: str, number: str) -> Answer:
        found = self._project(request, project, "notification-policy", "read")
        policy = self.inventory.policy(found, int(number))
        runs = [run for run in self.inventory.executions.values() if run.policy is policy]
        refresh = self.deliveries.manner.refresh_seconds
        return _paged(request, _newest(runs), lambda run: run.to_json(refresh))

    # The whole.

    def _current_user(self, request: Request) -> Answer:
        user = request.user
        if user.robot is not None:
            message = "get current user not available for security context: robot"
            raise RefusedError(412, "PRECONDITION", message)
        if not user.is_known:
            user.refuse()
        return Answer(
            document={
                "admin_role_in_auth": False,
                "comment": "admin user",
                "creation_time": shown_time(0),
                "realname": "system admin",
                "sysadmin_flag": True,
                "update_time": shown_time(0),
                "user_id": 1,
                "username": "admin",
            }
        )

    def _system(self, request: Request) -> Answer:
        document: dict[str, Any] = {
            "auth_mode": "db_auth",
            "banner_message": "",
            "harbor_version": "-",
            "oidc_provider_name": "",
            "primary_auth_mode": False,
            "self_registration": False,
        }
        if request.user.is_known:
            document |= {
                "current_time": shown_time(time.time()),
                "external_url": f"http://{self.host}",
                "has_ca_root": False,
                "notification_enable": True,
                "project_creation_restriction": "everyone",
                "read_only": False,
                "registry_storage_provider_name": "filesystem",
                "registry_url": self.host,
            }
        return Answer(document=document)

    def _configurations(self, request: Request) -> Answer:
        request.user.require_admin()
        return Answer(document={"robot_name_prefix": {"editable": True, "value": "robot$"}})

    # How the above is done.

    def _project(self, request: Request, name: str, resource: str, action: str) -> Project:
        """Return a project in which the user may do something; whether it is there only such a one learns."""
        by_name = request.headers.get("X-Is-Resource-Name", "").lower() == "true"
        name = unquote(name)
        if request.user.is_admin:
            return self.inventory.project(name, by_name=by_name)
        request.user.require(self.inventory, name, resource, action)
        return self.inventory.project(name, by_name=by_name)

    def _artifact(self, request: Request, project: str, repository: str, reference: str, action: str) -> Artifact:
        self._project(request, project, "artifact", action)
        return self.inventory.artifact(_name(project, repository), unquote(reference))


def _name(project: str, repository: str) -> str:
    """Return the whole name of a repository whose part within its project is encoded twice."""
    return f"{unquote(project)}/{unquote(unquote(repository))}"


def _newest(entries: Iterable[Any]) -> list[Any]:
    return sorted(entries, key=lambda each: -each.id)


def _checked_policy(document: dict[str, Any]) -> dict[str, Any]:
    targets = document.get("targets") or []
    if not targets:
        raise RefusedError(400, "BAD_REQUEST", f"empty notification target with policy {document.get('name')}")
    for kind in document.get("event_types") or [""]:
        if kind not in _EVENTS:
            raise RefusedError(400, "BAD_REQUEST", f"unsupported event type {kind}")
    checked = []
    for target in targets:
        address = re.match(r"https?://[^/?#]+[^?#]*", str(target.get("address")))
        if address is None:
            raise RefusedError(400, "BAD_REQUEST", "invalid address")
        if target.get("payload_format", "") not in ("", "Default", "CloudEvents"):
            raise RefusedError(400, "BAD_REQUEST", f"unsupported payload format type: {target['payload_format']}")
        checked.append({**target, "address": address[0], "payload_format": target.get("payload_format") or "Default"})
    return {**document, "targets": checked}


def _paged(request: Request, entries: list[Entry], show: Callable[[Entry], dict[str, Any]]) -> Answer:
    """Return a page of a listing, with the headers that tell of the others."""
    page, size = int(request.query.get("page", 1)), int(request.query.get("page_size", 10))
    if size > MAX_PAGE:
        raise RefusedError(422, "UNPROCESSABLE_ENTITY", "page_size in query should be less than or equal to 100")
    total = len(entries)
    links = []
    if page > 1 and (page - 1) * size < total:
        links.append((page - 1, "prev"))
    if page * size < total:
        links.append((page + 1, "next"))
    headers = {"X-Total-Count": str(total)}
    if links:
        headers["Link"] = " , ".join(
            f'<{request.path}?{urlencode(sorted({**request.query, "page": n, "page_size": size}.items()))}>; rel="{rel}"'
            for n, rel in links
        )
    return Answer(document=[show(each) for each in entries[(page - 1) * size : page * size]], headers=headers)


def read_query(text: str) -> dict[str, str]:
    """Return a query's parameters, the last where one is repeated."""
    return dict(parse_qsl(text, keep_blank_values=True))


_PART = "[^/]+"
_P = rf"/projects/(?P<project>{_PART})"
_A = rf"{_P}/repositories/(?P<repository>{_PART})/artifacts"
_W = rf"{_P}/webhook/policies"
_Route = Callable[..., Answer]
_ROUTES: tuple[tuple[str, dict[str, _Route]], ...] = (
    ("/projects", {"GET": Rest._list_projects, "HEAD": Rest._head_project, "POST": Rest._create_project}),
    (_P, {"GET": Rest._get_project}),
    (rf"{_P}/metadatas/?", {"GET": Rest._list_metadata, "POST": Rest._add_metadata}),
    (rf"{_P}/repositories", {"GET": Rest._list_repositories}),
    (rf"{_P}/artifacts", {"GET": Rest._list_all_artifacts}),
    (_A, {"GET": Rest._list_artifacts}),
    (rf"{_A}/(?P<reference>{_PART})", {"GET": Rest._get_artifact, "DELETE": Rest._delete_artifact}),
    (rf"{_A}/(?P<reference>{_PART})/tags", {"POST": Rest._create_tag}),
    ("/robots", {"GET": Rest._list_robots, "POST": Rest._create_robot}),
    (
        r"/robots/(?P<number>\d+)",
        {
            "GET": Rest._get_robot,
            "PUT": Rest._update_robot,
            "PATCH": Rest._refresh_robot,
            "DELETE": Rest._delete_robot,
        },
    ),
    (_W, {"GET": Rest._list_policies, "POST": Rest._create_policy}),
    (
        rf"{_W}/(?P<number>\d+)",
        {"GET": Rest._get_policy, "PUT": Rest._update_policy, "DELETE": Rest._delete_policy},
    ),
    (rf"{_W}/(?P<number>\d+)/executions", {"GET": Rest._list_executions}),
    ("/users/current", {"GET": Rest._current_user}),
    ("/systeminfo", {"GET": Rest._system}),
    ("/configurations", {"GET": Rest._configurations}),
)
