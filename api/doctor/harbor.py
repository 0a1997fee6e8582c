"""Checks of what lies outside of the cluster: the registry, Harbor, its webhooks, and where these lead.

What does not belong here: setting any of it up (`klever.api.harbor.setup`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from klever.api.doctor.check import Check, Probe, failed, ok, skipped, warning
from klever.api.harbor import errors, webhooks
from klever.api.harbor.client import Document, Harbor, path_of
from klever.steps.errors import (
    KleverError,
    RegistryRefusedError,
    RegistryUnavailableError,
    TemporaryError,
    UnauthorizedError,
)
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.http import Retry, Timeouts, Transport, release
from klever.steps.oci.registry import RegistryStore, find_credentials

#: Who asks waits: one try, within the time of a check.
_TIMEOUTS: Final = Timeouts(connect=3.0, read=4.0)
_ONCE: Final = Retry(tries=1)
#: Of the last deliveries, how many are looked at.
_DELIVERIES: Final = 20
_EVENT: Final = b'{"type": "PULL_ARTIFACT"}'


@dataclass(frozen=True)
class Outside:
    """What is reached over the network, and as whom; empty for what is not known."""

    harbor_url: str = ""
    registry_host: str = ""
    hook_url: str = ""
    projects: tuple[str, ...] = ()
    #: The robot of the installation, what Harbor sends with its events, and who may look at webhook policies.
    robot: Credentials | None = None
    authorization: str = field(default="", repr=False)
    administrator: Credentials | None = None
    #: What pods log in to the registry with.
    pods: Credentials | None = None
    plain_http: bool = False
    insecure: bool = False
    ca_file: Path | None = None
    #: Of harbor, registry and webhook, whose addresses are meant for this machine; others are those of pods, which may
    #: see another network.
    named: frozenset[str] = frozenset()
    #: How to look from where pods are.
    from_inside: str = ""

    def open(self, credentials: Credentials | None) -> Harbor:
        """Return Harbor as a user."""
        return Harbor(
            self.harbor_url,
            credentials,
            insecure=self.insecure,
            ca_file=self.ca_file,
            timeouts=_TIMEOUTS,
            retry=_ONCE,
        )

    def transport(self) -> Transport:
        """Return what opens connections."""
        return Transport(insecure=self.insecure, ca_file=self.ca_file, timeouts=_TIMEOUTS, retry=_ONCE)


def probes(outside: Outside) -> dict[str, Probe]:
    """Return the checks of what is known of."""
    made: dict[str, Probe] = {}
    for name, known, probe, how in (
        ("registry", outside.registry_host, _registry, "--registry HOST"),
        ("harbor", outside.harbor_url, _harbor, "--harbor URL"),
        ("robot", outside.harbor_url, _robot, "--harbor URL"),
        ("webhook", outside.hook_url or outside.harbor_url, _webhook, "--webhook URL"),
    ):
        place = "harbor" if name == "robot" else name
        made[name] = partial(_reached, outside, name, place, probe) if known else partial(_unknown, name, how)
    if outside.harbor_url:
        for project in outside.projects:
            name = f"webhook policy {project}"
            made[name] = partial(_reached, outside, name, "harbor", partial(_policy, project=project, title=name))
    return made


def _unknown(name: str, how: str) -> Iterator[Check]:
    yield skipped(name, "nothing says where it is", f"name it with {how}")


def _reached(outside: Outside, name: str, place: str, probe: Callable[[Outside], Iterator[Check]]) -> Iterator[Check]:
    """Run a probe; what only cannot be reached from here may well be reached from where pods are."""
    try:
        yield from probe(outside)
    except TemporaryError as error:
        advice = error.next_step or "check the address and the network"
        if place in outside.named:
            yield failed(name, error.cause, advice)
        else:
            yield warning(name, f"{error.cause}; pods may reach it", f"{outside.from_inside} looks from there")


def _registry(outside: Outside) -> Iterator[Check]:
    host = outside.registry_host
    store = RegistryStore(
        host,
        plain_http=outside.plain_http,
        insecure=outside.insecure,
        ca_file=outside.ca_file,
        credentials=outside.pods or find_credentials,
        timeouts=_TIMEOUTS,
        retry=_ONCE,
    )
    whom = f"{outside.pods.username}, as pods do" if outside.pods else "whom this machine is logged in as"
    with store:
        try:
            store.ping()
        except UnauthorizedError as error:
            what = (
                "klever harbor setup --rotate, or correct klever-registry" if outside.pods else f"klever login {host}"
            )
            yield failed("registry", error.cause, what)
        else:
            yield ok("registry", f"{host} answers, and lets in {whom}")


def _harbor(outside: Outside) -> Iterator[Check]:
    # A stranger is told less.
    with outside.open(outside.administrator or outside.robot) as harbor:
        found = harbor.get("/systeminfo")
    information = found if isinstance(found, dict) else {}
    told = outside.harbor_url
    if information.get("read_only"):
        yield warning("harbor", f"{told} is read-only, so no result can be pushed", "ask Harbor's administrator")
    elif information.get("notification_enable") is False:
        yield warning(
            "harbor",
            f"{told} sends no events at all, so only the relist finds models",
            "have Harbor's administrator turn webhooks on (Configuration, System Settings)",
        )
    else:
        yield ok("harbor", f"{told} answers")


def _robot(outside: Outside) -> Iterator[Check]:
    if outside.robot is None:
        yield skipped("robot", "its name and password are not known here: the secret klever-harbor cannot be read")
        return
    name = outside.robot.username
    with outside.open(outside.robot) as harbor:
        if not harbor.accepts_credentials():
            yield failed("robot", f"Harbor does not accept {name}", "klever harbor setup --rotate makes a new secret")
            return
        refused = []
        for project in outside.projects:
            try:
                harbor.page(path_of("projects", project, "artifacts"))
            except (errors.HarborUnauthorizedError, errors.HarborNotFoundError):
                refused.append(project)
    if refused:
        yield failed(
            "robot",
            f"{name} may not see {', '.join(refused)}",
            "klever harbor setup with " + " ".join(f"--project {project}" for project in outside.projects),
        )
    else:
        where = f", and may see {', '.join(outside.projects)}" if outside.projects else ""
        yield ok("robot", f"Harbor accepts {name}{where}")


def _policy(outside: Outside, *, project: str, title: str) -> Iterator[Check]:
    again = f"klever harbor setup {outside.harbor_url} --project {project} --hook-url ..."
    if outside.administrator is None:
        yield skipped(
            title,
            "only an administrator of the project may see it",
            "give --username, or klever login, as one of them",
        )
        return
    with outside.open(outside.administrator) as harbor:
        try:
            policy = _ours(outside, webhooks.listed(harbor, project))
        except errors.HarborUnauthorizedError:
            yield skipped(
                title,
                f"{outside.administrator.username} may not see webhook policies of {project}",
                "give --username, or klever login, as an administrator of the project",
            )
            return
        if policy is None:
            yield failed(title, "there is none, so Harbor tells nobody of pushes", again)
            return
        wrong = _faults(outside, policy)
        if wrong:
            yield failed(title, "; ".join(wrong), again)
            return
        told = f"tells {policy.address}"
        deliveries = webhooks.last_executions(harbor, project, policy)[:_DELIVERIES]
    lost = [each for each in deliveries if _has_failed(each)]
    if lost and lost[0] is deliveries[0]:
        yield failed(
            title,
            f"{told}, and {len(lost)} of the last {len(deliveries)} deliveries failed, the newest among them",
            f"Harbor has a log of it (project {project}, Webhooks); check that Harbor reaches the address",
        )
    elif lost:
        yield ok(title, f"{told}; {len(lost)} of the last {len(deliveries)} deliveries failed, not the newest")
    else:
        yield ok(title, f"{told}" + (f", the last {len(deliveries)} deliveries too" if deliveries else ""))


def _ours(outside: Outside, policies: Sequence[webhooks.Policy]) -> webhooks.Policy | None:
    """Return the policy that is this installation's: by what it sends, by where it leads, or else by its name."""
    robot = re.split(r"[+$]", outside.robot.username)[-1] if outside.robot else "klever"
    for is_ours in (
        lambda policy: bool(outside.authorization) and policy.authorization == outside.authorization,
        lambda policy: bool(outside.hook_url) and policy.address == outside.hook_url,
        lambda policy: policy.document.get("name") == robot,
    ):
        if found := next(filter(is_ours, policies), None):
            return found
    return None


