"""Set an installation up with Harbor: a robot account, a webhook policy in each project, and the secrets of both sides.

    for done in set_up(harbor, InCluster(cluster), wanted, log_in):
        print(done.subject, done.result, done.detail)

Everything is looked at before anything is changed, and what is as it has to be stays so. A run that was cut anywhere
is finished by the next: the one moment in which a secret is known to nobody, between Harbor's making it and its being
kept, is marked beforehand. No secret is in what is told. What does not belong here: printing, and options of a command.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from klever.api.harbor import errors, robots, secrets, webhooks
from klever.api.harbor.client import Harbor
from klever.api.harbor.keeping import Keeping
from klever.steps.errors import PermanentError, at_stage
from klever.steps.oci.credentials import Credentials

CREATED, UPDATED, UNCHANGED, NOTED = "created", "updated", "unchanged", "note"


class ProjectMissingError(PermanentError):
    """Harbor has no such project."""

    usual_step = "make it in Harbor first: this command makes no projects; or name another with --project"


class RobotSecretLostError(PermanentError):
    """The robot exists, and nobody knows its secret any more, which Harbor tells only once."""

    usual_step = "make a new one with --rotate; what else uses this robot then needs the new one"


@dataclass(frozen=True)
class Wanted:
    """What an installation is to have."""

    projects: tuple[str, ...]
    #: Where Harbor sends its events.
    hook_url: str
    #: As references name Harbor's registry.
    registry_host: str
    #: The namespace of the controller and the server, and those of jobs.
    home: str
    namespaces: tuple[str, ...] = ()
    #: What the robot is called, and the webhook policies; two installations at one Harbor have two names.
    robot: str = "klever"
    payload: str = webhooks.CLOUD_EVENTS
    hook_verified: bool = True
    #: Whether the robot gets a new secret although the old one is good.
    rotate: bool = False

    @property
    def pods(self) -> tuple[str, ...]:
        """The namespaces whose pods reach the registry."""
        return tuple(dict.fromkeys((self.home, *self.namespaces)))


class Done(NamedTuple):
    """One thing that was made, changed, or found to be as it has to be."""

    subject: str
    #: `CREATED`, `UPDATED`, `UNCHANGED`, or `NOTED` for what somebody should know.
    result: str
    detail: str = ""


#: Opens the same Harbor as another user.
LogIn = Callable[[Credentials], Harbor]


def set_up(harbor: Harbor, keeping: Keeping, wanted: Wanted, log_in: LogIn, *, dry_run: bool = False) -> Iterator[Done]:
    """Make what is missing and change what differs, and yield each thing when it is done; ``dry_run`` only says.

    Raises `ProjectMissingError`, `RobotSecretLostError`, `RobotDisabledError`, `SecretUnusableError`,
    `InvalidHookUrlError`, the errors of `klever.api.harbor.errors`, and those of the place where secrets are kept.
    """
    with at_stage("setup"):
        address = webhooks.check_address(wanted.hook_url)
        found = _look(harbor, keeping, wanted, log_in)
        yield from _Change(harbor, keeping, wanted, found, dry_run).run(address)


@dataclass(frozen=True)
class _Found:
    """How things are before anything is changed."""

    robot: robots.Robot | None
    #: Whether the robot may do less, or more, than it needs in these projects.
    lacking: tuple[str, ...]
    policies: Mapping[str, webhooks.Policy | None]
    #: By name and namespace.
    secrets: Mapping[tuple[str, str], secrets.Document]
    #: The robot's, where they are known and stay; None where Harbor has to make a secret.
    credentials: Credentials | None
    #: Whether Harbor sends no events at all.
    silent: bool


def _look(harbor: Harbor, keeping: Keeping, wanted: Wanted, log_in: LogIn) -> _Found:
    projects = _projects(harbor, wanted.projects)
    robot = robots.find(harbor, wanted.robot, projects)
    if robot is not None:
        robots.check_usable(robot)
    policies = {project: webhooks.find(harbor, project, wanted.robot) for project in projects}
    kept = {}
    for name, namespace in (
        (secrets.HARBOR, wanted.home),
        *((secrets.REGISTRY, namespace) for namespace in wanted.pods),
        (secrets.HOOK, wanted.home),
    ):
        if document := keeping.read(name, namespace):
            secrets.check(document)
            kept[name, namespace] = document
    information = harbor.get("/systeminfo")
    return _Found(
        robot,
        tuple(robots.lacks(robot, projects)) if robot else (),
        policies,
        kept,
        _credentials(robot, kept, wanted, log_in) if robot else None,
        isinstance(information, dict) and information.get("notification_enable") is False,
    )


def _projects(harbor: Harbor, names: Iterable[str]) -> dict[str, int]:
    """Return the ids of projects; raises `ProjectMissingError` with all that are missing."""
    found, missing = {}, []
    for name in dict.fromkeys(names):
        try:
            found[name] = int(harbor.project(name)["project_id"])
        except errors.HarborNotFoundError:
            missing.append(name)
        except (LookupError, TypeError, ValueError):
            raise errors.HarborRefusedError(f"Harbor gives the project {name} without an id") from None
    if missing:
        raise ProjectMissingError(f"{harbor.url} has no project {' and no project '.join(missing)}")
    return found


def _credentials(
    robot: robots.Robot, kept: Mapping[tuple[str, str], secrets.Document], wanted: Wanted, log_in: LogIn
) -> Credentials | None:
    """Return the robot's credentials out of the secrets; None where it is to have new ones."""
    own = kept.get((secrets.HARBOR, wanted.home))
    if wanted.rotate or (own and secrets.is_pending(own)):
        return None
    known = [secrets.read_harbor(own)] if own else []
    for namespace in wanted.pods:
        document = kept.get((secrets.REGISTRY, namespace))
        if document and (found := secrets.read_registry(document, wanted.registry_host)):
            known.append(found)
    candidates = list(dict.fromkeys(each for each in known if each.username == robot.name and each.password))
    for credentials in candidates:
        with log_in(credentials) as as_robot:
            if as_robot.accepts_credentials():
                return credentials
    raise RobotSecretLostError(
        f"Harbor does not accept the secret that is kept for its robot {robot.name}"
        if candidates
        else f"Harbor has the robot {robot.name} already, and its secret is kept in none of the namespaces "
        f"{', '.join(wanted.pods)}",
    )


