"""Setting up a Harbor: what is made, that nothing is made twice, and that an interruption is healed by the next run."""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from harbor.server import StandIn

from klever.api.harbor import robots, secrets, webhooks
from klever.api.harbor.client import Harbor
from klever.api.harbor.errors import HarborConflictError, HarborUnauthorizedError
from klever.api.harbor.keeping import Document
from klever.api.harbor.setup import Done, ProjectMissingError, RobotSecretLostError, Wanted, set_up
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.http import Retry

HOOK = "https://klever.example/hooks/harbor"
ADMIN = Credentials("admin", "Harbor12345")


@dataclass
class Kept:
    """A place for secrets that remembers what it was asked."""

    documents: dict[tuple[str, str], Document] = field(default_factory=dict)
    written: list[Document] = field(default_factory=list)
    checked: list[Document] = field(default_factory=list)
    refuses: Exception | None = None

    def read(self, name: str, namespace: str) -> Document | None:
        return deepcopy(self.documents.get((name, namespace)))

    def check(self, documents: Iterable[Document]) -> None:
        self.checked += list(documents)
        if self.refuses:
            raise self.refuses

    def write(self, document: Document) -> None:
        self.written.append(document)
        self.documents[document["metadata"]["name"], document["metadata"]["namespace"]] = deepcopy(document)

    def robot(self, namespace: str = "klever") -> Credentials:
        return secrets.read_harbor(self.documents[secrets.HARBOR, namespace])

    def pods(self, namespace: str, host: str) -> Credentials | None:
        return secrets.read_registry(self.documents[secrets.REGISTRY, namespace], host)

    @property
    def authorization(self) -> str:
        return secrets.read_hook(self.documents[secrets.HOOK, "klever"])


@dataclass
class Site:
    """A Harbor with one project, and a place for secrets."""

    harbor: StandIn
    kept: Kept = field(default_factory=Kept)

    @property
    def wanted(self) -> Wanted:
        return Wanted(("release",), HOOK, self.harbor.host, "klever", ("models",))

    def open(self, credentials: Credentials = ADMIN) -> Harbor:
        return Harbor(self.harbor.url, credentials, retry=Retry(tries=1))

    def set_up(self, *, dry_run: bool = False, kept: Any = None, opened: Any = None, **changes: Any) -> list[Done]:
        wanted = replace(self.wanted, **changes)
        with self.open() as harbor:
            return list(set_up(opened or harbor, kept or self.kept, wanted, self.open, dry_run=dry_run))

    @property
    def state(self) -> Any:
        """All that Harbor has and that is kept, to be compared."""
        inventory = self.harbor.inventory
        known = [(one.name, one.secret, one.permissions, one.disabled) for one in inventory.robots.values()]
        return deepcopy((known, [one.document for one in inventory.policies.values()], self.kept.documents))


@pytest.fixture
def site() -> Iterator[Site]:
    harbor = StandIn("127.0.0.1:1")
    try:
        harbor.make_project("release")
        yield Site(harbor)
    finally:
        harbor.close()


def results(done: Iterable[Done]) -> dict[str, str]:
    return {each.subject: each.result for each in done}


def test_everything_is_made_and_told_line_by_line(site: Site) -> None:
    assert results(site.set_up()) == {
        "robot robot$release+klever": "created",
        "secret klever/klever-harbor": "created",
        "secret klever/klever-registry": "created",
        "secret models/klever-registry": "created",
        "secret klever/klever-hook": "created",
        "webhook policy release/klever": "created",
    }


def test_the_robot_has_the_least_rights_in_the_project_and_none_elsewhere(site: Site) -> None:
    site.set_up()
    (robot,) = site.harbor.inventory.robots.values()
    assert (robot.level, robot.duration) == ("project", -1)
    assert [(each["kind"], each["namespace"]) for each in robot.permissions] == [("project", "release")]
    assert {(one["resource"], one["action"]) for one in robot.permissions[0]["access"]} == {
        ("repository", "pull"),
        ("repository", "push"),
        ("repository", "list"),
        ("artifact", "read"),
        ("artifact", "list"),
        ("tag", "list"),
        ("tag", "create"),
    }