def _faults(outside: Outside, policy: webhooks.Policy) -> list[str]:
    wrong = []
    if not policy.enabled:
        wrong.append("it is disabled")
    if "PUSH_ARTIFACT" not in (policy.document.get("event_types") or ()):
        wrong.append("it does not tell of pushes")
    if outside.hook_url and policy.address != outside.hook_url:
        wrong.append(f"it tells {policy.address or 'nobody'} and not {outside.hook_url}")
    if outside.authorization and policy.authorization != outside.authorization:
        wrong.append("it sends another Authorization than the secret klever-hook has")
    return wrong


def _has_failed(execution: Document) -> bool:
    metrics = execution.get("metrics")
    errors_counted = metrics.get("error_task_count") if isinstance(metrics, dict) else 0
    return execution.get("status") == "Error" or bool(errors_counted)


def _webhook(outside: Outside) -> Iterator[Check]:
    url = outside.hook_url or _known_to_harbor(outside)
    if not url:
        yield skipped("webhook", "nothing says where Harbor sends its events", "name it with --webhook URL")
        return
    try:
        stranger = _post(outside, url, "")
    except RegistryUnavailableError as error:
        cause = error.cause.replace("the registry", "the webhook")
        if "webhook" in outside.named:
            yield failed("webhook", cause, error.next_step)
        else:
            yield warning("webhook", f"{cause}; Harbor may reach it", f"{outside.from_inside} looks from there")
        return
    except RegistryRefusedError as error:
        yield failed("webhook", error.cause.replace("the registry", "the webhook"), error.next_step)
        return
    yield from _answers(outside, url, stranger)


