"""What the doctor finds of an installation: all well, and each thing that may be wrong with what to do about it."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from api_servers import Document
from helm import render

from klever.api.doctor.check import State
from klever.api.doctor.rights import AT_HOME, IN_NAMESPACES, OF_EXECUTOR

from .conftest import HOME, JOBS, Patient

DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modeljobs.kleveross.io"
ARGO = "/apis/apps/v1/namespaces/argo/deployments/workflow-controller"

Break = Callable[[Patient], Any]


def test_an_installation_in_which_all_is_well_has_no_failure(patient: Patient) -> None:
    found = patient.examine()
    assert {check.name: check for check in found.values() if check.state in (State.FAILED, State.WARNING)} == {}
    expected = {
        "python",
        "store",
        "environments",
        "kubernetes",
        "modeljobs",
        "argo",
        "argo controller",
        "deployment klever/klever-controller",
        "deployment klever/klever-server",
        "lease klever/klever-controller",
        "accounts klever",
        "accounts models",
        "token models",
        "templates models",
        "policy klever",
        "secret klever/klever-harbor",
        "secret klever/klever-hook",
        "secret klever/klever-registry",
        "secret models/klever-registry",
        "rights klever, leading",
        "rights models, jobs",
        "rights models, pods",
        "rights models, yours",
        "workflow models",
        "modeljob models",
        "registry",
        "harbor",
        "robot",
    }
    assert expected <= {check.name for check in found.values() if check.state is State.OK}


def test_nothing_is_written_to_the_cluster(patient: Patient) -> None:
    before = dict(patient.api.objects)
    patient.examine()
    assert patient.api.written == []
    assert patient.api.objects == before


def test_no_secret_is_in_what_is_found(patient: Patient) -> None:
    (robot,) = patient.harbor.inventory.robots.values()
    told = " ".join(f"{check.detail} {check.next_step}" for check in patient.examine().values())
    assert robot.secret not in told
    assert "a-text-that-nobody-guesses" not in told


def edited(path: str, change: Callable[[Document], Any]) -> Break:
    return lambda patient: change(patient.api.objects[path])


def removed(kind: str, name: str, namespace: str = HOME) -> Break:
    return lambda patient: patient.api.objects.pop(patient.at(kind, name, namespace))


def changed(kind: str, name: str, change: Callable[[Document], Any], namespace: str = HOME) -> Break:
    return lambda patient: change(patient.api.objects[patient.at(kind, name, namespace)])


def version(text: str) -> Break:
    return lambda patient: patient.api.objects["/version"].update(gitVersion=text)


def image(text: str) -> Callable[[Document], Any]:
    return lambda document: document["spec"]["template"]["spec"]["containers"][0].update(image=text)


def denied(who: str, verb: str, resource: str) -> Break:
    return lambda patient: patient.api.denied.add((who, verb, resource))


def down(patient: Patient) -> None:
    """Take the server's pods away."""
    patient.deployment("klever-server")["status"].clear()
    status = {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}
    patient.api.put(patient.at("pods", "klever-server-1"), {"status": status})
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    patient.api.put(patient.at("pods", "klever-server-2"), {"status": {"conditions": [condition]}})


