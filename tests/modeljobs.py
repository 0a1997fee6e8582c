"""ModelJobs that the API server has to take, and such that it has to refuse, with what it says."""

from copy import deepcopy
from typing import Any

Document = dict[str, Any]

MODEL = "harbor.example/release/mxnet:v1"


def manifest(name: str = "job", /, **spec: Any) -> Document:
    """Return a ModelJob with this spec."""
    return {
        "apiVersion": "kleveross.io/v1alpha1",
        "kind": "ModelJob",
        "metadata": {"name": name},
        "spec": deepcopy(spec),
    }


def conversion(source: str, target: str) -> Document:
    """Return the part of a spec that asks for a conversion."""
    return {"mmdnn": {"from": source, "to": target}}


#: What people have from before: each of these was taken by the first ModelJobs.
HISTORIC: dict[str, Document] = {
    "extraction": manifest(model=MODEL, extraction={"format": "MXNetParams"}),
    "extraction-without-format": manifest(model=MODEL, extraction={}),
    "extraction-by-the-name-of-a-service": manifest(
        model="harbor-harbor-core.kleveross-system/release/savedmodel:v1", extraction={"format": "SavedModel"}
    ),
    "extraction-elsewhere": manifest(
        model=MODEL, desiredTag="harbor.example/release/mxnet:signed", extraction={"format": "MXNetParams"}
    ),
    "conversion": manifest(
        model=MODEL,
        desiredTag="harbor.example/release/onnx_convert:v2",
        conversion=conversion("MXNetParams", "ONNX"),
    ),
    "conversion-in-the-spelling-of-the-first-version": manifest(
        model=MODEL,
        desiredTag="harbor.example/release/onnx_convert:v2",
        conversion=conversion("MXNETParams", "ONNX"),
    ),
    "conversion-of-caffe": manifest(
        model="harbor.example/release/caffe:v1",
        desiredTag="harbor.example/release/caffe2_convert:v2",
        conversion=conversion("CaffeModel", "NetDef"),
    ),
    "conversion-of-keras": manifest(
        model="harbor.example/release/h5:v1",
        desiredTag="harbor.example/release/savemodel_convert:v2",
        conversion=conversion("H5", "SavedModel"),
    ),
    "conversion-that-nothing-makes": manifest(
        model="harbor.example/release/onnx:v1",
        desiredTag="harbor.example/release/trt:v2",
        conversion=conversion("ONNX", "TensorRT"),
    ),
    "env": manifest(
        model="harbor.example/release/netdef:v1",
        extraction={"format": "NetDef"},
        env=[
            {"name": "INPUTS", "value": '[{"name": "data", "size": [1, 3, 224, 224], "dType": "float32"}]'},
            {"name": "OUTPUTS", "value": '[{"name": "prob", "size": [1, 1000], "dType": "float32"}]'},
            {"name": "COMMAND", "value": "python3 extract.py"},
        ],
    ),
    "env-from-elsewhere": manifest(
        model=MODEL,
        extraction={"format": "MXNetParams"},
        env=[
            {"name": "INPUTS", "valueFrom": {"configMapKeyRef": {"name": "signatures", "key": "mxnet"}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        ],
    ),
    "init-container": manifest(
        model=MODEL,
        extraction={"format": "MXNetParams"},
        initContainer={"name": "fetch", "image": "docker.io/library/busybox:1", "args": ["true"]},
    ),
    "init-containers": manifest(
        model=MODEL,
        extraction={"format": "MXNetParams"},
        initContainer=[{"name": "fetch", "image": "busybox", "resources": {"limits": {"cpu": 1}}}],
    ),
    "empty-fields-of-an-old-client": manifest(
        model=MODEL, desiredTag="", extraction={"format": ""}, env=[], initContainer=[]
    ),
    "as-read-from-an-old-cluster": manifest(model=MODEL, extraction={"format": "MXNetParams"})
    | {
        "metadata": {
            "name": "job",
            "creationTimestamp": None,
            "generation": 3,
            "labels": {"app": "klever"},
            "annotations": {"note": "by hand"},
        },
        "status": {"phase": "", "message": ""},
    },
    "as-read-after-it-failed": manifest(model=MODEL, extraction={"format": "MXNetParams"})
    | {"status": {"phase": "Failed", "message": "ErrImagePull"}},
}

#: What is new.
NEW: dict[str, Document] = {
    "deployment": manifest(
        model=MODEL, deployment={"name": "net", "platform": "kubernetes", "server": "mlserver", "replicas": 2}
    ),
    "deployment-by-default": manifest(model=MODEL, deployment={}),
    "pipeline": manifest(
        model=MODEL,
        desiredTag="harbor.example/release/mxnet:v2",
        pipeline={"template": "klever-release", "arguments": {"formats": '["ONNX"]', "require": "compared"}},
        ttlSecondsAfterFinished=0,
    ),
    "pipeline-of-another-model": manifest(
        pipeline={"template": "klever-publish", "arguments": {"source": "https://models.example/a.onnx", "as": MODEL}}
    ),
    "pinned": manifest(model=f"localhost:5000/a/b/c_d.e--f@sha256:{'0' * 64}", extraction={}),
    "tagged-and-pinned": manifest(model=f"[::1]:443/a/b:1@sha256:{'f' * 64}", extraction={"format": "onnx"}),
}

TAKEN = HISTORIC | NEW

_ONE = "write exactly one of extraction, conversion, deployment and pipeline"
_MODEL = "write the reference of the artifact to work on: HOST[:PORT]/PROJECT/NAME[:TAG][@DIGEST]"
_REFERENCE = "write a reference: HOST[:PORT]/PROJECT/NAME[:TAG][@DIGEST]"
_TAG = "write the reference to push the result as, HOST[:PORT]/PROJECT/NAME:TAG"
_BOTH = "write both formats: conversion: {mmdnn: {from: FORMAT, to: FORMAT}}"
_FORMAT = "write one of SavedModel, GraphDef, H5"

#: What is refused, and with which sentence.
REFUSED: dict[str, tuple[Document, str]] = {
    "nothing-to-do": (manifest(model=MODEL), _ONE),
    "two-works": (manifest(model=MODEL, extraction={}, conversion=conversion("H5", "ONNX")), _ONE),
    "deployment-and-conversion": (manifest(model=MODEL, deployment={}, conversion=conversion("H5", "ONNX")), _ONE),
    "no-model": (manifest(extraction={}), _MODEL),
    "empty-model": (manifest(model="", extraction={}), _MODEL),
    "model-in-upper-case": (manifest(model="harbor.example/Release/MNIST:v1", extraction={}), _REFERENCE),
    "model-that-is-a-url": (manifest(model="https://harbor.example/release/mnist", extraction={}), _REFERENCE),
    "model-that-is-a-path": (manifest(model="../../etc/passwd", extraction={}), _REFERENCE),
    "model-that-is-a-placeholder": (manifest(model="harbor.example/a/{{workflow.name}}:v1", extraction={}), _REFERENCE),
    "model-with-a-line-break": (manifest(model="harbor.example/a/b:v1\n", extraction={}), _REFERENCE),
    "model-with-half-a-digest": (manifest(model="harbor.example/a/b@sha256:abc", extraction={}), _REFERENCE),
    "tag-with-a-digest": (
        manifest(model=MODEL, desiredTag=f"harbor.example/a/b@sha256:{'0' * 64}", extraction={}),
        _TAG,
    ),
    "tag-with-a-shell": (manifest(model=MODEL, desiredTag="harbor.example/a/b:$(id)", extraction={}), _TAG),
    "unknown-format": (manifest(model=MODEL, extraction={"format": "MXNet"}), _FORMAT),
    "conversion-of-nothing": (manifest(model=MODEL, conversion={}), _BOTH),
    "conversion-to-nothing": (manifest(model=MODEL, conversion={"mmdnn": {"from": "H5"}}), _BOTH),
    "conversion-to-the-empty": (manifest(model=MODEL, conversion=conversion("H5", "")), _BOTH),
    "conversion-from-a-framework": (manifest(model=MODEL, conversion=conversion("Keras2", "ONNX")), _FORMAT),
    "conversion-to-a-placeholder": (manifest(model=MODEL, conversion=conversion("H5", "{{a}}")), _FORMAT),
    "conversion-to-itself": (manifest(model=MODEL, conversion=conversion("H5", "h5")), "write two different formats"),
    "deployment-without-a-name-of-a-service": (
        manifest(model=MODEL, deployment={"name": "1st"}),
        "write lower-case letters, digits and hyphens, beginning with a letter",
    ),
    "deployment-on-something-else": (manifest(model=MODEL, deployment={"platform": "nomad"}), "supported values"),
    "deployment-of-too-many": (manifest(model=MODEL, deployment={"replicas": 100_000}), "less than or equal to 1000"),
    "pipeline-without-a-template": (manifest(model=MODEL, pipeline={}), "spec.pipeline.template: Required value"),
    "pipeline-of-a-path": (
        manifest(model=MODEL, pipeline={"template": "../klever-extract"}),
        "write the name of a WorkflowTemplate of the job's namespace",
    ),
    "pipeline-with-a-placeholder": (
        manifest(model=MODEL, pipeline={"template": "t", "arguments": {"to": "{{=sprig.env('HOME')}}"}}),
        "write values without two opening braces in a row",
    ),
    "pipeline-with-a-number": (
        manifest(model=MODEL, pipeline={"template": "t", "arguments": {"opset": 17}}),
        "spec.pipeline.arguments.opset",
    ),
    "too-many-arguments": (
        manifest(model=MODEL, pipeline={"template": "t", "arguments": {f"a{n}": "" for n in range(65)}}),
        "must have at most 64 items",
    ),
    "a-reference-without-end": (manifest(model="harbor.example/" + "a" * 600, extraction={}), "Too long"),
    "time-before-now": (manifest(model=MODEL, extraction={}, ttlSecondsAfterFinished=-1), "greater than or equal to 0"),
}