def test_what_is_kept_is_what_harbor_accepts(site: Site) -> None:
    site.set_up()
    with site.open(site.kept.robot()) as harbor:
        assert harbor.accepts_credentials()
        assert list(harbor.artifacts_of("release")) == []
        with pytest.raises(HarborUnauthorizedError):
            list(harbor.list_all("/projects/release/webhook/policies"))
    assert site.kept.pods("klever", site.harbor.host) == site.kept.pods("models", site.harbor.host) == site.kept.robot()


def test_the_policy_tells_of_pushes_alone_with_the_kept_authorization(site: Site) -> None:
    site.set_up()
    (policy,) = site.harbor.inventory.policies.values()
    assert policy.document["enabled"] is True
    assert policy.document["event_types"] == ["PUSH_ARTIFACT"]
    assert policy.document["targets"] == [
        {
            "type": "http",
            "address": HOOK,
            "auth_header": site.kept.authorization,
            "skip_cert_verify": False,
            "payload_format": "CloudEvents",
        }
    ]
    assert len(site.kept.authorization) > 40


def test_the_secrets_are_of_the_types_that_pods_and_the_chart_expect(site: Site) -> None:
    site.set_up()
    found = {name: (document["type"], sorted(document["data"])) for name, document in site.kept.documents.items()}
    assert found == {
        ("klever-harbor", "klever"): ("Opaque", ["password", "username"]),
        ("klever-hook", "klever"): ("Opaque", ["authorization"]),
        ("klever-registry", "klever"): ("kubernetes.io/dockerconfigjson", [".dockerconfigjson"]),
        ("klever-registry", "models"): ("kubernetes.io/dockerconfigjson", [".dockerconfigjson"]),
    }


def test_a_second_run_changes_nothing_and_says_so(site: Site) -> None:
    site.set_up()
    before, written = site.state, len(site.kept.written)
    assert set(results(site.set_up()).values()) == {"unchanged"}
    assert site.state == before
    assert len(site.kept.written) == written


def test_a_dry_run_says_the_same_and_changes_nothing(site: Site) -> None:
    before = site.state
    told = results(site.set_up(dry_run=True))
    assert site.state == before
    assert not site.kept.checked
    assert list(told.values()) == ["created"] * 6
    site.set_up()
    before = site.state
    assert results(site.set_up(dry_run=True, rotate=True)) == {
        "robot robot$release+klever": "updated",
        "secret klever/klever-harbor": "updated",
        "secret klever/klever-registry": "updated",
        "secret models/klever-registry": "updated",
        "secret klever/klever-hook": "unchanged",
        "webhook policy release/klever": "unchanged",
    }
    assert site.state == before


def test_no_secret_is_told(site: Site) -> None:
    told = [*site.set_up(), *site.set_up(rotate=True), *site.set_up(payload="Default")]
    text = " ".join(" ".join(each) for each in told)
    assert site.kept.robot().password not in text
    assert site.kept.authorization not in text
    assert "secret=" not in repr(robots.Made("robot$klever", "hidden"))
    assert "hidden" not in repr(robots.Made("robot$klever", "hidden"))
    assert "hidden" not in repr(webhooks.Target("klever", HOOK, "hidden"))


def test_a_namespace_that_is_added_gets_the_secret_that_is_kept(site: Site) -> None:
    site.set_up()
    changed = {k: v for k, v in results(site.set_up(namespaces=("models", "more"))).items() if v != "unchanged"}
    assert changed == {"secret more/klever-registry": "created"}
    assert site.kept.pods("more", site.harbor.host) == site.kept.robot()