@dataclass
class _Change:
    """Brings what was found to what is wanted."""

    harbor: Harbor
    keeping: Keeping
    wanted: Wanted
    found: _Found
    dry_run: bool
    #: What is kept already.
    _written: list[secrets.Document] = field(default_factory=list, repr=False)

    def run(self, address: str) -> Iterator[Done]:
        """Do everything, in an order that may be cut anywhere: the robot, its secrets, the hook's, the policies."""
        hook = self.found.secrets.get((secrets.HOOK, self.wanted.home))
        if hook is None or not secrets.read_hook(hook):
            hook = secrets.build_hook(self.wanted.home, secrets.new_authorization())
        if not self.dry_run:
            self._check(hook)
        robot, credentials = self._robot()
        yield robot
        for document in self._documents(credentials, hook):
            yield self._keep(document)
        wanted = self.wanted
        target = webhooks.Target(wanted.robot, address, secrets.read_hook(hook), wanted.payload, wanted.hook_verified)
        for project, policy in self.found.policies.items():
            yield self._policy(project, policy, target)
        if self.found.silent:
            yield Done(
                "webhooks",
                NOTED,
                "an administrator of Harbor has turned all webhooks off: only the relist finds models",
            )

    def _check(self, hook: secrets.Document) -> None:
        """Have the place of the secrets say now what it would refuse later."""
        credentials = self.found.credentials or Credentials(self.wanted.robot)
        self.keeping.check(filter(self._differs, self._documents(credentials, hook)))

    def _robot(self) -> tuple[Done, Credentials]:
        """Make the robot, or give it what it lacks; its credentials are kept before this returns."""
        found, projects = self.found.robot, sorted(self.found.policies)
        does = f"pulls and pushes in {', '.join(projects)}"
        if found is None:
            subject = f"robot {self.wanted.robot}"
            if self.dry_run:
                return Done(subject, CREATED, does), Credentials(self.wanted.robot)
            self._mark()
            try:
                made = robots.make(self.harbor, self.wanted.robot, projects)
            except errors.HarborConflictError as error:
                error.next_step = "choose another with --robot-name; or log in as a user who may see this one"
                raise
            credentials = Credentials(made.name, made.secret)
            self._write(secrets.build_harbor(self.wanted.home, credentials))
            return Done(f"robot {made.name}", CREATED, does), credentials
        if self.found.lacking and not self.dry_run:
            robots.grant(self.harbor, found, self.found.lacking)
        details = [f"its rights in {', '.join(self.found.lacking)} changed"] if self.found.lacking else []
        credentials = self.found.credentials or Credentials(found.name)
        if self.found.credentials is None:
            details.append("it has a new secret")
            if not self.dry_run:
                self._mark()
                credentials = Credentials(found.name, robots.refresh_secret(self.harbor, found))
                self._write(secrets.build_harbor(self.wanted.home, credentials))
        return Done(f"robot {found.name}", UPDATED if details else UNCHANGED, "; ".join([does, *details])), credentials

    def _mark(self) -> None:
        """Say beforehand that a secret is about to be made, keeping what is kept."""
        document = self.found.secrets.get((secrets.HARBOR, self.wanted.home))
        before = secrets.read_harbor(document) if document else Credentials(self.wanted.robot)
        self.keeping.write(secrets.build_harbor(self.wanted.home, before, pending=True))

    def _write(self, document: secrets.Document) -> None:
        self.keeping.write(document)
        self._written.append(document)

    def _documents(self, credentials: Credentials, hook: secrets.Document) -> Iterator[secrets.Document]:
        yield secrets.build_harbor(self.wanted.home, credentials)
        for namespace in self.wanted.pods:
            before = self.found.secrets.get((secrets.REGISTRY, namespace))
            yield secrets.build_registry(namespace, self.wanted.registry_host, credentials, before)
        yield hook

    def _differs(self, document: secrets.Document) -> bool:
        """Say whether a secret has to be written; that of a robot's secret that is yet to be made has to."""
        name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
        before = self.found.secrets.get((name, namespace))
        unknown = self.found.credentials is None and name != secrets.HOOK
        return before is None or unknown or not secrets.same(before, document)

    def _keep(self, document: secrets.Document) -> Done:
        name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
        before = self.found.secrets.get((name, namespace))
        subject = f"secret {namespace}/{name}"
        if not self._differs(document):
            return Done(subject, UNCHANGED)
        if not self.dry_run and document not in self._written:
            self._write(document)
        return Done(subject, UPDATED if before else CREATED, self._told(name, document, before))

    def _told(self, name: str, document: secrets.Document, before: secrets.Document | None) -> str:
        """Return whom a secret is of now, and whom it was of before, if that was somebody else."""
        if name == secrets.HOOK:
            return "what Harbor sends with its events"
        host = self.wanted.registry_host
        was, now = (
            None
            if each is None
            else secrets.read_registry(each, host)
            if name == secrets.REGISTRY
            else secrets.read_harbor(each)
            for each in (before, document)
        )
        told = f"for {host}" if name == secrets.REGISTRY else "for the relist"
        if was and now and was.username not in ("", now.username, self.wanted.robot):
            told += f", in the place of {was.username}"
        return told

    def _policy(self, project: str, policy: webhooks.Policy | None, target: webhooks.Target) -> Done:
        subject = f"webhook policy {project}/{target.name}"
        if policy is None:
            if not self.dry_run:
                webhooks.make(self.harbor, project, target)
            return Done(subject, CREATED, f"tells {target.address} of pushes")
        changes = webhooks.differences(policy, target)
        if changes and not self.dry_run:
            webhooks.change(self.harbor, project, policy, target)
        told = f"tells {target.address} of pushes"
        return Done(subject, UPDATED if changes else UNCHANGED, "; ".join([told, *changes]))
