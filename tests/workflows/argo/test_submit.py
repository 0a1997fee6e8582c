"""A workflow is built from a template or a document, checked, and created exactly once."""

import json
from typing import Any

import pytest
from fakes import Exchange

from klever.workflows.argo import errors
from klever.workflows.argo.submit import (
    Identity,
    InvalidNameError,
    check,
    from_document,
    from_template,
    get_template,
    submit,
)
from klever.workflows.arguments import InvalidArgumentsError

from .conftest import Document, Serve, answer, refuse

TEMPLATE: Document = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "WorkflowTemplate",
    "metadata": {"name": "greet", "resourceVersion": "5", "uid": "t", "namespace": "models", "labels": {"a": "b"}},
    "spec": {
        "entrypoint": "main",
        "arguments": {
            "parameters": [{"name": "who"}, {"name": "tone", "value": "warm", "enum": ["warm", "cold"]}],
        },
        "templates": [{"name": "main", "container": {"image": "x"}}],
    },
}


class Server:
    """An API server with one template, that keeps workflows; ``lose`` answers get lost after they were acted upon."""

    def __init__(self, lose: int = 0) -> None:
        self.workflows: dict[str, Document] = {}
        self.lose = lose

    def __call__(self, exchange: Exchange) -> None:
        kind, _, name = exchange.path_only.removeprefix("/apis/argoproj.io/v1alpha1/namespaces/models/").partition("/")
        if exchange.command == "POST":
            self.create(exchange, json.loads(exchange.body()))
        elif kind == "workflowtemplates" and not name:
            answer(exchange, {"items": [TEMPLATE], "metadata": {}})
        elif kind == "workflowtemplates" and name == "greet":
            answer(exchange, TEMPLATE)
        elif name in self.workflows:
            answer(exchange, self.workflows[name])
        else:
            refuse(exchange, 404, "NotFound", f'{kind} "{name}" not found', name=name)

    def create(self, exchange: Exchange, document: Document) -> None:
        name = document["metadata"]["name"]
        if name in self.workflows:
            refuse(exchange, 409, "AlreadyExists", f'workflows "{name}" already exists')
            return
        # As the API server does, with defaults of its own.
        document["metadata"]["uid"] = f"uid-{len(self.workflows)}"
        document["spec"].setdefault("podGC", {})
        self.workflows[name] = document
        if self.lose:
            self.lose -= 1
            exchange.reset()
        else:
            answer(exchange, document, 201)


@pytest.fixture
def server() -> Server:
    return Server()


def test_what_people_write_without_quotes_is_sent_as_text() -> None:
    parameters = [{"name": "n", "value": 10}, {"name": "b", "value": True}, {"name": "t", "value": "010"}]
    made = from_document({"kind": "Workflow", "spec": {"arguments": {"parameters": parameters}}}, {})
    assert [each["value"] for each in made["spec"]["arguments"]["parameters"]] == ["10", "true", "010"]


def test_a_workflow_refers_to_its_template_and_says_only_what_differs() -> None:
    document = from_template(
        "klever-extract",
        {"model": "harbor.example/vision/net:v1"},
        Identity(
            prefix="extract-net-",
            labels={"kleveross.io/stage": "extract"},
            annotations={"note": "by hand"},
            owners=({"kind": "ModelJob", "name": "j", "uid": "u", "apiVersion": "kleveross.io/v1"},),
            service_account="klever",
        ),
    )
    assert document == {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "generateName": "extract-net-",
            "labels": {"kleveross.io/stage": "extract"},
            "annotations": {"note": "by hand"},
            "ownerReferences": [{"kind": "ModelJob", "name": "j", "uid": "u", "apiVersion": "kleveross.io/v1"}],
        },
        "spec": {
            "workflowTemplateRef": {"name": "klever-extract"},
            "arguments": {"parameters": [{"name": "model", "value": "harbor.example/vision/net:v1"}]},
            "serviceAccountName": "klever",
        },
    }


def test_a_template_as_a_document_becomes_a_workflow_of_its_own() -> None:
    workflow = from_document(TEMPLATE, {"who": "Ada"})
    assert workflow["kind"] == "Workflow"
    assert workflow["metadata"] == {"generateName": "greet-", "labels": {"a": "b"}, "namespace": "models"}
    assert workflow["spec"]["arguments"]["parameters"][0] == {"name": "who", "value": "Ada"}
    assert "value" not in TEMPLATE["spec"]["arguments"]["parameters"][0]


def test_an_object_of_hera_is_a_document_as_well() -> None:
    hera = pytest.importorskip("hera.workflows")
    with hera.Workflow(generate_name="made-", entrypoint="main", arguments=[hera.Parameter(name="who")]) as made:
        hera.Container(name="main", image="x")
    for workflow in (made, made.build()):
        document = from_document(workflow, {"who": "Ada"})
        assert document["metadata"] == {"generateName": "made-"}
        assert document["spec"]["arguments"] == {"parameters": [{"name": "who", "value": "Ada"}]}


def test_a_value_replaces_where_a_parameter_would_have_come_from() -> None:
    source = {"configMapKeyRef": {"name": "c", "key": "k"}}
    document = {"kind": "Workflow", "metadata": {"name": "w"}, "spec": {"arguments": {"parameters": [{"name": "a", "valueFrom": source}]}}}  # fmt: skip
    assert from_document(document, {"a": "1"})["spec"]["arguments"]["parameters"] == [{"name": "a", "value": "1"}]


def test_a_documents_own_declarations_are_checked_without_a_cluster() -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        from_document(TEMPLATE, {"tune": "warm"})
    assert caught.value.faults == ("'tune' is not a parameter (did you mean tone?)", "who has to be given")