def test_entries_of_other_registries_stay(site: Site) -> None:
    config = {"auths": {"quay.io": {"auth": "eDp5"}}, "credsStore": "x"}
    data = {".dockerconfigjson": base64.b64encode(json.dumps(config).encode()).decode()}
    metadata = {"name": "klever-registry", "namespace": "models"}
    site.kept.write({"metadata": metadata, "type": "kubernetes.io/dockerconfigjson", "data": data})
    assert results(site.set_up())["secret models/klever-registry"] == "updated"
    found = json.loads(base64.b64decode(site.kept.documents["klever-registry", "models"]["data"][".dockerconfigjson"]))
    assert found["auths"]["quay.io"] == {"auth": "eDp5"}
    assert found["credsStore"] == "x"
    assert site.kept.pods("models", site.harbor.host) == site.kept.robot()


def test_a_secret_that_is_gone_is_made_from_another_that_has_the_same(site: Site) -> None:
    site.set_up()
    robot = site.kept.robot()
    del site.kept.documents["klever-harbor", "klever"]
    assert results(site.set_up())["secret klever/klever-harbor"] == "created"
    assert site.kept.robot() == robot


def test_where_the_robots_secret_is_gone_everywhere_it_says_so_and_rotate_makes_a_new_one(site: Site) -> None:
    site.set_up()
    old = site.kept.robot()
    site.kept.documents.clear()
    before = site.state
    with pytest.raises(
        RobotSecretLostError, match=r"robot\$release\+klever already, and its secret is kept in none"
    ) as e:
        site.set_up()
    assert "--rotate" in e.value.next_step
    assert site.state == before
    told = results(site.set_up(rotate=True))
    assert told["robot robot$release+klever"] == "updated"
    assert site.kept.robot().password not in ("", old.password)
    with site.open(site.kept.robot()) as harbor:
        assert harbor.accepts_credentials()
    with site.open(old) as harbor:
        assert not harbor.accepts_credentials()


def test_a_kept_secret_that_harbor_does_not_accept_any_more_is_not_taken_for_good(site: Site) -> None:
    site.set_up()
    with site.open() as harbor:
        harbor.change("/robots/1", {"secret": ""})
    with pytest.raises(RobotSecretLostError, match="does not accept the secret that is kept"):
        site.set_up()


def test_a_hook_secret_that_is_gone_is_made_anew_on_both_sides(site: Site) -> None:
    site.set_up()
    before = site.kept.authorization
    del site.kept.documents["klever-hook", "klever"]
    told = results(site.set_up())
    assert (told["secret klever/klever-hook"], told["webhook policy release/klever"]) == ("created", "updated")
    (policy,) = site.harbor.inventory.policies.values()
    assert policy.document["targets"][0]["auth_header"] == site.kept.authorization != before


def test_a_hook_secret_of_several_lines_stays_and_harbor_is_told_the_first(site: Site) -> None:
    site.kept.write(secrets.build_hook("klever", "Bearer new\nBearer old\n"))
    assert results(site.set_up())["secret klever/klever-hook"] == "unchanged"
    (policy,) = site.harbor.inventory.policies.values()
    assert policy.document["targets"][0]["auth_header"] == "Bearer new"


def test_what_somebody_changed_in_harbor_is_put_right_and_named(site: Site) -> None:
    site.set_up()
    (policy,) = site.harbor.inventory.policies.values()
    policy.document["enabled"] = False
    policy.document["event_types"] = ["PULL_ARTIFACT"]
    policy.document["targets"][0] |= {"address": "https://elsewhere.example/x", "skip_cert_verify": True}
    (robot,) = site.harbor.inventory.robots.values()
    robot.permissions[0]["access"].append({"resource": "repository", "action": "delete"})
    told = {each.subject: each for each in site.set_up()}
    assert told["webhook policy release/klever"] == Done(
        "webhook policy release/klever",
        "updated",
        f"tells {HOOK} of pushes; it was disabled; it told of other events; it told https://elsewhere.example/x; "
        "it did not check the certificate",
    )
    assert "its rights in release changed" in told["robot robot$release+klever"].detail
    assert ("repository", "delete") not in [(a["resource"], a["action"]) for a in robot.permissions[0]["access"]]
    assert set(results(site.set_up()).values()) == {"unchanged"}


