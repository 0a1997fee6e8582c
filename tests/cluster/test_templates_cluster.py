"""What a platform engineer sees of the WorkflowTemplates on a real cluster: by `argo`, the server's API, kubectl."""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Installation, lack, settings, until
from hera.workflows import DAG, Steps, Workflow
from nasty import NASTY_REFERENCES

from klever.api.cli.run import run as run_klever
from klever.workflows.argo.apply import apply
from klever.workflows.argo.client import WORKFLOW_TEMPLATES, WORKFLOWS, Cluster
from klever.workflows.argo.submit import Identity, from_template, submit
from klever.workflows.parts import convert, extract, output
from klever.workflows.status import Kind, Phase
from klever.workflows.templates import access
from klever.workflows.templates.table import TEMPLATES, build

pytestmark = pytest.mark.cluster

MODEL = "MXNetParams/mlp"
LABELS = ("stage", "project", "model", "format")
#: What Argo itself cannot put into a template: it writes escapes of Go where JSON has others (util/template).
UNSPEAKABLE = ("\x00", "\x7f")
Document = dict[str, Any]


@pytest.fixture(scope="module")
def argo(klever: Installation) -> Callable[..., str]:
    """Run the real ``argo`` against the Kubernetes API, in the namespace, and return what it prints."""
    found = shutil.which("argo")
    if found is None:
        lack("the argo program on the PATH")

    def call(*arguments: str) -> str:
        command = [found, *arguments, "--namespace", klever.namespace]
        environment = {**os.environ, "ARGO_SERVER": "", "NO_COLOR": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def document_of(klever: Installation, workflow: str) -> Document:
    return klever.cluster.get(WORKFLOWS.path(klever.namespace, workflow))


def outputs_of(document: Document) -> dict[str, str]:
    return {each["name"]: each["value"] for each in document["status"]["outputs"]["parameters"]}


@pytest.fixture(scope="module")
def model(klever: Installation, models: Path) -> str:
    """The reference of a model whose signature nobody has read yet."""
    klever.registry.publish_unread(models / MODEL / "model", "templates/mlp:v1")
    return klever.registry.reference("templates/mlp:v1")


@pytest.fixture(scope="module")
def extracted(argo: Callable[..., str], model: str) -> str:
    """The name of a workflow that extracted the model's signature, submitted as people do."""
    submit = ("submit", "--from", "workflowtemplate/klever-extract", "-p", f"model={model}", "-o", "name", "--wait")
    return argo(*submit).split()[0]


@pytest.fixture(scope="module")
def converted(klever: Installation, model: str, extracted: str) -> str:
    """The name of a workflow that converted the model."""
    assert extracted
    finished = klever.run("klever-convert", {"model": model, "to": "ONNX", "memory": "600Mi"})
    assert finished.phase is Phase.SUCCEEDED, [node.message for node in finished.failures()]
    return finished.name


@pytest.fixture
def cleared(klever: Installation) -> Iterator[list[str]]:
    """Names of workflows to delete when the test is over."""
    names: list[str] = []
    yield names
    for name in names:
        klever.cluster.delete(WORKFLOWS.path(klever.namespace, name))


def test_argo_get_shows_the_signature_and_the_digest(argo: Callable[..., str], extracted: str, model: str) -> None:
    shown = argo("get", extracted)
    _, _, outputs = shown.partition("Output Parameters:")
    values = dict(line.split(":", 1) for line in outputs.partition("STEP")[0].splitlines() if ":" in line)
    values = {key.strip(): value.strip() for key, value in values.items()}
    assert values["signature"].startswith("data float32[-1, 20] -> ")
    assert values["digest"].startswith("sha256:")
    assert values["reference"] == f"{model}@{values['digest']}"
    assert (values["changed"], values["moved"]) == ("true", "true")
    assert "klever-extract-mlp" in shown


def test_argo_logs_tells_what_was_done_and_keeps_secrets(argo: Callable[..., str], extracted: str) -> None:
    said = argo("logs", extracted)
    assert "mlp" in said
    assert "password" not in said.lower()


def test_the_workflow_can_be_found_by_project_model_and_stage(
    klever: Installation, argo: Callable[..., str], extracted: str, model: str
) -> None:
    document = document_of(klever, extracted)
    labels = {name: document["metadata"]["labels"].get(f"kleveross.io/{name}") for name in LABELS}
    assert labels == {"stage": "extract", "project": "templates", "model": "mlp", "format": ""}
    title = document["metadata"]["annotations"]["workflows.argoproj.io/title"]
    assert title == f"Extract a model's signature: {model}"
    found = argo("list", "-l", "kleveross.io/project=templates,kleveross.io/stage=extract", "-o", "name")
    assert extracted in found.split()


def test_marks_of_who_submits_stand_beside_those_of_the_template(
    klever: Installation, cluster: Cluster, cleared: list[str], model: str
) -> None:
    labels, annotations = {"example.org/job": "a"}, {"example.org/asked-by": "Ada"}
    identity = Identity(prefix="marked-", labels=labels, annotations=annotations)
    # Suspended: marks are made before anything is run.
    document = from_template("klever-extract", {"model": model}, identity)
    document["spec"]["suspend"] = True
    name = submit(cluster, document, klever.namespace).name
    cleared.append(name)
    until(lambda: document_of(klever, name).get("status", {}).get("phase"), f"the start of {name}")
    metadata = document_of(klever, name)["metadata"]
    assert labels.items() <= metadata["labels"].items()
    assert {f"kleveross.io/{each}" for each in LABELS} <= metadata["labels"].keys()
    assert annotations.items() <= metadata["annotations"].items()
    assert metadata["annotations"]["workflows.argoproj.io/title"].endswith(model)


def test_an_extraction_to_another_repository_holds_that_ones_lock_and_leaves_the_model(
    klever: Installation, models: Path
) -> None:
    before = klever.registry.publish_unread(models / MODEL / "model", "templates/source:v1")
    source, target = (klever.registry.reference(name) for name in ("templates/source:v1", "elsewhere/mlp:v1"))
    finished = klever.run("klever-extract", {"model": source, "as": target, "inputs": '[{"name": "data"}]'})
    assert finished.phase is Phase.SUCCEEDED, [node.message for node in finished.failures()]
    assert finished.outputs["reference"] == f"{target}@{finished.outputs['digest']}"
    assert klever.registry.load("templates/source:v1").descriptor.digest == before
    made = klever.registry.load("elsewhere/mlp:v1")
    assert (made.descriptor.digest, made.has_full_signature) == (finished.outputs["digest"], True)


def test_one_extraction_of_a_digest_moves_all_of_its_tags(klever: Installation, models: Path) -> None:
    names = ("templates/several:v1", "templates/several:latest")
    digest = klever.registry.publish_unread(models / MODEL / "model", names[0])
    with klever.registry.store() as store:
        manifest = store.get_manifest("templates/several", digest)
        store.put_manifest("templates/several", manifest.data, manifest.descriptor.media_type, tag="latest")
    model = f"{klever.registry.reference(names[0])}@{digest}"
    finished = klever.run("klever-extract", {"model": model, "all_tags": "true"})
    assert finished.phase is Phase.SUCCEEDED, [node.message for node in finished.failures()]
    assert finished.outputs["note"] == "moved to it as well: latest"
    assert {klever.registry.load(name).descriptor.digest for name in names} == {finished.outputs["digest"]}


def test_a_conversion_from_another_format_than_the_models_fails_before_it_is_made(
    klever: Installation, model: str
) -> None:
    finished = klever.run("klever-convert", {"model": model, "to": "ONNX", "from": "H5"})
    assert finished.phase is Phase.FAILED
    (cause,) = finished.failures()
    assert "is MXNetParams, and H5 was to be converted; next: " in cause.message
    assert [node.template for node in finished.nodes.values() if node.kind is Kind.POD] == ["plan"]


def test_the_servers_api_shows_titles_names_and_outputs(klever: Installation, converted: str) -> None:
    address = os.environ.get("ARGO_SERVER") or lack("ARGO_SERVER, the address of Argo's server over plain HTTP")
    url = f"http://{address}/api/v1/workflows/{klever.namespace}/{converted}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        document = json.load(answer)
    assert document["metadata"]["annotations"]["workflows.argoproj.io/title"].startswith("Convert a model: ")
    assert document["metadata"]["labels"]["kleveross.io/format"] == "ONNX"
    nodes = document["status"]["nodes"].values()
    shown = {node["displayName"] for node in nodes}
    assert {"klever-convert-mlp", "convert-to-ONNX-mlp", "plan-ONNX-of-mlp", "make-ONNX-of-mlp", "extract-mlp"} <= shown
    assert document["status"]["progress"] == "300/300"
    outputs = outputs_of(document)
    assert outputs["format"] == "ONNX"
    assert outputs["level"] in ("executed", "compared")
    assert outputs["path"]


def test_a_pod_of_the_conversion_has_the_size_that_was_given_and_a_disk_as_planned(
    klever: Installation, converted: str
) -> None:
    run = klever.look(converted)
    plan = next(node for node in run.nodes.values() if node.template == "plan" and node.kind is Kind.POD)
    (pod,) = [each for each in klever.pods(converted) if "-make-" in each["metadata"]["name"]]
    main = next(each for each in pod["spec"]["containers"] if each["name"] == "main")
    assert main["resources"]["limits"] == {"memory": "600Mi"}
    assert main["resources"]["requests"]["memory"] == "600Mi"
    (work,) = [each for each in pod["spec"]["volumes"] if each["name"] == "work"]
    assert work["emptyDir"]["sizeLimit"] == plan.outputs["storage"]
    assert main["image"] == f"docker.io/klever/{plan.outputs['image']}:{settings().image_tag}"
    labels = {name: pod["metadata"]["labels"][f"kleveross.io/{name}"] for name in LABELS}
    assert labels == {"stage": "convert", "project": "templates", "model": "mlp", "format": "ONNX"}


def test_a_step_has_no_token_and_its_pod_that_of_the_executor_alone(klever: Installation, converted: str) -> None:
    for pod in klever.pods(converted):
        assert pod["spec"]["serviceAccountName"] == "klever-step"
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in pod["spec"]["containers"]:
            mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
            token = "/var/run/secrets/kubernetes.io/serviceaccount" in mounted
            assert token == (container["name"] == "wait")


def test_the_same_conversion_again_starts_no_pod_for_it(klever: Installation, model: str, converted: str) -> None:
    first = outputs_of(document_of(klever, converted))
    again = klever.run("klever-convert", {"model": model, "to": "ONNX", "memory": "600Mi"})
    assert again.phase is Phase.SUCCEEDED
    assert outputs_of(document_of(klever, again.name)) == first
    templates = {node.template for node in again.nodes.values() if node.kind is Kind.POD}
    assert "make" not in templates
    nodes = document_of(klever, again.name)["status"]["nodes"].values()
    hits = [node["memoizationStatus"] for node in nodes if node.get("templateName") == "make-once"]
    assert [hit["hit"] for hit in hits] == [True]


def test_a_failure_says_why_where_people_look(klever: Installation, argo: Callable[..., str]) -> None:
    absent = klever.registry.reference("templates/absent:v1")
    finished = klever.run("klever-extract", {"model": absent})
    assert finished.phase is Phase.FAILED
    (cause,) = finished.failures()
    assert cause.message.startswith("main: Error (exit code 1): ")
    assert "templates/absent" in cause.message
    assert "; next: " in cause.message
    # Not worth another try.
    assert [node.kind for node in finished.nodes.values()].count(Kind.POD) == 1
    assert "templates/absent" in argo("get", finished.name)
    assert "templates/absent" in argo("logs", finished.name)
    (pod,) = klever.pods(finished.name)
    (main,) = [each for each in pod["status"]["containerStatuses"] if each["name"] == "main"]
    assert cause.message.endswith(main["state"]["terminated"]["message"].strip())


def test_argo_finds_legal_labels_for_whatever_it_is_given(klever: Installation, cleared: list[str]) -> None:
    # Suspended from the beginning: labels are made before anything is run.
    given = {}
    for reference in NASTY_REFERENCES:
        if reference in UNSPEAKABLE:
            continue
        name = klever.submit("klever-extract", {"model": reference, "format": ""}, suspend=True)
        cleared.append(name)
        given[name] = reference
    for name, reference in given.items():
        until(lambda name=name: document_of(klever, name).get("status", {}).get("phase"), f"the start of {name}")  # type: ignore[misc]
        document = document_of(klever, name)
        assert document["status"]["phase"] == "Running", (reference, document["status"].get("message"))
        assert {f"kleveross.io/{each}" for each in LABELS} <= set(document["metadata"]["labels"])


@pytest.mark.parametrize("reference", ["é/ü:ß", '1Gi"},"x":{"y":"z', "{{workflow.name}}", "$(HOME)", "a\nb", "-" * 300])
def test_whatever_is_given_the_step_itself_refuses_it(klever: Installation, reference: str) -> None:
    finished = klever.run("klever-extract", {"model": reference})
    (cause,) = finished.failures()
    assert cause.message.startswith("main: Error (exit code 1): reference: ")


def test_a_size_cannot_smuggle_anything_into_the_pod(klever: Installation, model: str, converted: str) -> None:
    assert converted
    smuggled = '1Gi"}}}],"hostNetwork":true,"containers":[{"name":"main","resources":{"limits":{"memory":"1Gi'
    finished = klever.run("klever-convert", {"model": model, "to": "ONNX", "seed": "7", "memory": smuggled})
    assert finished.phase in (Phase.FAILED, Phase.ERROR)
    assert not any(pod["spec"].get("hostNetwork") for pod in klever.pods(finished.name))


def test_a_pipeline_of_ones_own_calls_the_parts(klever: Installation, model: str, extracted: str) -> None:
    assert extracted
    with Workflow(generate_name="own-", entrypoint="main", service_account_name="klever-step") as own:
        with Steps(name="inner"):
            extract("read", model=model)
        with DAG(name="main"):
            read = extract("read", model=model)
            made = convert("made", model=output(read, "reference"), to="{{item}}", with_items=["ONNX"])
            read.next(made)  # type: ignore[union-attr, arg-type]
    finished = klever.wait(klever.submit_document(own.to_dict()))
    assert finished.phase is Phase.SUCCEEDED, [node.message for node in finished.failures()]
    # Theirs are their own: ours are not made outputs of the whole workflow.
    assert "outputs" not in document_of(klever, finished.name)["status"]


def test_the_api_server_knows_every_field(cluster: Cluster, namespace: str) -> None:
    # Server-side apply refuses what the schema has not.
    documents = [*access.build(settings(), namespace), *(each.to_dict() for each in build(settings()))]
    changes = list(apply(_in(cluster, namespace), documents, dry_run=True, force=True))
    assert len(changes) == len(documents)


def _in(cluster: Cluster, namespace: str) -> Cluster:
    cluster.namespace = namespace
    return cluster


def test_templates_are_applied_compared_and_applied_again(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    from clusters import temporary_namespace

    with temporary_namespace(cluster, "klever-test-apply") as place:

        def call(verb: str, *arguments: str) -> tuple[int, str]:
            code = run_klever(["templates", verb, *TEMPLATES, "-n", place, *arguments])
            captured = capsys.readouterr()
            assert not captured.err
            return code, captured.out

        assert call("diff", "--json")[0] == 1
        code, out = call("apply", "--dry-run")
        assert code == 0
        assert out.count("created (dry run)") == len(TEMPLATES)
        assert cluster.list_all(WORKFLOW_TEMPLATES.path(place))[0] == []
        assert [line.rpartition(" ")[2] for line in call("apply")[1].splitlines()] == ["created"] * len(TEMPLATES)
        assert [line.rpartition(" ")[2] for line in call("apply")[1].splitlines()] == ["unchanged"] * len(TEMPLATES)
        assert call("diff") == (0, "")
        code, out = call("diff", "--retries", "7")
        assert code == 1
        changed = {line for line in out.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")}
        assert {line[1:].strip() for line in changed} == {"limit: 4", "limit: 7"}
        told = json.loads(call("apply", "--retries", "7", "--json")[1])
        assert {each["result"] for each in told} == {"configured"}


def test_a_namespace_that_is_not_there_is_told(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert cluster
    code = run_klever(["templates", "apply", "klever-extract", "-n", "klever-no-such-namespace"])
    assert code == 1
    assert 'namespaces "klever-no-such-namespace" not found' in capsys.readouterr().err
