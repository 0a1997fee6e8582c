"""What a Harbor knows: projects, repositories, artifacts with their tags, robots, webhook policies and what they sent.

What does not belong here: HTTP. Source of every field: ``harbor-recordings`` and the swagger of Harbor 2.16.
"""

import hashlib
import itertools
import json
import re
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

ZERO_TIME = "0001-01-01T00:00:00.000Z"
#: The icon of every artifact whose type Harbor has no other for.
ICON = "sha256:da834479c923584f4cbcdecc0dac61f32bef1d51e8aae598cf16bd154efab49f"
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_TYPE = re.compile(r"application/vnd\.[^.]*\.(.*)\.config\.[^.]*\+json")
_IMAGES = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json", *INDEXES)
_PROJECT = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_ROBOT = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
#: The latest of these executions is told as running until Harbor looks again.
EXECUTIONS_KEPT = 100_000


class RefusedError(Exception):
    """An answer that is no success: a status, Harbor's code and words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def shown_time(seconds: float) -> str:
    """Return a time as Harbor writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass
class Tag:
    id: int
    name: str
    artifact: "Artifact"
    pushed: float

    def to_json(self) -> dict[str, Any]:
        return {
            "artifact_id": self.artifact.id,
            "id": self.id,
            "immutable": False,
            "name": self.name,
            "pull_time": ZERO_TIME,
            "push_time": shown_time(self.pushed),
            "repository_id": self.artifact.repository.id,
        }


@dataclass
class Artifact:
    id: int
    repository: "Repository"
    digest: str
    manifest_type: str
    media_type: str
    artifact_type: str
    #: Of the manifest alone, and with what it names, in bytes.
    manifest_size: int
    size: int
    extra: dict[str, Any] | None
    annotations: dict[str, str]
    subject: str | None
    children: list[dict[str, Any]]
    pushed: float

    @property
    def tags(self) -> list[Tag]:
        return [tag for tag in self.repository.tags.values() if tag.artifact is self]

    def to_json(self, *, with_tag: bool = True) -> dict[str, Any]:
        kind = _TYPE.fullmatch(self.media_type)
        document: dict[str, Any] = {
            "accessories": None,
            "artifact_type": self.artifact_type,
            "digest": self.digest,
            "icon": ICON,
            "id": self.id,
            "labels": None,
            "manifest_media_type": self.manifest_type,
            "media_type": self.media_type,
            "project_id": self.repository.project.id,
            "pull_time": ZERO_TIME,
            "push_time": shown_time(self.pushed),
            "references": self.children or None,
            "repository_id": self.repository.id,
            "repository_name": self.repository.name,
            "size": self.size,
            "tags": None,
            "type": kind[1].upper() if kind else "IMAGE" if self.media_type in _IMAGES else "UNKNOWN",
        }
        if self.extra is not None:
            document["extra_attrs"] = self.extra
        if self.annotations:
            document["annotations"] = self.annotations
        if with_tag:
            newest = sorted(self.tags, key=lambda tag: -tag.id)
            document["tags"] = [tag.to_json() for tag in newest] or None
        return document


@dataclass
class Repository:
    id: int
    name: str
    project: "Project"
    created: float
    updated: float
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)

    def listed(self) -> list[Artifact]:
        """Return what a listing shows: not what hangs on another artifact."""
        return [each for each in self.artifacts.values() if each.subject is None]

    def to_json(self) -> dict[str, Any]:
        return {
            "artifact_count": len(self.listed()),
            "creation_time": shown_time(self.created),
            "id": self.id,
            "name": self.name,
            "project_id": self.project.id,
            "pull_count": 0,
            "update_time": shown_time(self.updated),
        }


@dataclass
class Project:
    id: int
    name: str
    metadata: dict[str, str]
    created: float
    repositories: dict[str, Repository] = field(default_factory=dict)

    @property
    def is_public(self) -> bool:
        return self.metadata.get("public") == "true"

    def to_json(self) -> dict[str, Any]:
        return {
            "creation_time": shown_time(self.created),
            "current_user_role_id": 1,
            "current_user_role_ids": [1],
            "cve_allowlist": {
                "creation_time": ZERO_TIME,
                "id": self.id,
                "items": [],
                "project_id": self.id,
                "update_time": ZERO_TIME,
            },
            "metadata": self.metadata,
            "name": self.name,
            "owner_id": 1,
            "owner_name": "admin",
            "project_id": self.id,
            "repo_count": len(self.repositories),
            "update_time": shown_time(self.created),
        }


@dataclass
class Robot:
    id: int
    name: str
    secret: str
    level: str
    description: str
    duration: int
    disabled: bool
    permissions: list[dict[str, Any]]
    project: int
    created: float

    def may(self, project: str, resource: str, action: str) -> bool:
        for each in self.permissions:
            if each.get("kind") == "project" and each.get("namespace") in (project, "*"):
                for right in each.get("access") or ():
                    if right.get("resource") == resource and right.get("action") in (action, "*"):
                        return True
        return False

    def works_in(self, project: str) -> bool:
        return any(each.get("namespace") in (project, "*") for each in self.permissions)

    def to_json(self) -> dict[str, Any]:
        return {
            "creation_time": shown_time(self.created),
            "description": self.description,
            "disable": self.disabled,
            "duration": self.duration,
            "editable": True,
            "expires_at": -1,
            "id": self.id,
            "level": self.level,
            "name": self.name,
            "permissions": self.permissions,
            "update_time": shown_time(self.created),
        }