def test_another_form_of_payload_and_an_unchecked_certificate_are_chosen(site: Site) -> None:
    site.set_up(payload="Default", hook_verified=False)
    (policy,) = site.harbor.inventory.policies.values()
    assert policy.document["targets"][0]["payload_format"] == "Default"
    assert policy.document["targets"][0]["skip_cert_verify"] is True
    assert set(results(site.set_up(payload="Default", hook_verified=False)).values()) == {"unchanged"}


def test_policies_and_robots_of_others_stay_as_they_are(site: Site) -> None:
    site.harbor.make_policy("release", "https://other.example/hook", authorization="theirs", name="other")
    theirs = site.harbor.make_robot("release", "not-klever")
    before = deepcopy(site.harbor.inventory.policies[1].document), theirs.secret, deepcopy(theirs.permissions)
    site.set_up()
    assert (site.harbor.inventory.policies[1].document, theirs.secret, theirs.permissions) == before


def test_several_projects_share_one_robot_of_the_system(site: Site) -> None:
    site.harbor.make_project("staging")
    site.set_up(projects=("release", "staging"))
    (robot,) = site.harbor.inventory.robots.values()
    assert (robot.name, robot.level) == ("robot$klever", "system")
    assert sorted(each["namespace"] for each in robot.permissions) == ["release", "staging"]
    assert {each.project.name for each in site.harbor.inventory.policies.values()} == {"release", "staging"}
    assert set(results(site.set_up(projects=("release", "staging"))).values()) == {"unchanged"}
    # One of them alone is served by the same robot.
    assert set(results(site.set_up(projects=("staging",))).values()) == {"unchanged"}
    assert len(site.harbor.inventory.robots) == 1


def test_a_project_that_is_added_is_added_to_the_robots_rights(site: Site) -> None:
    for name in ("staging", "third"):
        site.harbor.make_project(name)
    site.set_up(projects=("release", "staging"))
    robot = site.kept.robot()
    told = results(site.set_up(projects=("release", "third")))
    assert told["robot robot$klever"] == "updated"
    assert told["webhook policy third/klever"] == "created"
    (found,) = site.harbor.inventory.robots.values()
    assert sorted(each["namespace"] for each in found.permissions) == ["release", "staging", "third"]
    assert site.kept.robot() == robot


def test_from_one_project_to_several_the_robot_changes_and_is_named(site: Site) -> None:
    site.harbor.make_project("staging")
    site.set_up()
    told = {each.subject: each for each in site.set_up(projects=("release", "staging"))}
    assert told["robot robot$klever"].result == "created"
    assert told["secret klever/klever-harbor"].detail == "for the relist, in the place of robot$release+klever"
    assert site.kept.pods("models", site.harbor.host) == site.kept.robot()
    assert site.kept.robot().username == "robot$klever"


def test_two_installations_at_one_project_have_two_names_and_leave_each_other_alone(site: Site) -> None:
    site.set_up()
    other = Kept()
    told = results(site.set_up(kept=other, robot="staging", hook_url="https://other.example/hooks/harbor"))
    assert told["robot robot$release+staging"] == told["webhook policy release/staging"] == "created"
    assert set(results(site.set_up()).values()) == {"unchanged"}
    assert len(site.harbor.inventory.robots) == len(site.harbor.inventory.policies) == 2


def test_projects_that_are_missing_are_named_before_anything_is_made(site: Site) -> None:
    before = site.state
    with pytest.raises(ProjectMissingError, match="no project nope and no project none") as caught:
        site.set_up(projects=("nope", "release", "none"))
    assert "this command makes no projects" in caught.value.next_step
    assert site.state == before