@pytest.mark.parametrize("name", ["", "Upper", "a" * 64, "-a", "a_b", "a/b", "{{workflow.name}}", "a\n"])
def test_a_name_that_kubernetes_would_refuse_is_refused_here(name: str) -> None:
    if not name:
        assert from_template("t", {}, Identity(name=name))["metadata"] == {"generateName": "t-"}
        return
    with pytest.raises(InvalidNameError):
        from_template("t", {}, Identity(name=name))


def test_arguments_are_held_against_the_template_before_anything_is_created(serve: Serve, server: Server) -> None:
    served = serve(server)
    with pytest.raises(InvalidArgumentsError) as caught:
        submit(served.cluster, from_template("greet", {"whoo": "Ada", "tone": "hot"}))
    assert len(caught.value.faults) == 3
    assert served.server.asked("POST") == []


def test_a_value_from_elsewhere_counts_as_given(serve: Serve, server: Server) -> None:
    workflow = from_template("greet", {})
    source = {"configMapKeyRef": {"name": "c", "key": "k"}}
    workflow["spec"]["arguments"] = {"parameters": [{"name": "who", "valueFrom": source}]}
    check(serve(server).cluster, workflow)


def test_a_template_that_is_not_there_names_those_that_are(serve: Serve, server: Server) -> None:
    cluster = serve(server).cluster
    with pytest.raises(errors.TemplateMissingError, match="has no WorkflowTemplate gret; it has greet") as caught:
        get_template(cluster, "gret")
    assert caught.value.next_step == "did you mean greet?"
    with pytest.raises(errors.TemplateMissingError) as caught:
        submit(cluster, from_template("klever-release", {}))
    assert "klever templates apply" in caught.value.next_step


def test_a_submitted_workflow_has_a_name_of_its_own(serve: Serve, server: Server) -> None:
    cluster = serve(server).cluster
    names = {submit(cluster, from_template("greet", {"who": "Ada"})).name for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("greet-") and len(name) == len("greet-") + 5 for name in names)


def test_a_workflow_comes_into_the_namespace_that_it_names_unless_another_is_asked_for(
    serve: Serve, server: Server
) -> None:
    cluster = serve(server).cluster
    cluster.namespace = "elsewhere"
    assert submit(cluster, from_document(TEMPLATE, {"who": "Ada"})).namespace == "models"
    with pytest.raises(errors.ClusterObjectMissingError):
        submit(cluster, from_template("greet", {"who": "Ada"}))
    assert submit(cluster, from_template("greet", {"who": "Ada"}), "models").namespace == "models"


def test_a_long_prefix_loses_its_end_and_not_the_suffix(serve: Serve, server: Server) -> None:
    submitted = submit(serve(server).cluster, from_template("greet", {"who": "Ada"}, Identity(prefix="x" * 80)))
    assert len(submitted.name) == 63


def test_the_same_submitted_twice_under_a_name_is_found(serve: Serve, server: Server) -> None:
    cluster = serve(server).cluster
    workflow = from_template("greet", {"who": "Ada"}, Identity(name="once"))
    first, second = submit(cluster, workflow), submit(cluster, workflow)
    assert (first.found, second.found) == (False, True)
    assert first.uid == second.uid
    assert list(server.workflows) == ["once"]


def test_another_workflow_under_the_name_is_an_error(serve: Serve, server: Server) -> None:
    cluster = serve(server).cluster
    submit(cluster, from_template("greet", {"who": "Ada"}, Identity(name="once")))
    with pytest.raises(errors.NameTakenError, match="another workflow once, with other content"):
        submit(cluster, from_template("greet", {"who": "Bob"}, Identity(name="once")))


@pytest.mark.parametrize("identity", [Identity(), Identity(name="once")], ids=["generated", "given"])
def test_a_lost_answer_makes_no_second_workflow(serve: Serve, identity: Identity) -> None:
    server = Server(lose=2)
    submitted = submit(serve(server).cluster, from_template("greet", {"who": "Ada"}, identity))
    assert list(server.workflows) == [submitted.name]
    assert not submitted.found


def test_a_generated_name_that_is_taken_is_replaced(
    serve: Serve, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffixes = iter(["aaaaa", "aaaaa", "bbbbb"])
    monkeypatch.setattr("klever.workflows.argo.submit._generated", lambda prefix: prefix + next(suffixes))
    cluster = serve(server).cluster
    names = [submit(cluster, from_template("greet", {"who": "Ada"})).name for _ in range(2)]
    assert names == ["greet-aaaaa", "greet-bbbbb"]


def test_what_the_server_refuses_is_told_with_its_own_words(serve: Serve) -> None:
    def script(exchange: Exchange) -> None:
        if exchange.command == "POST":
            refuse(exchange, 422, "Invalid", 'Workflow "x" is invalid: spec.entrypoint: Required value')
        else:
            answer(exchange, TEMPLATE)

    with pytest.raises(errors.InvalidWorkflowError, match=r"spec\.entrypoint: Required value") as caught:
        submit(serve(script).cluster, from_template("greet", {"who": "Ada"}))
    assert (caught.value.stage, caught.value.exit_code) == ("submit", 1)


def test_values_are_data_and_stand_nowhere_but_in_their_argument(serve: Serve, server: Server) -> None:
    hostile: dict[str, Any] = {"who": "{{workflow.name}} $(id) '\"\n---\nkind: Secret"}
    submitted = submit(serve(server).cluster, from_template("greet", hostile))
    assert submitted.document["spec"]["arguments"]["parameters"] == [{"name": "who", "value": hostile["who"]}]
