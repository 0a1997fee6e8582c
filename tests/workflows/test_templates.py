"""The WorkflowTemplates: what they promise to Argo, to the pods they start, and to whoever administers them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus import SHARED
from schemas import faults

from klever.api.task.contract import VERBS
from klever.steps.environments.table import ENVIRONMENTS
from klever.steps.errors import NotFoundError
from klever.workflows.templates import access, golden
from klever.workflows.templates.images import IMAGE_OF_ENVIRONMENT, IMAGE_OF_STEP
from klever.workflows.templates.settings import Settings, SettingsError
from klever.workflows.templates.table import TEMPLATES, build

HERE = Path(golden.__file__).parent
ARGO_4_SCHEMA = SHARED / "reference" / "crds" / "argo-4.1-workflowtemplates.yaml"
#: Deprecated in Argo 3.6 and gone in 4.0 (docs/deprecations.md), as keys of any object of a template.
DEPRECATED = {
    "mutex",
    "semaphore",
    "schedule",
    "onExitTemplate",
    "resourceOverrides",
    "podPriority",
    "podPriorityClassName",
}

Document = dict[str, Any]


def rendered(**settings: Any) -> dict[str, Document]:
    return {each["metadata"]["name"]: each for each in (made.to_dict() for made in build(Settings(**settings)))}


def pods(document: Document) -> list[Document]:
    return [template for template in document["spec"]["templates"] if "container" in template]


ALL = rendered()
PODS = [pytest.param(pod, id=f"{name}/{pod['name']}") for name, document in ALL.items() for pod in pods(document)]
TEMPLATES_OF_ALL = [
    pytest.param(template, id=f"{name}/{template['name']}")
    for name, document in ALL.items()
    for template in document["spec"]["templates"]
]


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys(inner)}
    return {key for inner in value for key in keys(inner)} if isinstance(value, list) else set()


def argo() -> str:
    """Return the real ``argo``; in a CI run it has to be there."""
    found = shutil.which("argo") or shutil.which(Path("~/.cache/klever-cluster/bin/argo").expanduser())
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("a CI run has the argo program")
        pytest.skip("needs the argo program")
    return found


def test_the_files_beside_the_sources_are_what_the_sources_render() -> None:
    assert {path.name: path.read_text() for path in HERE.glob("*.yaml")} == golden.render()


def test_the_rendered_templates_are_read_without_hera() -> None:
    script = (
        "import sys; sys.modules['hera'] = None\n"
        "from klever.workflows.templates.golden import documents, load\n"
        "from klever.workflows.templates.settings import Settings\n"
        "print(*load(), *documents(Settings(), 'models'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*TEMPLATES, *TEMPLATES, "access"]


def test_settings_of_ones_own_without_hera_say_what_to_install() -> None:
    script = (
        "import sys; sys.modules['hera'] = None\n"
        "from klever.api.cli.run import run\n"
        "sys.exit(run(['templates', 'render', '--image-tag', '9']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "building templates needs Hera" in done.stderr
    assert "pip install 'klever[workflows]'" in done.stderr


def test_an_unknown_template_is_told_with_those_that_there_are() -> None:
    with pytest.raises(NotFoundError, match="klever-nothing"):
        build(names=["klever-nothing"])


@pytest.mark.parametrize("settings", [{}, {"allowed_urls": ("https://a.example/m/",), "allowed_claims": ("models",)}])
def test_argo_lint_accepts_every_template(tmp_path: Path, settings: dict[str, Any]) -> None:
    for name, document in rendered(**settings).items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(document))
    command = [argo(), "lint", "--offline", "--kinds=workflowtemplates", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"ARGO_SERVER": ""})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def argo_4_schema() -> Document:
    if not ARGO_4_SCHEMA.is_file():
        pytest.skip("needs the schemas in ../shared/reference/crds")
    resource = yaml.load(ARGO_4_SCHEMA.read_text(), Loader=yaml.CSafeLoader)
    versions: list[Document] = resource["spec"]["versions"]
    # What is in metadata the API server checks by itself.
    return versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_schema_of_argo_4_accepts_every_template(argo_4_schema: Document, name: str) -> None:
    assert list(faults(argo_4_schema, rendered(argo="4")[name]["spec"])) == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_argo_4_does_not_know_is_what_argo_3_requires(argo_4_schema: Document, name: str) -> None:
    unknown = list(faults(argo_4_schema, ALL[name]["spec"]))
    assert all(fault.endswith(".memoize.cache.configMap.key: unknown") for fault in unknown), unknown


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_field_is_deprecated(name: str) -> None:
    assert not keys(ALL[name]) & DEPRECATED


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_has_a_face_in_the_ui(name: str) -> None:
    document = ALL[name]
    title, description = "workflows.argoproj.io/title", "workflows.argoproj.io/description"
    assert document["metadata"]["annotations"].keys() == {title, description}
    shown = document["spec"]["workflowMetadata"]["annotations"]
    assert shown[title].startswith(document["metadata"]["annotations"][title] + ": {{workflow.parameters.")
    assert len(shown[description]) > 40
    labels = document["spec"]["workflowMetadata"]
    assert {*labels["labels"], *labels["labelsFrom"]} == {
        "kleveross.io/stage",
        "kleveross.io/project",
        "kleveross.io/model",
        "kleveross.io/format",
    }


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_workflow_starts_with_its_arguments_and_ends_with_the_outputs_for_all_to_see(name: str) -> None:
    spec = ALL[name]["spec"]
    main = next(each for each in spec["templates"] if each["name"] == spec["entrypoint"])
    declared = {each["name"]: each.get("value") for each in spec["arguments"]["parameters"]}
    taken = {each["name"]: each.get("default") for each in main["inputs"]["parameters"]}
    assert declared == taken
    shown = [each["globalName"] for each in main["outputs"]["parameters"]]
    assert shown == [each["name"] for each in main["outputs"]["parameters"]]
    assert {"signature", "digest"} <= set(shown)


@pytest.mark.parametrize("template", TEMPLATES_OF_ALL)
def test_every_input_and_output_is_described(template: Document) -> None:
    for parameter in (*template["inputs"]["parameters"], *template["outputs"]["parameters"]):
        assert parameter["description"].endswith((".", "size.")), parameter
        if parameter.get("enum"):
            assert parameter.get("default", parameter["enum"][0]) in parameter["enum"]


@pytest.mark.parametrize("template", TEMPLATES_OF_ALL)
def test_a_template_called_from_elsewhere_depends_on_its_inputs_alone(template: Document) -> None:
    assert "workflow.parameters" not in json.dumps(template)
    shown = [each.get("globalName") for each in template["outputs"]["parameters"]]
    assert template["name"] == "main" or not any(shown)


@pytest.mark.parametrize("template", TEMPLATES_OF_ALL)
def test_every_node_is_named_after_its_model(template: Document) -> None:
    (name, expression), *others = template["annotations"].items()
    assert name == "workflows.argoproj.io/display-name"
    assert not others
    assert "inputs.parameters." in expression


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_says_what_the_task_understands(pod: Document) -> None:
    container = pod["container"]
    assert container["command"] == ["klever-task"]
    verb, *arguments, last = container["args"]
    contract = VERBS[verb]
    assert last == "--directory=/klever/outputs"
    known = {each.name: each for each in contract.inputs}
    said = [re.match(r"--([a-z_]+)=", each)[1] for each in arguments]  # type: ignore[index]
    assert set(said) <= set(known)
    assert {each.name for each in contract.inputs if each.required} <= set(said)
    assert all(said.count(name) == 1 or known[name].repeated for name in said)
    outputs = {each["name"]: each["valueFrom"] for each in pod["outputs"]["parameters"]}
    assert outputs == {name: {"path": f"/klever/outputs/{name}"} for name in contract.outputs}


@pytest.mark.parametrize("pod", PODS)
def test_what_somebody_gives_reaches_a_pod_as_one_argument_and_nowhere_else_in_its_container(pod: Document) -> None:
    container = pod["container"]
    for argument in container["args"]:
        assert re.fullmatch(r"[^{}]*|--([a-z_]+)=\{\{inputs\.parameters\.\1\}\}", argument), argument
    image = container.pop("image")
    assert "{{" not in json.dumps({**container, "args": []})
    container["image"] = image
    assert re.fullmatch(r"docker\.io/klever/([a-z-]+|\{\{inputs\.parameters\.image\}\}):1\.0\.0", image)


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_can_do_nothing_that_it_need_not(pod: Document) -> None:
    inside, outside = pod["container"]["securityContext"], pod["securityContext"]
    assert inside == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
    assert outside["runAsNonRoot"]
    assert outside["runAsUser"] == 65532
    assert outside["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "klever-step"
    assert pod["executor"] == {"serviceAccountName": "klever-executor"}
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["name"]: each for each in pod["container"]["volumeMounts"]}
    assert volumes.keys() == mounts.keys() == {"work", "registry"}
    assert volumes["registry"]["secret"]["optional"]
    assert mounts["registry"]["readOnly"]


@pytest.mark.parametrize("pod", PODS)
def test_only_what_may_pass_is_tried_again_and_nothing_runs_for_ever(pod: Document) -> None:
    strategy = pod["retryStrategy"]
    assert strategy["limit"] == 4
    assert strategy["backoff"] == {"duration": "10s", "factor": 2}
    assert "lastRetry.exitCode == '75'" in strategy["expression"]
    assert pod["activeDeadlineSeconds"] in (3600, 4 * 3600)


@pytest.mark.parametrize(
    ("code", "status", "message", "again"),
    [
        ("75", "Failed", "main: Error (exit code 75): pull: the registry does not answer", True),
        ("1", "Failed", "main: Error (exit code 1): read: no such format", False),
        ("137", "Failed", "main: OOMKilled (exit code 137)", False),
        ("-1", "Error", "pod deleted", True),
        ("-1", "Failed", "The node was low on resource: memory. Threshold quantity: 100Mi", True),
        ("-1", "Failed", "Pod was terminated in response to imminent node shutdown.", True),
        ("-1", "Failed", "Pod was active on the node longer than the specified deadline", False),
        ("143", "Failed", 'Usage of EmptyDir volume "work" exceeds the limit "1Gi".', False),
    ],
)
def test_the_retry_expression_tells_the_temporary_from_the_permanent(
    code: str, status: str, message: str, again: bool
) -> None:
    from klever.workflows.local.expressions import environment, parse

    (expression,) = {pod.values[0]["retryStrategy"]["expression"] for pod in PODS}  # type: ignore[index]
    told = {"lastRetry.exitCode": code, "lastRetry.status": status, "lastRetry.message": message}
    assert parse(expression).evaluate(environment(told)) is again


def test_a_failed_pod_stays_with_its_workflow_and_one_that_succeeded_long_enough_for_its_logs() -> None:
    for document in ALL.values():
        assert document["spec"]["podGC"] == {"strategy": "OnPodSuccess", "deleteDelayDuration": "600s"}
        assert document["spec"]["ttlStrategy"] == {"secondsAfterSuccess": 86_400, "secondsAfterFailure": 604_800}
        assert document["spec"]["activeDeadlineSeconds"] == 86_400


def test_whatever_writes_a_tag_holds_its_lock() -> None:
    locked = {f"{name}/{pod['name']}" for name, each in ALL.items() for pod in pods(each) if "synchronization" in pod}
    assert locked == {
        "klever-extract/extract",
        "klever-convert/make",
        "klever-publish/publish",
    }


def test_only_what_a_digest_names_is_remembered() -> None:
    kept = {
        f"{name}/{each['name']}": each for name in ALL for each in ALL[name]["spec"]["templates"] if "memoize" in each
    }
    assert kept.keys() == {"klever-extract/extract-pinned", "klever-convert/make-once"}
    for template in kept.values():
        memoize = template["memoize"]
        assert memoize["maxAge"] == "1h"
        assert "(inputs.parameters.model contains '@sha256:' ? '' : workflow.uid + node.name)" in memoize["key"]
        assert "workflow.namespace" in memoize["key"]
        # Argo never ends a DAG in which something follows a remembered pod that might have been tried again.
        assert "dag" in template
        assert "retryStrategy" not in template
    assert not any("memoize" in each for made in rendered(remember="").values() for each in made["spec"]["templates"])


def test_a_conversion_gets_the_size_that_its_plan_worked_out_or_somebody_gave() -> None:
    (make,) = [pod for pod in pods(ALL["klever-convert"]) if pod["name"] == "make"]
    patch = json.loads(make["podSpecPatch"])
    (main,) = patch["containers"]
    assert main["resources"]["requests"] == main["resources"]["limits"]
    assert main["resources"]["limits"].keys() == {"memory"}
    assert "inputs.parameters.planned_memory" in main["resources"]["limits"]["memory"]
    assert "inputs.parameters.planned_storage" in patch["volumes"][0]["emptyDir"]["sizeLimit"]
    reserved = rendered(reserve_storage=True)["klever-convert"]
    (make,) = [pod for pod in pods(reserved) if pod["name"] == "make"]
    assert json.loads(make["podSpecPatch"])["containers"][0]["resources"]["limits"].keys() == {
        "memory",
        "ephemeral-storage",
    }


def test_every_environment_of_an_image_runs_on_its_python() -> None:
    inside = {name for name in IMAGE_OF_ENVIRONMENT if name}
    assert inside == {entry.id for entry in ENVIRONMENTS.values() if (3, 11) in entry.pythons}
    assert IMAGE_OF_STEP.keys() == VERBS.keys() - {"convert"}


def test_what_an_administrator_allows_is_in_the_template_and_no_input() -> None:
    document = rendered(allowed_urls=("https://models.example/public/",), allowed_claims=("models",))["klever-publish"]
    (pod,) = pods(document)
    assert {"--allow=https://models.example/public/", "--allow=/sources/models"} <= set(pod["container"]["args"])
    (mount,) = [each for each in pod["container"]["volumeMounts"] if each["mountPath"] == "/sources/models"]
    assert mount["readOnly"]
    (default,) = pods(ALL["klever-publish"])
    assert not any(each.startswith("--allow") for each in default["container"]["args"])


def test_the_accounts_have_the_least_rights() -> None:
    documents = access.build(Settings(), "models")
    rules = {each["metadata"]["name"]: each["rules"] for each in documents if each["kind"] == "Role"}
    assert rules == {
        "klever-executor": [
            {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
        ],
        "klever-cache": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "update"]}],
    }
    bound = {each["metadata"]["name"]: each["subjects"] for each in documents if each["kind"] == "RoleBinding"}
    assert bound["klever-executor"] == [{"kind": "ServiceAccount", "name": "klever-executor", "namespace": "models"}]
    assert all(each["automountServiceAccountToken"] is False for each in documents if each["kind"] == "ServiceAccount")
    assert "klever-cache" not in json.dumps(access.build(Settings(remember=""), "models"))


@pytest.mark.parametrize(
    "settings",
    [
        {"image_prefix": "docker.io/klever"},
        {"image_prefix": "{{inputs.parameters.model}}/"},
        {"image_tag": "a b"},
        {"image_pull_policy": "Sometimes"},
        {"registry_secret": "Not_A_Name"},
        {"allowed_urls": ("file:///etc/",)},
        {"allowed_urls": ("https://models.example",)},
        {"allowed_claims": ("../x",)},
        {"keep_logs": "for ever"},
        {"retries": 0},
        {"argo": "2"},
    ],
)
def test_a_setting_that_no_cluster_accepts_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"^got .*, expected "):
        Settings(**settings)


@pytest.mark.parametrize(
    ("as_", "locked"),
    [("", "klever/harbor.example/vision/net:v1"), ("harbor.example/read/net", "klever/harbor.example/read/net:latest")],
)
def test_an_extraction_holds_the_lock_of_the_tag_that_it_writes(as_: str, locked: str) -> None:
    from klever.workflows.local.expressions import environment, parse

    (pod,) = pods(ALL["klever-extract"])
    (mutex,) = pod["synchronization"]["mutexes"]
    given = {"inputs.parameters.model": "harbor.example/vision/net:v1@sha256:" + "a" * 64, "inputs.parameters.as": as_}
    expression = mutex["name"].removeprefix("{{=").removesuffix("}}")
    assert parse(expression).evaluate(environment(given)) == locked


@pytest.mark.parametrize("template", ["klever-extract/extract-pinned", "klever-convert/make-once"])
def test_whatever_changes_the_result_is_in_the_key_of_what_is_remembered(template: str) -> None:
    name, _, inner = template.partition("/")
    (made,) = [each for each in ALL[name]["spec"]["templates"] if each["name"] == inner]
    # How large the pod is makes no difference, and how large the plan says it has to be follows from the rest.
    sizes = {"memory", "storage", "planned_memory", "planned_storage"}
    for parameter in made["inputs"]["parameters"]:
        if parameter["name"] not in sizes:
            assert f"inputs.parameters.{parameter['name']}" in made["memoize"]["key"]
