"""What the doctor finds of the registry, Harbor, its webhook policies, and where these lead."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from fakes import Exchange, fake

from klever.api.doctor.check import State
from klever.api.harbor import secrets
from klever.steps.oci.credentials import Credentials

from .conftest import AUTHORIZATION, HOME, Patient

Administrator = Callable[[str], Credentials | None]


@dataclass
class Hook:
    """A server of Klever's, as it answers events."""

    url: str = ""
    #: Status by what is sent as ``Authorization``; any other is 401.
    answers: dict[str, int] = field(default_factory=lambda: {AUTHORIZATION: 202})
    bodies: list[bytes] = field(default_factory=list)

    def answer(self, exchange: Exchange) -> None:
        self.bodies.append(exchange.body())
        exchange.reply(self.answers.get(exchange.headers.get("Authorization", ""), 401))


@contextmanager
def hook() -> Iterator[Hook]:
    made = Hook()
    with fake(made.answer) as running:
        made.url = f"http://{running.host}/hooks/harbor"
        yield made


def test_a_robot_that_harbor_does_not_accept_is_a_failure_at_the_registry_too(patient: Patient) -> None:
    (robot,) = patient.harbor.inventory.robots.values()
    robot.secret = "another"
    found = patient.examine()
    assert found["robot"].state is found["registry"].state is State.FAILED
    assert "does not accept robot$release+klever" in found["robot"].detail
    assert "--rotate" in found["robot"].next_step
    assert "klever harbor setup" in found["registry"].next_step


def test_a_robot_without_rights_in_a_project_of_the_policy_is_a_failure(patient: Patient) -> None:
    patient.harbor.make_project("staging")
    found = patient.examine(projects=("release", "staging"))
    assert found["robot"].state is State.FAILED
    assert "may not see staging" in found["robot"].detail
    assert found["robot"].next_step == "klever harbor setup with --project release --project staging"


def test_projects_that_a_pattern_of_the_policy_means_are_those_that_the_robot_sees(patient: Patient) -> None:
    policy = "projects: [{match: 'rel*', namespace: models}]"
    patient.api.objects[patient.at("configmaps", "klever-policy")]["data"]["policy.yaml"] = policy
    assert patient.examine()["robot"].detail.endswith("and may see release")


def test_what_cannot_be_reached_is_a_failure_where_somebody_named_it(patient: Patient) -> None:
    found = patient.examine(harbor_url="http://127.0.0.1:1", registry_host="127.0.0.1:1")
    for name in ("registry", "harbor", "robot"):
        assert found[name].state is State.FAILED, found[name]
        assert found[name].next_step.startswith("check ")


def test_what_pods_reach_and_this_machine_does_not_is_no_failure(patient: Patient) -> None:
    environment = patient.deployment("klever-controller")["spec"]["template"]["spec"]["containers"][0]["env"]
    for variable in environment:
        if variable["name"] in ("KLEVER_HARBOR_URL", "KLEVER_REGISTRY_HOST"):
            variable["value"] = variable["value"].rpartition(":")[0] + ":1"
    found = patient.examine()
    for name in ("registry", "harbor", "robot"):
        assert found[name].state is State.WARNING, found[name]
        assert "pods may reach it" in found[name].detail
        assert f"kubectl exec -n {HOME} deployment/klever-controller -- klever doctor" in found[name].next_step


def test_a_pod_of_ours_needs_no_options_and_no_rights(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, administrator: Administrator
) -> None:
    (robot,) = patient.harbor.inventory.robots.values()
    (patient.directory / "username").write_text(robot.name + "\n")
    (patient.directory / "password").write_text(robot.secret + "\n")
    (patient.directory / "policy.yaml").write_text("projects: [{match: release, namespace: models}]")
    patient.environment |= {
        "KLEVER_NAMESPACES": "models",
        "KLEVER_HARBOR_URL": patient.harbor.url,
        "KLEVER_REGISTRY_HOST": patient.harbor.host,
        "KLEVER_PLAIN_HTTP": "true",
        "KLEVER_HARBOR_USERNAME_FILE": str(patient.directory / "username"),
        "KLEVER_HARBOR_PASSWORD_FILE": str(patient.directory / "password"),
        "KLEVER_POLICY_FILE": str(patient.directory / "policy.yaml"),
    }
    patient.api.forbidden = {"/api", "/apis"}
    found = patient.examine()
    assert found["robot"].state is found["harbor"].state is State.OK
    assert found["robot"].detail.endswith("and may see release")
    assert [check for check in found.values() if check.state is State.FAILED and check.name != "registry"] == []
    # It keeps no models.
    assert found.keys().isdisjoint({"store", "environments"})


# Webhook policies, which an administrator alone may see.


def test_without_an_administrator_policies_are_skipped_with_the_reason(patient: Patient) -> None:
    found = patient.examine()["webhook policy release"]
    assert found.state is State.SKIPPED
    assert "only an administrator" in found.detail
    assert "klever login" in found.next_step


def test_a_robot_for_an_administrator_may_not_see_them(patient: Patient) -> None:
    (robot,) = patient.harbor.inventory.robots.values()
    found = patient.examine(administrator=lambda _host: Credentials(robot.name, robot.secret))
    assert found["webhook policy release"].state is State.SKIPPED
    assert "may not see webhook policies" in found["webhook policy release"].detail


def test_the_policy_of_this_installation_is_told_from_others(patient: Patient, administrator: Administrator) -> None:
    patient.harbor.make_policy("release", "https://other.example/", authorization="theirs", name="other")
    patient.harbor.make_policy("release", "https://else.example/", authorization="theirs", name="klever")
    ours = "http://127.0.0.1:1/hooks/harbor"
    patient.harbor.make_policy("release", ours, authorization=AUTHORIZATION, name="ours")
    found = patient.examine(administrator=administrator)["webhook policy release"]
    assert (found.state, found.detail) == (State.OK, f"tells {ours}")


