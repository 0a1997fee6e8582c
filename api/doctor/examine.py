"""Examine this machine, an installation, and what lies around it: which checks are made, and with what.

    for check in examine(Asked(namespace="klever")):
        print(check.state, check.name, check.detail, check.next_step)

What does not belong here: the checks themselves, and how they look.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from klever.api.doctor import harbor, machine, parts, rights, versions
from klever.api.doctor.check import SECONDS, Check, Probe, State, failed, run, skipped
from klever.api.doctor.harbor import Outside
from klever.api.doctor.installation import NAMESPACES, Installation, find, policy_text
from klever.api.harbor import secrets
from klever.api.harbor.client import Harbor
from klever.api.harbor.keeping import SECRETS
from klever.api.intake.policy import parse_policy
from klever.steps.errors import KleverError
from klever.steps.oci.credentials import Credentials
from klever.workflows.argo.client import Cluster, connect
from klever.workflows.argo.errors import ClientMissingError, ClusterObjectMissingError, NoClusterError

#: Seconds until an answer of the cluster is worth nothing: less than a check may take, so that it can say so itself.
_ANSWER_SECONDS: Final = 4.0
#: Of the projects that the robot sees, how many are held against the policy's patterns.
_MOST_PROJECTS: Final = 100
#: What only pods of the chart are told.
_IN_A_POD: Final = "KLEVER_NAMESPACES"
_FROM_INSIDE: Final = "kubectl exec -n {} deployment/klever-controller -- klever doctor"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Asked:
    """What somebody said of what is to be examined; empty for what Klever has to find out."""

    context: str | None = None
    #: The installation's, and those where jobs run.
    namespace: str | None = None
    job_namespaces: tuple[str, ...] = ()
    argo_namespace: str = "argo"
    harbor_url: str = ""
    registry_host: str = ""
    hook_url: str = ""
    projects: tuple[str, ...] = ()
    #: Returns who may look at webhook policies of the Harbor on a host.
    administrator: Callable[[str], Credentials | None] = lambda _host: None
    plain_http: bool = False
    insecure: bool = False
    ca_file: Path | None = None


def examine(asked: Asked, *, environment: Mapping[str, str] = os.environ, seconds: float = SECONDS) -> Iterator[Check]:
    """Make all checks, each within ``seconds``, and yield what they found; raises nothing that a check meets."""
    yield from run(machine.probes(keeps=_IN_A_POD not in environment), seconds)
    try:
        cluster = connect(context=asked.context, namespace=asked.namespace).hurried(_ANSWER_SECONDS)
    except (NoClusterError, ClientMissingError) as error:
        # Many a machine has none, and needs none.
        meant = asked.context or asked.namespace or environment.get("KUBECONFIG")
        yield (failed if meant else skipped)("kubernetes", error.cause, error.next_step)
        yield from run(harbor.probes(gather(asked, None, environment)), seconds)
        return
    with cluster:
        yield from _examine_cluster(asked, cluster, environment, seconds)


def _examine_cluster(asked: Asked, cluster: Cluster, environment: Mapping[str, str], seconds: float) -> Iterator[Check]:
    installation = Installation(cluster, cluster.namespace, asked.job_namespaces)
    first = run({"kubernetes": lambda: versions.kubernetes(installation)}, seconds)
    yield from first
    probes: dict[str, Probe] = {}
    if any(check.state is State.FAILED for check in first):
        yield skipped("installation", f"{cluster.address} does not answer as it has to", "see kubernetes")
        found = None
    else:
        found = installation = _found(installation, asked)
        there, missing = _namespaces(found)
        yield from missing
        probes = versions.probes(found, asked.argo_namespace)
        if found.home in there:
            found = installation = replace(found, namespaces=tuple(each for each in found.namespaces if each in there))
            probes |= parts.probes(found) | rights.probes(found)
    yield from run(probes | harbor.probes(gather(asked, found, environment)), seconds)


def _namespaces(installation: Installation) -> tuple[set[str], list[Check]]:
    """Return the namespaces that are there, as far as may be seen, and what to say of the others."""
    wanted = dict.fromkeys((installation.home, *installation.namespaces))
    missing = []
    for name in wanted:
        try:
            installation.cluster.get(f"{NAMESPACES}/{name}")
        except ClusterObjectMissingError:
            advice = f"name the installation's with -n; or make it: kubectl create namespace {name}"
            missing.append((name, failed(f"namespace {name}", "there is none", advice)))
        except KleverError:
            # Nobody needs the right to see it; the other checks meet what else is wrong.
            continue
    return set(wanted) - {name for name, _ in missing}, [check for _, check in missing]


def _found(unknown: Installation, asked: Asked) -> Installation:
    try:
        found = find(unknown.cluster, asked.job_namespaces)
        if found.told and not found.watched and not asked.job_namespaces:
            # It looks everywhere; what is known is where pushes start jobs.
            policy = _quietly(lambda: parse_policy(policy_text(found)))
            found = replace(found, namespaces=(policy.namespaces if policy else ()) or found.namespaces)
    except KleverError:
        # What keeps it from being found is what the checks will meet.
        return replace(unknown, namespaces=asked.job_namespaces or (unknown.home,))
    return found


def gather(asked: Asked, installation: Installation | None, environment: Mapping[str, str]) -> Outside:
    """Return what is known of the outside: by what was asked, by this pod's variables, by the installation's."""
    told = {
        **(installation.told if installation else {}),
        **{key: value for key, value in environment.items() if value},
    }
    plain_http = asked.plain_http or told.get("KLEVER_PLAIN_HTTP", "").lower() in ("1", "true", "yes", "on")
    harbor_url = asked.harbor_url or told.get("KLEVER_HARBOR_URL", "")
    if harbor_url and "://" not in harbor_url:
        harbor_url = f"{'http' if plain_http else 'https'}://{harbor_url}"
    host = asked.registry_host or told.get("KLEVER_REGISTRY_HOST", "") or _host_of(harbor_url)
    named = {
        "harbor": asked.harbor_url or environment.get("KLEVER_HARBOR_URL"),
        "registry": asked.registry_host or environment.get("KLEVER_REGISTRY_HOST"),
        "webhook": asked.hook_url,
    }
    harbors, hook, registry = (_secret(installation, name) for name in (secrets.HARBOR, secrets.HOOK, secrets.REGISTRY))
    robot = _of_files(environment) or (secrets.read_harbor(harbors) if harbors else None)
    known = Outside(
        harbor_url=harbor_url,
        registry_host=host,
        hook_url=asked.hook_url,
        robot=robot if robot and robot.username and robot.password else None,
        authorization=secrets.read_hook(hook) if hook else "",
        administrator=_quietly(lambda: asked.administrator(_host_of(harbor_url))) if harbor_url else None,
        pods=_quietly(lambda: secrets.read_registry(registry, host)) if registry and host else None,
        plain_http=plain_http,
        insecure=asked.insecure,
        ca_file=asked.ca_file,
        named=frozenset(name for name, value in named.items() if value),
        from_inside=_FROM_INSIDE.format(installation.home if installation else "klever"),
    )
    return replace(known, projects=asked.projects or _projects(known, installation, environment))


def _projects(outside: Outside, installation: Installation | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the projects that the policy is about, those that its patterns mean among them."""
    policy = _quietly(lambda: parse_policy(_policy_text(installation, environment)))
    if policy is None:
        return ()
    if not policy.has_patterns or not outside.harbor_url or outside.robot is None:
        return policy.names

    def seen() -> tuple[str, ...]:
        with outside.open(outside.robot) as opened:
            listed = [str(each.get("name", "")) for each in islice(opened.projects(), _MOST_PROJECTS)]
        return tuple(dict.fromkeys([*policy.names, *(name for name in listed if policy.has_project(name))]))

    return _quietly(seen) or policy.names


def _policy_text(installation: Installation | None, environment: Mapping[str, str]) -> str:
    path = Path(environment.get("KLEVER_POLICY_FILE", ""))
    if path.is_file():
        return path.read_text(encoding="utf-8")
    return policy_text(installation) if installation else ""


def _secret(installation: Installation | None, name: str) -> secrets.Document | None:
    if installation is None:
        return None
    return _quietly(lambda: installation.read(SECRETS, installation.home, name))


def _of_files(environment: Mapping[str, str]) -> Credentials | None:
    """Return the robot's credentials as a pod of ours has them."""
    paths = [Path(environment.get(f"KLEVER_HARBOR_{each}_FILE", "")) for each in ("USERNAME", "PASSWORD")]
    if not all(path.is_file() for path in paths):
        return None
    username, password = (path.read_text(encoding="utf-8").strip() for path in paths)
    return Credentials(username, password)


def _host_of(url: str) -> str:
    if not url:
        return ""
    return _quietly(lambda: Harbor(url).registry_host) or ""


def _quietly(read: Callable[[], _T]) -> _T | None:
    """Return what is read, None where it cannot be: the check that is about it says why."""
    try:
        return read()
    except (KleverError, OSError, UnicodeDecodeError):
        return None