def _answers(outside: Outside, url: str, stranger: int) -> Iterator[Check]:
    if 200 <= stranger < 300:
        yield failed("webhook", f"{url} takes events from strangers ({stranger})", "check that it is Klever's server")
    elif stranger == 503:
        yield failed("webhook", f"{url} has no secret, and takes no events", "klever harbor setup makes klever-hook")
    elif stranger != 401:
        advice = "check the address: it ends with /hooks/harbor; and what stands before the server, such as an Ingress"
        yield failed("webhook", f"{url} answers a stranger with {stranger}, expected 401", advice)
    elif not outside.authorization or url != outside.hook_url:
        # Nobody but the user says whom the secret may be told.
        yield ok("webhook", f"{url} lets no stranger in")
    elif (known := _post(outside, url, outside.authorization)) not in (200, 202):
        yield failed(
            "webhook",
            f"{url} answers what Harbor is to send with {known}",
            "the server reads klever-hook again within a minute or two; then look at its log",
        )
    else:
        yield ok("webhook", f"{url} lets Harbor in, and no stranger")


def _post(outside: Outside, url: str, authorization: str) -> int:
    """Send an event that starts nothing, and return the status of the answer."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
    transport = outside.transport()
    try:
        response = transport.exchange("POST", url, headers=headers, body=_EVENT, retry=False)
        release(response)
        return response.status
    finally:
        transport.close()


def _known_to_harbor(outside: Outside) -> str:
    """Return where a project's policy leads, as far as that may be seen."""
    if outside.administrator is None:
        return ""
    with outside.open(outside.administrator) as harbor:
        for project in outside.projects:
            try:
                policy = _ours(outside, webhooks.listed(harbor, project))
            except KleverError:
                continue
            if policy is not None:
                return policy.address
    return ""