def test_a_missing_policy_is_a_failure(patient: Patient, administrator: Administrator) -> None:
    found = patient.examine(administrator=administrator)["webhook policy release"]
    assert (found.state, found.detail) == (State.FAILED, "there is none, so Harbor tells nobody of pushes")
    assert "klever harbor setup" in found.next_step


def test_a_policy_and_what_it_leads_to_are_well(patient: Patient, administrator: Administrator) -> None:
    with hook() as called:
        patient.harbor.make_policy("release", called.url, authorization=AUTHORIZATION)
        found = patient.examine(administrator=administrator, hook_url=called.url)
    assert (found["webhook policy release"].state, found["webhook"].state) == (State.OK, State.OK)
    assert found["webhook"].detail.endswith("lets Harbor in, and no stranger")
    assert {b"PUSH" in body for body in called.bodies} == {False}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"enabled": False}, "it is disabled"),
        ({"event_types": ["PULL_ARTIFACT"]}, "does not tell of pushes"),
        ({"targets": [{"type": "http", "address": "https://else.example/", "auth_header": AUTHORIZATION}]}, "it tells"),
        ({"targets": [{"type": "http", "address": "", "auth_header": "x"}]}, "another Authorization"),
    ],
)
def test_a_policy_that_cannot_work_is_a_failure(
    patient: Patient, administrator: Administrator, change: dict[str, object], said: str
) -> None:
    url = "http://127.0.0.1:1/hooks/harbor"
    patient.harbor.make_policy("release", url, authorization=AUTHORIZATION)
    patient.harbor.inventory.policies[1].document |= change
    found = patient.examine(administrator=administrator, hook_url=url)["webhook policy release"]
    assert found.state is State.FAILED
    assert said in found.detail
    assert AUTHORIZATION not in found.detail


def test_deliveries_that_fail_are_told_and_those_that_failed_once_are_no_failure(
    patient: Patient, administrator: Administrator
) -> None:
    patient.harbor.make_policy("release", "http://127.0.0.1:1/hooks/harbor", authorization=AUTHORIZATION)
    inventory = patient.harbor.inventory
    policy = inventory.policies[1]
    good, bad = (inventory.add_execution(policy, "PUSH_ARTIFACT", "{}") for _ in range(2))
    good.succeeded, bad.succeeded = True, False
    found = patient.examine(administrator=administrator)["webhook policy release"]
    assert found.state is State.FAILED
    assert "1 of the last 2 deliveries failed, the newest among them" in found.detail
    inventory.add_execution(policy, "PUSH_ARTIFACT", "{}").succeeded = True
    found = patient.examine(administrator=administrator)["webhook policy release"]
    assert (found.state, "1 of the last 3" in found.detail) == (State.OK, True)


def test_where_harbor_sends_its_events_is_found_in_its_policy(patient: Patient, administrator: Administrator) -> None:
    with hook() as called:
        patient.harbor.make_policy("release", called.url, authorization=AUTHORIZATION)
        found = patient.examine(administrator=administrator)["webhook"]
    assert (found.state, found.detail) == (State.OK, f"{called.url} lets no stranger in")
    # The secret goes to nobody whom the user has not named.
    assert len(called.bodies) == 1


@pytest.mark.parametrize(
    ("answers", "said", "advice"),
    [
        ({"": 202}, "takes events from strangers (202)", "check that it is Klever's server"),
        ({"": 404}, "answers a stranger with 404, expected 401", "ends with /hooks/harbor"),
        ({"": 503}, "has no secret", "klever harbor setup"),
        ({"": 302}, "answers a stranger with 302", "Ingress"),
        ({AUTHORIZATION: 401}, "answers what Harbor is to send with 401", "reads klever-hook again"),
    ],
)
def test_a_webhook_that_answers_otherwise_is_a_failure(
    patient: Patient, answers: dict[str, int], said: str, advice: str
) -> None:
    with hook() as called:
        called.answers = answers
        found = patient.examine(hook_url=called.url)["webhook"]
    assert found.state is State.FAILED
    assert said in found.detail
    assert advice in found.next_step


def test_a_webhook_that_is_away_is_a_failure_where_somebody_named_it(
    patient: Patient, administrator: Administrator
) -> None:
    away = "http://127.0.0.1:1/hooks/harbor"
    assert patient.examine(hook_url=away)["webhook"].state is State.FAILED
    patient.harbor.make_policy("release", away, authorization=AUTHORIZATION)
    found = patient.examine(administrator=administrator)["webhook"]
    assert found.state is State.WARNING
    assert "Harbor may reach it" in found.detail


def test_without_a_cluster_named_places_are_examined_all_the_same(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(patient.directory / "none")
    monkeypatch.setenv("KUBECONFIG", missing)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", missing)
    patient.environment.clear()
    with hook() as called:
        found = patient.examine(
            harbor_url=patient.harbor.url, hook_url=called.url, projects=("release",), plain_http=True
        )
    assert found["kubernetes"].state is State.SKIPPED
    assert found["harbor"].state is found["webhook"].state is State.OK
    assert found["robot"].state is State.SKIPPED
    # Nobody is logged in, and this registry asks for it.
    assert found["registry"].state is State.FAILED
    assert f"klever login {patient.harbor.host}" in found["registry"].next_step


def test_a_hook_of_several_lines_is_called_with_the_first(patient: Patient) -> None:
    document = secrets.build_hook(HOME, f"{AUTHORIZATION}\nBearer old")
    patient.api.put(patient.at("secrets", "klever-hook"), document)
    with hook() as called:
        assert patient.examine(hook_url=called.url)["webhook"].state is State.OK