def test_what_the_cluster_would_refuse_is_known_before_anything_is_made(site: Site) -> None:
    before = site.state
    site.kept.refuses = PermissionError("may not create secrets")
    with pytest.raises(PermissionError):
        site.set_up()
    assert site.state == before
    checked = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in site.kept.checked}
    assert checked == {
        ("klever", "klever-harbor"),
        ("klever", "klever-registry"),
        ("models", "klever-registry"),
        ("klever", "klever-hook"),
    }


def test_a_secret_of_the_wrong_type_is_refused_before_anything_is_made(site: Site) -> None:
    site.kept.write({"metadata": {"name": "klever-registry", "namespace": "models"}, "type": "Opaque", "data": {}})
    before = site.state
    with pytest.raises(secrets.SecretUnusableError, match=r"type Opaque, expected kubernetes\.io/docker") as caught:
        site.set_up()
    assert "kubectl delete secret klever-registry -n models" in caught.value.next_step
    assert site.state == before


@pytest.mark.parametrize(
    "url",
    ["klever.example/hooks", "ftp://klever.example/hooks", "https://", "https://klever.example/hooks?x=1",
     "https://ada:secret@klever.example/hooks", "https://klever.example:99999/hooks"],
)  # fmt: skip
def test_a_hook_that_harbor_would_not_call_is_refused(site: Site, url: str) -> None:
    before = site.state
    with pytest.raises(webhooks.InvalidHookUrlError) as caught:
        site.set_up(hook_url=url)
    assert "secret@" not in str(caught.value)
    assert site.state == before


def test_a_robot_that_somebody_disabled_stays_disabled(site: Site) -> None:
    site.set_up()
    (robot,) = site.harbor.inventory.robots.values()
    robot.disabled = True
    before = site.state
    with pytest.raises(robots.RobotDisabledError, match=r"robot\$release\+klever is disabled"):
        site.set_up(rotate=True)
    assert site.state == before


def test_strangers_and_wrong_passwords_change_nothing(site: Site) -> None:
    before = site.state
    with site.open(Credentials("admin", "wrong")) as harbor, pytest.raises(HarborUnauthorizedError):
        list(set_up(harbor, site.kept, site.wanted, site.open))
    assert site.state == before


# Interruptions: after each thing that a run does, and before it.


class Cut(BaseException):
    """The moment at which a process is killed."""


@dataclass
class Scissors:
    """Ends a run before or after its n-th change of anything."""

    at: int
    after: bool
    done: int = 0

    def around(self, act: Callable[[], Any]) -> Any:
        self.done += 1
        if self.done == self.at and not self.after:
            raise Cut
        result = act()
        if self.done == self.at and self.after:
            raise Cut
        return result


@dataclass
class CutKept:
    kept: Kept
    scissors: Scissors

    def read(self, name: str, namespace: str) -> Document | None:
        return self.kept.read(name, namespace)

    def check(self, documents: Iterable[Document]) -> None:
        self.kept.check(documents)

    def write(self, document: Document) -> None:
        self.scissors.around(lambda: self.kept.write(document))


class CutHarbor(Harbor):
    scissors: Scissors

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        ask = super()._ask
        if method in ("GET", "HEAD"):
            return ask(method, *arguments, **options)
        return self.scissors.around(lambda: ask(method, *arguments, **options))


def interrupted(site: Site, at: int, *, after: bool, **changes: Any) -> bool:
    """Run and be killed at a change; say whether there was one."""
    scissors = Scissors(at, after)
    with CutHarbor(site.harbor.url, ADMIN, retry=Retry(tries=1)) as harbor:
        harbor.scissors = scissors
        try:
            list(set_up(harbor, CutKept(site.kept, scissors), replace(site.wanted, **changes), site.open))
        except Cut:
            return True
        return False


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("rotate", [False, True])
def test_a_run_that_was_killed_anywhere_is_finished_by_the_next(after: bool, rotate: bool) -> None:
    at, cut = 0, True
    while cut:
        at += 1
        harbor = StandIn("127.0.0.1:1")
        try:
            harbor.make_project("release")
            site = Site(harbor)
            if rotate:
                site.set_up()
            cut = interrupted(site, at, after=after, rotate=rotate)
            site.set_up()
            assert set(results(site.set_up()).values()) == {"unchanged"}
            with site.open(site.kept.robot()) as opened:
                assert opened.accepts_credentials()
            assert site.kept.pods("models", harbor.host) == site.kept.robot()
            assert len(harbor.inventory.robots) == len(harbor.inventory.policies) == 1
        finally:
            harbor.close()
    # Marking, the robot, three secrets of it; when nothing is there yet, also the hook's secret and the policy.
    assert at - 1 == (5 if rotate else 7)