FAULTS: dict[str, tuple[Break, str, State, str, str]] = {
    "an old Kubernetes": (version("v1.24.17"), "kubernetes", State.FAILED, "v1.24.17", "1.27 or later"),
    "a Kubernetes of a vendor": (version("v1.27.3-gke.100"), "kubernetes", State.OK, "v1.27.3-gke.100", ""),
    "no definition of ModelJobs": (
        lambda patient: patient.api.objects.pop(DEFINITION),
        "modeljobs",
        State.FAILED,
        "does not know modeljobs.kleveross.io",
        "kubectl apply --server-side",
    ),
    "a definition that is not established": (
        edited(DEFINITION, lambda crd: crd["status"]["conditions"].pop()),
        "modeljobs",
        State.FAILED,
        "not Established",
        "kubectl describe crd",
    ),
    "names that another definition has": (
        edited(DEFINITION, lambda crd: crd["status"]["conditions"][0].update(status="False", message="in conflict")),
        "modeljobs",
        State.FAILED,
        "not NamesAccepted: in conflict",
        "kubectl describe crd",
    ),
    "a definition of another version": (
        edited(DEFINITION, lambda crd: crd["spec"]["versions"][0]["schema"].clear()),
        "modeljobs",
        State.FAILED,
        "is not the definition of Klever",
        "kubectl apply --server-side",
    ),
    "an Argo without task results": (
        edited("/apis/argoproj.io/v1alpha1", lambda found: found["resources"].pop()),
        "argo",
        State.FAILED,
        "workflowtaskresults",
        "install all CRDs",
    ),
    "an old Argo": (
        edited(ARGO, image("quay.io/argoproj/workflow-controller:v3.5.11")),
        "argo controller",
        State.FAILED,
        "v3.5.11",
        "3.6 or later",
    ),
    "an Argo of the next major version": (
        edited(ARGO, image("quay.io/argoproj/workflow-controller:v4.0.1@sha256:00")),
        "argo controller",
        State.OK,
        "v4.0.1",
        "",
    ),
    "an Argo that nobody knows yet": (
        edited(ARGO, image("quay.io/argoproj/workflow-controller:v5.0.0")),
        "argo controller",
        State.WARNING,
        "newer than what is known",
        "watch",
    ),
    "an Argo whose version cannot be seen": (
        edited(ARGO, image("mirror.example/workflow-controller@sha256:00")),
        "argo controller",
        State.SKIPPED,
        "tells no version",
        "",
    ),
    "an Argo elsewhere": (
        lambda patient: patient.api.objects.pop(ARGO),
        "argo controller",
        State.SKIPPED,
        "no deployment in namespace argo",
        "--argo-namespace",
    ),
    "an Argo that is down": (
        edited(ARGO, lambda found: found["status"].clear()),
        "argo controller",
        State.FAILED,
        "not ready",
        "kubectl describe deployment -n argo",
    ),
    "no controller": (
        removed("deployments", "klever-controller"),
        "deployment klever/klever-controller",
        State.FAILED,
        "there is none",
        "helm install",
    ),
    "a server that is down": (
        down,
        "deployment klever/klever-server",
        State.FAILED,
        "0 of 2 ready, docker.io/klever/api:1.0.0; its pods: CrashLoopBackOff, Unschedulable",
        "kubectl describe pod -n klever -l app.kubernetes.io/component=server",
    ),
    "one replica of two": (
        changed("deployments", "klever-server", lambda found: found["status"].update(readyReplicas=1)),
        "deployment klever/klever-server",
        State.WARNING,
        "1 of 2 ready",
        "kubectl describe pod",
    ),
    "a server that is scaled to none": (
        changed("deployments", "klever-server", lambda found: found["spec"].update(replicas=0)),
        "deployment klever/klever-server",
        State.FAILED,
        "scaled to none",
        "kubectl scale",
    ),
    "nobody who ever led": (
        removed("leases", "klever-controller"),
        "lease klever/klever-controller",
        State.FAILED,
        "has ever led",
        "kubectl logs",
    ),
    "nobody who leads": (
        changed("leases", "klever-controller", lambda found: found["spec"].update(holderIdentity="")),
        "lease klever/klever-controller",
        State.FAILED,
        "no controller leads",
        "kubectl logs",
    ),
    "a leader that is gone": (
        changed("leases", "klever-controller", lambda it: it["spec"].update(renewTime="2026-01-01T00:00:00.000000Z")),
        "lease klever/klever-controller",
        State.FAILED,
        "one led, and has not been heard of",
        "kubectl logs",
    ),
    "no account of the server": (
        removed("serviceaccounts", "klever-server"),
        "accounts klever",
        State.FAILED,
        "klever-server missing",
        "helm upgrade",
    ),
    "no account of the pods": (
        removed("serviceaccounts", "klever-step", JOBS),
        "accounts models",
        State.FAILED,
        "klever-step missing",
        "klever templates apply -n models",
    ),
    "no token for what steps give": (
        removed("secrets", "klever-executor.service-account-token", JOBS),
        "token models",
        State.FAILED,
        "missing",
        "klever templates apply -n models",
    ),
    "no template for conversions": (
        removed("workflowtemplates", "klever-convert", JOBS),
        "templates models",
        State.FAILED,
        "klever-convert missing",
        "klever templates apply -n models",
    ),
    "a template of another version": (
        changed("workflowtemplates", "klever-extract", lambda it: it["spec"]["arguments"]["parameters"].pop(), JOBS),
        "templates models",
        State.FAILED,
        "klever-extract of another version",
        "klever templates diff -n models",
    ),
    "a policy without a project": (
        changed("configmaps", "klever-policy", lambda it: it["data"].update({"policy.yaml": "{}"})),
        "policy klever",
        State.WARNING,
        "no project",
        "set policy",
    ),
    "a policy that is none": (
        changed("configmaps", "klever-policy", lambda it: it["data"].update({"policy.yaml": "projects: 3"})),
        "policy klever",
        State.FAILED,
        "line 1",
        "correct the policy",
    ),
    "a policy for a namespace where nobody looks": (
        changed(
            "configmaps",
            "klever-policy",
            lambda it: it["data"].update({"policy.yaml": "projects: [{match: release, namespace: elsewhere}]"}),
        ),
        "policy klever",
        State.FAILED,
        "elsewhere, where the controller does not look",
        "add these to namespaces",
    ),
    "no secret of the webhook": (
        removed("secrets", "klever-hook"),
        "secret klever/klever-hook",
        State.FAILED,
        "there is none",
        "klever harbor setup",
    ),
    "a secret of pods of another type": (
        changed("secrets", "klever-registry", lambda it: it.update(type="Opaque"), JOBS),
        "secret models/klever-registry",
        State.FAILED,
        "type Opaque",
        "kubectl delete secret klever-registry -n models",
    ),
    "a secret of pods for another registry": (
        changed(
            "secrets",
            "klever-registry",
            lambda it: it["data"].update({".dockerconfigjson": base64.b64encode(b'{"auths": {}}').decode()}),
            JOBS,
        ),
        "secret models/klever-registry",
        State.FAILED,
        "nothing for 127.0.0.1",
        "klever harbor setup",
    ),
    "a setup that was interrupted": (
        changed(
            "secrets",
            "klever-harbor",
            lambda it: it["metadata"].update(annotations={"kleveross.io/pending": "robot"}),
        ),
        "secret klever/klever-harbor",
        State.FAILED,
        "lacks what it is for",
        "klever harbor setup",
    ),
    "a controller that may not write status": (
        denied("klever-controller", "patch", "modeljobs/status"),
        "rights models, jobs",
        State.FAILED,
        "klever-controller may not patch modeljobs/status.kleveross.io",
        "helm upgrade",
    ),
    "a controller that cannot lead": (
        denied("klever-controller", "create", "leases"),
        "rights klever, leading",
        State.FAILED,
        "may not create leases",
        "helm upgrade",
    ),
    "pods that cannot report": (
        denied("klever-executor", "patch", "workflowtaskresults"),
        "rights models, pods",
        State.FAILED,
        "klever-executor may not patch workflowtaskresults",
        "helm upgrade",
    ),
    "somebody who may only look": (
        denied("you", "create", "modeljobs"),
        "rights models, yours",
        State.WARNING,
        "you may not create modeljobs.kleveross.io",
        "ask whoever administers",
    ),
    "no namespace for jobs": (
        lambda patient: patient.api.objects.pop(f"/api/v1/namespaces/{JOBS}"),
        "namespace models",
        State.FAILED,
        "there is none",
        "kubectl create namespace models",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_each_fault_is_found_where_it_is_and_says_what_to_do(
    patient: Patient, fault: tuple[Break, str, State, str, str]
) -> None:
    break_it, name, state, detail, next_step = fault
    break_it(patient)
    found = patient.examine()
    assert found[name].state is state, found[name]
    assert detail in found[name].detail
    assert next_step in found[name].next_step
    # What is not well has advice, and one failure is not another's.
    assert all(check.next_step for check in found.values() if check.state in (State.FAILED, State.WARNING))
    others = [check for check in found.values() if check.state is State.FAILED and check.name != name]
    assert others == []


def test_who_may_see_little_gets_reasons_and_no_failures(patient: Patient) -> None:
    patient.api.forbidden = {
        "/apis/apiextensions.k8s.io",
        "/apis/apps/v1/namespaces/argo",
        "/apis/authorization.k8s.io",
        f"/api/v1/namespaces/{HOME}",
        f"/api/v1/namespaces/{JOBS}/secrets",
        f"/apis/apps/v1/namespaces/{HOME}",
        f"/apis/coordination.k8s.io/v1/namespaces/{HOME}",
    }
    found = patient.examine(job_namespaces=(JOBS,))
    failed = [check for check in found.values() if check.state is State.FAILED]
    assert failed == []
    for name in ("modeljobs", "lease klever/klever-controller", "secret klever/klever-hook", "rights models, jobs"):
        assert found[name].state is State.SKIPPED
        assert "may not" in found[name].detail
        assert found[name].next_step
    assert found["templates models"].state is State.OK


def test_a_controller_that_looks_everywhere_is_examined_where_pushes_start_jobs(patient: Patient) -> None:
    for name in ("klever-controller", "klever-server"):
        (variable,) = (
            each
            for each in patient.deployment(name)["spec"]["template"]["spec"]["containers"][0]["env"]
            if each["name"] == "KLEVER_NAMESPACES"
        )
        variable["value"] = ""
    found = patient.examine()
    assert found[f"templates {JOBS}"].state is State.OK
    assert [check for check in found.values() if check.state is State.FAILED] == []


def test_a_cluster_without_argo_is_told_in_one_sentence(patient: Patient) -> None:
    for path in [path for path in patient.api.objects if "argoproj.io" in path]:
        del patient.api.objects[path]
    found = patient.examine()
    assert found["argo"].state is State.FAILED
    assert "install Argo" in found["argo"].next_step


def test_templates_with_another_installations_settings_are_of_this_version(patient: Patient) -> None:
    template = patient.api.objects[patient.at("workflowtemplates", "klever-extract", JOBS)]
    template["spec"]["activeDeadlineSeconds"] = 5
    template["spec"]["serviceAccountName"] = "own"
    for each in template["spec"]["templates"]:
        if container := each.get("container"):
            container |= {"image": "harbor.example/klever/steps:9", "env": [], "imagePullPolicy": "Always"}
            each.pop("memoize", None)
    assert patient.examine()["templates models"].state is State.OK


def test_a_cluster_that_is_away_stops_no_other_check(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.api.host = "127.0.0.1:1"
    patient.api.kubeconfig(patient.directory, HOME)
    found = patient.examine(harbor_url=patient.harbor.url)
    assert found["kubernetes"].state is State.FAILED
    assert found["installation"].state is State.SKIPPED
    assert found["harbor"].state is State.OK
    assert found["python"].state is State.OK


def test_a_kubeconfig_that_is_named_and_missing_is_a_failure_and_none_at_all_is_not(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(patient.directory / "none")
    monkeypatch.setenv("HOME", str(patient.directory))
    monkeypatch.setenv("KUBECONFIG", missing)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", missing)
    patient.environment["KUBECONFIG"] = missing
    assert patient.examine()["kubernetes"].state is State.FAILED
    del patient.environment["KUBECONFIG"]
    found = patient.examine()
    assert found["kubernetes"].state is State.SKIPPED
    assert "--context" in found["kubernetes"].next_step
    assert [check for check in found.values() if check.state is State.FAILED] == []


def test_the_rights_that_are_checked_are_those_that_the_chart_gives(chart_rules: dict[str, list[Document]]) -> None:
    def plain(rules: list[Document]) -> set[tuple[str, str, str]]:
        return {
            (group, resource, verb)
            for rule in rules
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    for account, rights in IN_NAMESPACES.items():
        checked = {(right.group, right.resource, verb) for right in rights for verb in right.verbs}
        assert checked == plain(chart_rules[account.removeprefix("klever-")])


def test_the_rights_to_lead_that_are_checked_are_those_that_the_chart_gives() -> None:
    (role,) = (
        each for each in render() if (each["kind"], each["metadata"]["name"]) == ("Role", "klever-controller-lease")
    )
    assert [
        (rule["apiGroups"], rule["resources"], rule.get("resourceNames", [""]), rule["verbs"]) for rule in role["rules"]
    ] == [([right.group], [right.resource], [right.name], list(right.verbs)) for right in AT_HOME["klever-controller"]]


def test_the_rights_beside_a_step_are_those_of_the_templates() -> None:
    from klever.workflows.templates.access import build
    from klever.workflows.templates.settings import Settings

    (role,) = (each for each in build(Settings(remember=""), "models") if each["kind"] == "Role")
    assert [(r["apiGroups"], r["resources"], r["verbs"]) for r in role["rules"]] == [
        ([right.group], [right.resource], list(right.verbs)) for right in OF_EXECUTOR
    ]
    assert set(AT_HOME) == {"klever-controller"}