@dataclass
class Policy:
    id: int
    project: Project
    document: dict[str, Any]
    created: float
    updated: float

    @property
    def enabled(self) -> bool:
        return bool(self.document.get("enabled"))

    def to_json(self) -> dict[str, Any]:
        return {
            "creation_time": shown_time(self.created),
            "enabled": self.enabled,
            "event_types": self.document["event_types"],
            "id": self.id,
            "name": self.document["name"],
            "project_id": self.project.id,
            "targets": [
                {"skip_cert_verify": False, **{key: value for key, value in target.items() if value != ""}}
                for target in self.document["targets"]
            ],
            "update_time": shown_time(self.updated),
            **({"description": text} if (text := self.document.get("description")) else {}),
        }


@dataclass
class Execution:
    id: int
    policy: Policy
    event_type: str
    payload: str
    started: float
    #: None while there is something to send.
    succeeded: bool | None = None
    ended: float = 0.0

    def to_json(self, refresh_seconds: float) -> dict[str, Any]:
        final = self.succeeded is not None and time.time() - self.ended > refresh_seconds
        count = {None: "pending", True: "success", False: "error"}[self.succeeded]
        return {
            "end_time": _seconds(self.ended) if final else "0001-01-01T00:00:00Z",
            "extra_attrs": {"event_type": self.event_type, "payload": self.payload},
            "id": self.id,
            "metrics": {f"{count}_task_count": 1, "task_count": 1},
            "start_time": _seconds(self.started),
            "status": ("Success" if self.succeeded else "Error") if final else "Running",
            "trigger": "EVENT",
            "vendor_id": self.policy.id,
            "vendor_type": "WEBHOOK",
        }


