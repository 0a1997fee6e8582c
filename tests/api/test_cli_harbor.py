"""``klever harbor setup`` as a user calls it: against a Harbor's stand-in, into a cluster's API server or a file."""

import io
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from api_servers import ApiServer, api_server
from harbor.server import StandIn

from klever.api.harbor import secrets

from .conftest import Klever, Outcome

HOOK = "https://klever.example/hooks/harbor"


@dataclass
class Site:
    """A Harbor with the projects release and staging, a cluster, and the command."""

    klever: Klever
    harbor: StandIn
    api: ApiServer

    def setup(self, *arguments: str | Path, projects: tuple[str, ...] = ("release",)) -> Outcome:
        named = [part for project in projects for part in ("--project", project)]
        return self.klever("harbor", "setup", self.harbor.url, *named, "--hook-url", HOOK, *arguments)


@pytest.fixture
def site(klever: Klever, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Everything that is needed, with the administrator's password in the environment."""
    harbor = StandIn("127.0.0.1:1")
    try:
        for project in ("release", "staging"):
            harbor.make_project(project)
        with api_server() as api:
            path = str(api.kubeconfig(tmp_path, "klever"))
            # The client reads the variable when it is imported, which has to be before the variable is another.
            monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", path)
            monkeypatch.setenv("KUBECONFIG", path)
            monkeypatch.setenv("KLEVER_HARBOR_USERNAME", "admin")
            monkeypatch.setenv("KLEVER_HARBOR_PASSWORD", "Harbor12345")
            yield Site(klever, harbor, api)
    finally:
        harbor.close()


def test_it_says_line_by_line_what_it_did_and_the_second_time_that_there_was_nothing_to_do(site: Site) -> None:
    first = site.setup("-n", "models")
    assert first.code == 0, first.err
    assert first.out.splitlines() == [
        "robot robot$release+klever: created (pulls and pushes in release)",
        "secret klever/klever-harbor: created (for the relist)",
        f"secret klever/klever-registry: created (for {site.harbor.host})",
        f"secret models/klever-registry: created (for {site.harbor.host})",
        "secret klever/klever-hook: created (what Harbor sends with its events)",
        f"webhook policy release/klever: created (tells {HOOK} of pushes)",
    ]
    site.api.written.clear()
    again = site.setup("-n", "models")
    assert again.code == 0
    assert {line.partition(": ")[2].partition(" ")[0] for line in again.out.splitlines()} == {"unchanged"}
    assert "everything was as it has to be" in again.err
    assert site.api.written == []


def test_no_secret_is_printed(site: Site) -> None:
    told = [site.setup(), site.setup("--json"), site.setup("--rotate"), site.setup("--rotate", "--json")]
    assert {each.code for each in told} == {0}
    text = "".join(each.out + each.err for each in told)
    kept = site.api.objects["/api/v1/namespaces/klever/secrets/klever-harbor"]
    hook = site.api.objects["/api/v1/namespaces/klever/secrets/klever-hook"]
    for secret in (secrets.read_harbor(kept).password, secrets.read_hook(hook), "Harbor12345"):
        assert secret
        assert secret not in text


def test_programs_read_the_steps_as_json(site: Site) -> None:
    planned = site.setup("--json", "--dry-run").document
    assert (planned["dryRun"], planned["changed"]) == (True, True)
    assert site.harbor.inventory.robots == {}
    assert site.api.written == []
    done = site.setup("--json").document
    assert (done["dryRun"], done["changed"]) == (False, True)
    assert [step["subject"] for step in done["steps"]][1:] == [step["subject"] for step in planned["steps"]][1:]
    assert {step["result"] for step in done["steps"]} == {"created"}
    assert site.setup("--json").document["changed"] is False


def test_the_installations_namespace_is_that_of_the_context_unless_it_is_named(site: Site) -> None:
    assert site.setup().code == 0
    assert "/api/v1/namespaces/klever/secrets/klever-hook" in site.api.objects
    assert site.setup("--install-namespace", "system", "--rotate").code == 0
    assert "/api/v1/namespaces/system/secrets/klever-hook" in site.api.objects


def test_without_a_cluster_the_secrets_go_into_a_file_for_its_owner(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    first = site.setup("--output", path, "-n", "models", "--install-namespace", "klever")
    assert first.code == 0, first.err
    assert f"kubectl apply -f {path}" in first.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    documents = list(yaml.safe_load_all(path.read_text()))
    assert {(d["metadata"]["namespace"], d["metadata"]["name"], d["kind"]) for d in documents} == {
        ("klever", "klever-harbor", "Secret"),
        ("klever", "klever-registry", "Secret"),
        ("models", "klever-registry", "Secret"),
        ("klever", "klever-hook", "Secret"),
    }
    before = path.read_bytes()
    again = site.setup("--output", path, "-n", "models", "--install-namespace", "klever")
    assert (again.code, path.read_bytes()) == (0, before)
    assert site.api.written == []


def test_without_a_cluster_and_without_a_file_both_are_named(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(tmp_path / "none")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", missing)
    monkeypatch.setenv("KUBECONFIG", missing)
    refused = site.setup("--json")
    assert (refused.code, refused.error["type"]) == (1, "NoClusterError")
    assert "--output FILE" in refused.error["nextStep"]
    assert site.harbor.inventory.robots == {}


def test_the_password_comes_from_standard_input_or_from_login(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KLEVER_HARBOR_USERNAME", "KLEVER_HARBOR_PASSWORD"):
        monkeypatch.delenv(variable)
    stranger = site.setup("--json")
    assert (stranger.code, stranger.error["type"]) == (1, "NotLoggedInError")
    assert f"klever login {site.harbor.host}" in stranger.error["nextStep"]
    monkeypatch.setattr("sys.stdin", io.StringIO("wrong\n"))
    wrong = site.setup("-u", "admin", "--password-stdin", "--json")
    assert (wrong.code, wrong.error["type"]) == (1, "HarborUnauthorizedError")
    assert "wrong" not in wrong.err
    monkeypatch.setattr("sys.stdin", io.StringIO("Harbor12345\n"))
    assert site.setup("-u", "admin", "--password-stdin").code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("Harbor12345\n"))
    login = site.klever("login", "--plain-http", site.harbor.host, "-u", "admin", "--password-stdin")
    assert login.code == 0, login.err
    assert site.setup().code == 0


def test_wrong_usage_is_told_before_anything_is_asked(site: Site) -> None:
    for arguments, said in (
        (("--robot-name", "Klever Robot"), "lower-case letters"),
        (("--payload", "XML"), "CloudEvents"),
        (("--hook-url", "klever.example"), "expected https://HOST/hooks/harbor"),
    ):
        refused = site.setup(*arguments)
        assert refused.code in (1, 2)
        assert said in refused.err
    assert site.klever("harbor", "setup", site.harbor.url, "--hook-url", HOOK).code == 2
    assert site.harbor.inventory.robots == {}


def test_a_cluster_that_refuses_leaves_harbor_as_it_was(site: Site) -> None:
    site.api.forbidden = {"/api/v1/namespaces/models"}
    refused = site.setup("-n", "models", "--json")
    assert (refused.code, refused.error["type"]) == (1, "ForbiddenError")
    assert site.harbor.inventory.robots == {}
    assert site.harbor.inventory.policies == {}


def test_an_address_is_taken_as_a_registrys_host_is_too(site: Site) -> None:
    arguments = ("--project", "release", "--hook-url", HOOK, "--plain-http")
    assert site.klever("harbor", "setup", site.harbor.host, *arguments).code == 0
    refused = site.klever("harbor", "setup", f"http://ada:hidden@{site.harbor.host}", *arguments)
    assert refused.code == 1
    assert "hidden" not in refused.err


def test_several_projects_are_set_up_at_once(site: Site) -> None:
    done = site.setup("--json", projects=("release", "staging")).document
    assert [step["subject"] for step in done["steps"]] == [
        "robot robot$klever",
        "secret klever/klever-harbor",
        "secret klever/klever-registry",
        "secret klever/klever-hook",
        "webhook policy release/klever",
        "webhook policy staging/klever",
    ]


def test_a_registry_of_another_name_is_what_pods_log_in_to(site: Site) -> None:
    assert site.setup("--registry", "registry.inside:5000").code == 0
    document = site.api.objects["/api/v1/namespaces/klever/secrets/klever-registry"]
    assert secrets.read_registry(document, "registry.inside:5000") is not None
