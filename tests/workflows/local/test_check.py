"""What this machine refuses before the first task starts, and what it leaves out without a word."""

from pathlib import Path
from typing import Any

import pytest

from klever.workflows.local import InvalidWorkflowError, UnsupportedWorkflowError, our_templates
from klever.workflows.local.plan import make_plan

from .building import Document, container, dag, shell, task, workflow

SAY = container("say", "echo")


def with_main(**more: Any) -> Document:
    return workflow({**container("main", "true"), **more})


def with_container(**more: Any) -> Document:
    return workflow(container("main", "true", **more))


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (with_main(daemon=True), "spec.templates[main].daemon"),
        (with_main(sidecars=[{"name": "x"}]), "spec.templates[main].sidecars"),
        (with_main(initContainers=[{"name": "x"}]), "spec.templates[main].initContainers"),
        (with_main(inputs={"artifacts": [{"name": "x"}]}), "spec.templates[main].inputs.artifacts"),
        (with_main(outputs={"artifacts": [{"name": "x"}]}), "spec.templates[main].outputs.artifacts"),
        (with_main(somethingNew=1), "spec.templates[main].somethingNew"),
        (with_main(synchronization={"semaphores": [{}]}), "spec.templates[main].synchronization.semaphores"),
        (with_main(synchronization={"mutexes": [{"name": "m", "database": True}]}), "mutexes[m].database"),
        (with_main(podSpecPatch='{"hostname": "x"}'), "spec.templates[main].podSpecPatch.hostname"),
        (with_main(podSpecPatch="containers: [{name: main, command: [x]}]"), "podSpecPatch.containers[main].command"),
        (with_main(retryStrategy={"limit": 1, "expression": "now() != nil"}), "it calls now"),
        (with_main(retryStrategy={"limit": 1, "expression": "1 +"}), "retryStrategy.expression"),
        (with_main(retryStrategy={"limit": 1, "unknown": "x"}), "retryStrategy.unknown"),
        (with_container(args=["{{=sprig.randAlpha(3)}}"]), "it calls sprig.randAlpha"),
        (with_container(livenessProbe={"exec": {}}), "container.livenessProbe"),
        (with_container(lifecycle={"preStop": {}}), "container.lifecycle"),
        (with_container(stdin=True), "container.stdin"),
        (with_container(volumeMounts=[{"name": "none", "mountPath": "/x"}]), "container.volumeMounts[none]"),
        (
            with_container(env=[{"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
            "container.env[T].secretKeyRef",
        ),
        (with_container(envFrom=[{"configMapRef": {"name": "c"}}]), "container.envFrom[0].configMapRef"),
        (workflow({"name": "main", "container": {"image": "x"}}), "container.command"),
        (workflow({"name": "main", "resource": {"action": "get"}}), "spec.templates[main].resource"),
        (workflow({"name": "main", "http": {"url": "x"}}), "spec.templates[main].http"),
        (workflow({"name": "main", "containerSet": {"containers": [{}]}}), "spec.templates[main].containerSet"),
        (workflow({"name": "main", "suspend": {}}), "spec.templates[main].suspend"),
        (workflow(dag(task("a", "say", arguments={"artifacts": [{"name": "x"}]})), SAY), "dag.tasks[a].arguments.artifacts"),
        (workflow(dag({"name": "a", "templateRef": {"name": "x", "template": "y", "clusterScope": True}})), "clusterScope"),
        (workflow(dag({"name": "a", "inline": {"container": {"image": "x"}}})), "dag.tasks[a].inline.container.command"),
        (workflow(container("main", "true"), volumeClaimTemplates=[{}]), "spec.volumeClaimTemplates"),
        (workflow(container("main", "true"), shutdown="Stop"), "spec.shutdown"),
        (workflow(container("main", "true"), suspend=True), "spec.suspend"),
        (
            workflow(
                container("main", "true", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
            ),
            "its volume is a persistentVolumeClaim",
        ),
        (
            workflow(
                container("main", "true", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                volumes=[{"name": "v", "secret": {"secretName": "c"}}],
            ),
            "its volume is a secret",
        ),
    ],
)  # fmt: skip
def test_what_is_neither_honoured_nor_meaningless_is_refused_by_its_path(document: Document, path: str) -> None:
    with pytest.raises(UnsupportedWorkflowError) as caught:
        make_plan(document, {}, [])
    assert path in caught.value.cause


def test_all_that_is_refused_is_told_at_once() -> None:
    with pytest.raises(UnsupportedWorkflowError) as caught:
        make_plan(with_main(daemon=True, sidecars=[{}]), {}, [])
    assert len(caught.value.fields) == 2


def test_templates_that_are_reached_by_reference_are_checked_too() -> None:
    far = {
        "kind": "WorkflowTemplate",
        "metadata": {"name": "far"},
        "spec": {
            "templates": [
                dag(task("x", "local"), name="entry"),
                {**container("local", "true"), "daemon": True},
                {**container("not-reached", "true"), "daemon": True},
            ]
        },
    }
    near = workflow(dag({"name": "a", "templateRef": {"name": "far", "template": "entry"}}))
    with pytest.raises(UnsupportedWorkflowError) as caught:
        make_plan(near, {}, [far])
    assert caught.value.fields == (
        "WorkflowTemplate far: spec.templates[local].daemon (a pod that runs beside others)",
    )


def test_matters_of_a_cluster_are_left_out_with_their_variables() -> None:
    document = workflow(
        {
            **container("main", "true", image="{{nobody.knows}}", resources={"limits": {}}, securityContext={"x": 1}),
            "metadata": {"labels": {"a": "{{inputs.parameters.nope}}"}},
            "memoize": {"key": "{{=sprig.now()}}", "cache": {"configMap": {"name": "c"}}},
            "podSpecPatch": '{"containers": [{"name": "main", "resources": {"limits": {"memory": "{{=x.y}}"}}}]}',
            "nodeSelector": {"a": "b"},
            "serviceAccountName": "x",
        },
        podGC={"strategy": "OnPodCompletion"},
        ttlStrategy={"secondsAfterCompletion": 1},
        securityContext={"runAsNonRoot": True},
        serviceAccountName="x",
    )
    assert make_plan(document, {}, []).base.templates["main"] == {
        "name": "main",
        "container": {"command": ["true"]},
    }


def test_our_own_templates_run_here() -> None:
    templates = our_templates()
    ran = []
    for document in templates:
        if document["kind"] != "WorkflowTemplate":
            continue
        given = {
            parameter["name"]: (parameter.get("enum") or ["x"])[0]
            for parameter in document["spec"].get("arguments", {}).get("parameters", [])
            if parameter.get("value") is None and parameter.get("default") is None
        }
        ran.append(make_plan(document, given, templates).name.rpartition("-")[0])
    assert {"klever-extract", "klever-convert", "klever-publish", "klever-release"} <= set(ran)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (workflow(), "template name 'main' undefined"),
        (workflow(SAY, entrypoint=""), "spec.entrypoint is required"),
        (workflow(dag(), SAY), "templates.main must have at least one task"),
        (workflow(dag(task("a", "none"))), "templates.main.tasks.a template name 'none' undefined"),
        (workflow(dag(task("a", "say"), task("a", "say")), SAY), "[1].name 'a' is not unique"),
        (workflow(dag(task("a_b", "say")), SAY), "'a_b' is invalid"),
        (workflow(dag(task("a", "say", depends="b")), SAY), "dependency 'b' not defined"),
        (
            workflow(dag(task("a", "say", depends="b"), task("b", "say", depends="a")), SAY),
            "templates.main.tasks dependency cycle detected: a->b->a",
        ),
        (workflow(dag(task("a", "say", depends="b.Done"), task("b", "say")), SAY), "task result 'Done' for task 'b' is invalid"),
        (workflow(dag(task("a", "say", depends="b.AllFailed"), task("b", "say")), SAY), "does not contain any items"),
        (workflow({"name": "main", "dag": {"target": "b", "tasks": [task("a", "say")]}}, SAY), "target 'b' is not defined"),
        (workflow(dag(task("a", "say", given={"x": "{{tasks.b.outputs.result}}"}), task("b", "say")), SAY), "missing dependency 'b'"),
        (workflow(dag(task("a", "say", given={"x": "{{inputs.parameters.b}}"})), SAY), "failed to resolve {{inputs.parameters.b}}"),
        (workflow(dag(task("a", "say", given={"x": "{{item.b}}"})), SAY), "failed to resolve {{item.b}}"),
        (workflow(dag(task("a", "need")), shell("need", "true", inputs=("x",))), "inputs.parameters.x was not supplied"),
        (workflow(dag(task("a", "say", withItems=[1], withParam="[]")), SAY), "only one of withItems, withParam, withSequence"),
        (workflow({**SAY, "name": "main", "dag": {"tasks": []}}), "multiple template types specified"),
        (workflow({"name": "main"}), "template type unspecified"),
        (workflow({**container("main", "true"), "parallelism": 1}), "parallelism is only valid for steps and dag templates"),
        (workflow(dag(task("a", "say"), activeDeadlineSeconds=1), SAY), "activeDeadlineSeconds is only valid for leaf templates"),
        (workflow(dag({"name": "a", "templateRef": {"name": "x", "template": "y"}})), "workflow template x not found"),
        (workflow(container("main", "true"), parameters=[{"name": "p"}]), "spec.arguments.p.value"),
        (
            workflow(container("main", "true"), parameters=[{"name": "p", "value": "c", "enum": ["a", "b"]}]),
            "spec.arguments.p.value should be present in spec.arguments.p.enum list",
        ),
        (workflow({**container("main", "echo", args=["{{pod.nothing}}"])}), "failed to resolve {{pod.nothing}}"),
        (workflow(container("main", "true"), hooks={"x": {"template": "main"}}), "hooks.x Expression required"),
    ],
)  # fmt: skip
def test_what_argo_refuses_is_refused_here(document: Document, message: str) -> None:
    with pytest.raises(InvalidWorkflowError) as caught:
        make_plan(document, {}, [])
    assert message in caught.value.cause


def test_arguments_are_held_against_the_parameters() -> None:
    document = workflow(container("main", "true"), parameters=[{"name": "p", "value": "a", "enum": ["a", "b"]}])
    assert make_plan(document, {"p": "b"}, []).globals["workflow.parameters.p"] == "b"
    for given in ({"p": "c"}, {"q": "a"}):
        with pytest.raises(InvalidWorkflowError):
            make_plan(document, given, [])


def test_a_workflow_takes_the_spec_and_defaults_of_the_template_that_it_refers_to() -> None:
    template = {
        "kind": "WorkflowTemplate",
        "metadata": {"name": "base"},
        "spec": workflow(
            container("main", "echo"),
            parameters=[{"name": "kept", "value": 1.50}, {"name": "given", "value": "old", "enum": ["old", "new"]}],
        )["spec"],
    }
    document = {
        "kind": "Workflow",
        "metadata": {"name": "w"},
        "spec": {
            "workflowTemplateRef": {"name": "base"},
            "arguments": {"parameters": [{"name": "given", "value": "new"}]},
        },
    }
    plan = make_plan(document, {}, [template])
    assert plan.name == "w"
    assert plan.globals["workflow.parameters.kept"] == "1.5"
    assert plan.globals["workflow.parameters.given"] == "new"


def test_nothing_is_started_and_recorded_for_what_is_refused(home: Path, start: Any) -> None:
    with pytest.raises(UnsupportedWorkflowError):
        start(with_main(daemon=True))
    assert not (home / "runs").exists()