def _seconds(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Inventory:
    """All of it, for several threads: whoever changes or walks it holds `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.projects: dict[str, Project] = {}
        self.robots: dict[str, Robot] = {}
        self.policies: dict[int, Policy] = {}
        self.executions: dict[int, Execution] = {}
        self._ids = {
            kind: itertools.count(1) for kind in ["project", "repository", "artifact", "tag", "robot", "policy", "run"]
        }
        self.add_project("library", {"public": "true"})

    # Projects.

    def project(self, name: str, *, by_name: bool = True) -> Project:
        """Return a project by its name; by its id where that is a number and ``by_name`` is False."""
        found = self.projects.get(name)
        if not by_name and name.isdigit():
            found = next((each for each in self.projects.values() if each.id == int(name)), None)
        if found is None:
            raise RefusedError(404, "NOT_FOUND", f"project {name} not found")
        return found

    def add_project(self, name: str, metadata: Mapping[str, str] | None = None) -> Project:
        with self.lock:
            if not isinstance(name, str) or not _PROJECT.fullmatch(name):
                raise RefusedError(
                    400, "BAD_REQUEST", "project name is not in lower case or contains illegal characters"
                )
            if name in self.projects:
                raise RefusedError(409, "CONFLICT", f"The project named {name} already exists")
            project = Project(next(self._ids["project"]), name, {"public": "false", **(metadata or {})}, time.time())
            self.projects[name] = project
            return project

    # Artifacts.

    def repository(self, name: str) -> Repository:
        project, _, _ = name.partition("/")
        with self.lock:
            found = self.projects[project].repositories.get(name) if project in self.projects else None
            if found is None:
                raise RefusedError(404, "NOT_FOUND", f"repository {name} not found")
            return found

    def artifact(self, repository: str, reference: str) -> Artifact:
        """Return the artifact under a tag or digest."""
        sign = "@" if ":" in reference else ":"
        with self.lock:
            try:
                held = self.repository(repository)
                return held.artifacts[reference] if ":" in reference else held.tags[reference].artifact
            except (RefusedError, LookupError):
                raise RefusedError(404, "NOT_FOUND", f"artifact {repository}{sign}{reference} not found") from None

    def ensure_artifact(
        self, name: str, manifest: bytes, manifest_type: str, extra: dict[str, Any] | None, tag: str | None
    ) -> Artifact:
        """Keep what was pushed: repository, artifact, tag; as ``artifact.Ctl.Ensure`` does."""
        digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
        with self.lock:
            now = time.time()
            project = self.projects[name.partition("/")[0]]
            repository = project.repositories.get(name)
            if repository is None:
                repository = Repository(next(self._ids["repository"]), name, project, now, now)
                project.repositories[name] = repository
            artifact = repository.artifacts.get(digest)
            if artifact is None:
                document = json.loads(manifest)
                artifact = _read(next(self._ids["artifact"]), repository, digest, document, manifest_type, manifest)
                artifact.extra = extra
                repository.artifacts[digest] = artifact
            if tag is not None:
                self.set_tag(artifact, tag)
            repository.updated = now
            return artifact

    def set_tag(self, artifact: Artifact, name: str) -> Tag:
        with self.lock:
            tags = artifact.repository.tags
            if name not in tags:
                tags[name] = Tag(next(self._ids["tag"]), name, artifact, time.time())
            elif tags[name].artifact is not artifact:
                tags[name].artifact, tags[name].pushed = artifact, time.time()
            return tags[name]

    def delete_artifact(self, artifact: Artifact) -> list[str]:
        """Remove an artifact and return the tags that it had."""
        with self.lock:
            gone = [tag.name for tag in artifact.tags]
            for name in gone:
                del artifact.repository.tags[name]
            artifact.repository.artifacts.pop(artifact.digest, None)
            return gone

    def needs_config(self, document: Mapping[str, Any]) -> bool:
        """Say whether Harbor reads the config into ``extra_attrs``."""
        config = document.get("config")
        return isinstance(config, dict) and bool(_TYPE.fullmatch(str(config.get("mediaType"))))

    # Robots.

    def add_robot(self, asked: Mapping[str, Any], project_ids: Mapping[str, int]) -> Robot:
        name, level = str(asked.get("name")), asked.get("level")
        permissions = asked.get("permissions")
        if not _ROBOT.fullmatch(name):
            raise RefusedError(400, "BAD_REQUEST", "robot name is not in lower case or contains illegal characters")
        if level not in ("project", "system"):
            raise RefusedError(400, "BAD_REQUEST", f"bad request error level input: {level}")
        if not permissions or not all(each.get("access") for each in permissions):
            raise RefusedError(400, "BAD_REQUEST", "bad request empty permission")
        if level == "project" and len(permissions) > 1:
            raise RefusedError(400, "BAD_REQUEST", "bad request permission")
        project = project_ids[permissions[0]["namespace"]] if level == "project" else 0
        inner = f"{permissions[0]['namespace']}+{name}" if level == "project" else name
        with self.lock:
            if f"robot${inner}" in self.robots:
                raise RefusedError(409, "CONFLICT", f"robot account {project}:{inner} already exists")
            robot = Robot(
                next(self._ids["robot"]),
                f"robot${inner}",
                new_secret(),
                level,
                str(asked.get("description") or ""),
                int(asked.get("duration") or -1),
                False,
                list(permissions),
                project,
                time.time(),
            )
            self.robots[robot.name] = robot
            return robot

    def robot(self, number: int) -> Robot:
        with self.lock:
            for robot in self.robots.values():
                if robot.id == number:
                    return robot
        raise RefusedError(404, "NOT_FOUND", f"robot {number} not found")

    # Webhooks.

    def add_policy(self, project: Project, document: Mapping[str, Any]) -> Policy:
        with self.lock:
            name = document.get("name")
            if any(each.project is project and each.document["name"] == name for each in self.policies.values()):
                raise RefusedError(409, "CONFLICT", f"notification policy named {name} already exists")
            now = time.time()
            policy = Policy(next(self._ids["policy"]), project, dict(document), now, now)
            self.policies[policy.id] = policy
            return policy

    def policy(self, project: Project, number: int) -> Policy:
        with self.lock:
            policy = self.policies.get(number)
            if policy is None or policy.project is not project:
                raise RefusedError(404, "NOT_FOUND", f"notification policy {number} not found")
            return policy

    def add_execution(self, policy: Policy, event_type: str, payload: str) -> Execution:
        with self.lock:
            run = Execution(next(self._ids["run"]), policy, event_type, payload, time.time())
            self.executions[run.id] = run
            while len(self.executions) > EXECUTIONS_KEPT:
                del self.executions[next(iter(self.executions))]
            return run


def new_secret() -> str:
    """Return a secret of 32 characters, as Harbor makes them for robots: upper and lower case, and digits."""
    return "aA1" + secrets.token_hex(15)[:29]


def _read(
    number: int, repository: Repository, digest: str, document: Mapping[str, Any], manifest_type: str, data: bytes
) -> Artifact:
    config = document.get("config") or {}
    parts: Iterable[Mapping[str, Any]] = [config, *(document.get("layers") or ())]
    annotations = dict(document.get("annotations") or {})
    named = annotations.get("org.opencontainers.artifactType") if manifest_type in INDEXES else None
    media_type = str(config.get("mediaType") or named or manifest_type)
    subject = (document.get("subject") or {}).get("digest")
    children = [
        {"child_digest": child.get("digest"), "child_id": 0, "parent_id": number}
        for child in document.get("manifests") or ()
    ]
    return Artifact(
        number,
        repository,
        digest,
        manifest_type,
        media_type,
        str(document.get("artifactType") or media_type),
        len(data),
        len(data) + sum(int(part.get("size") or 0) for part in parts),
        None,
        annotations,
        subject,
        children,
        time.time(),
    )