# What only a Harbor of another mind answers.


@dataclass
class Answers:
    """A Harbor that answers what it is told to."""

    robots: list[dict[str, Any]]
    prefix: Any = None
    refuses_system: bool = False
    asked: list[str] = field(default_factory=list)

    def list_all(self, path: str, query: dict[str, str] | None = None) -> Iterator[dict[str, Any]]:
        if query is None and self.refuses_system:
            raise HarborUnauthorizedError("forbidden")
        wanted = "project" if query else "system"
        yield from (each for each in self.robots if each["level"] == wanted)

    def get(self, path: str) -> Any:
        self.asked.append(path)
        if isinstance(self.prefix, Exception):
            raise self.prefix
        return {"robot_name_prefix": {"value": self.prefix, "editable": True}}

    def create(self, path: str, document: Any) -> Any:
        raise HarborConflictError("robot account klever already exists")


def robot(name: str, level: str = "system", number: int = 7) -> dict[str, Any]:
    return {"id": number, "name": name, "level": level, "permissions": [], "disable": False, "expires_at": -1}


def found(harbor: Answers, projects: dict[str, int]) -> str | None:
    one = robots.find(harbor, "klever", projects)  # type: ignore[arg-type]
    return one.name if one else None


def test_a_robot_is_found_under_another_prefix_of_names() -> None:
    listed = [robot("bot_not-klever"), robot("bot_klever"), robot("bot_release+klever")]
    harbor = Answers(listed, prefix="bot_")
    assert found(harbor, {"release": 1, "staging": 2}) == "bot_klever"
    assert harbor.asked == ["/configurations"]


def test_a_robot_whose_name_only_ends_alike_is_not_taken() -> None:
    assert found(Answers([robot("robot$not-klever")], prefix="robot$"), {"release": 1, "staging": 2}) is None
    assert found(Answers([robot("robot$release+not-klever", "project")]), {"release": 1}) is None


def test_an_administrator_of_one_project_needs_no_rights_beyond_it() -> None:
    assert found(Answers([robot("robot$release+klever", "project")], refuses_system=True), {"release": 1}) is not None
    assert found(Answers([], refuses_system=True), {"release": 1}) is None
    with pytest.raises(HarborUnauthorizedError) as caught:
        found(Answers([], refuses_system=True), {"release": 1, "staging": 2})
    assert "takes an administrator of Harbor" in caught.value.next_step


def test_an_expired_robot_is_not_renewed_by_itself() -> None:
    document = robot("robot$klever") | {"expires_at": 1_000_000_000}
    one = robots.find(Answers([document]), "klever", {"a": 1, "b": 2})  # type: ignore[arg-type]
    assert one is not None
    with pytest.raises(robots.RobotDisabledError, match="has expired"):
        robots.check_usable(one)


def test_a_silent_harbor_is_told_of(site: Site) -> None:
    class Silent(Harbor):
        def get(self, path: str, query: Any = None) -> Any:
            answer = super().get(path, query)
            return answer | {"notification_enable": False} if path == "/systeminfo" else answer

    with Silent(site.harbor.url, ADMIN) as harbor:
        done = site.set_up(opened=harbor)
    assert done[-1].result == "note"
    assert "turned all webhooks off" in done[-1].detail
