"""One definition, two runners: the same objects run on this machine and on Argo, and leave the same artifacts."""

import json
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clusters import IMAGES_VARIABLE, Installation, has_image, settings

from klever.steps.artifact import DERIVED_FROM
from klever.steps.converters.table import PAIRS
from klever.steps.environments.locate import ENVIRONMENTS_VARIABLE
from klever.steps.environments.table import ENVIRONMENTS
from klever.steps.formats.table import all_formats
from klever.workflows.local import Options, run
from klever.workflows.manifest import load
from klever.workflows.status import Phase, Run
from klever.workflows.templates.images import IMAGE_OF_ENVIRONMENT
from klever.workflows.templates.table import build

pytestmark = pytest.mark.cluster

#: Keys of metadata and annotations.
TIMES = ("created", "org.opencontainers.image.created", DERIVED_FROM)
#: The Python of the images; an environment that does not run on it is in none of them.
IMAGE_PYTHON = (3, 11)
#: Of one format each that converts: a model, what it becomes, and the environments that this takes.
RELEASES = {
    "MXNetParams/mlp": ("ONNX", "prove-mxnet"),
    "CaffeModel/tiny_v1": ("ONNX,NetDef", "prove-caffe"),
    "NetDef/misc": ("ONNX",),
    # Not to SavedModel, which TensorFlow writes as other bytes each time.
    "H5/sequential_keras3": ("ONNX", "convert-tensorflow"),
    "Keras/sequential_keras3": ("ONNX", "convert-tensorflow"),
    "SavedModel/keras_three": ("ONNX", "convert-tensorflow"),
    "GraphDef/convolutions": ("ONNX", "convert-tensorflow"),
    "TorchScript/tabular_traced_torch215": ("ONNX", "convert-torch"),
    "SKLearn/dt_1_9": ("ONNX", "convert-sklearn"),
    "XGBoost/binary_2_1_linear": ("ONNX", "prove-xgboost-binary"),
}


#: A model of each format that is read.
EXTRACTIONS = (
    "CaffeModel/tiny_v1",
    "GGUF/gptneox_big_endian",
    "GraphDef/klever_sample",
    "H5/add_tf20",
    "Keras/siamese_keras3",
    "MLflow/columns",
    "MLlib/cv",
    "MXNetParams/autoencoder",
    "NetDef/group",
    "ONNX/branches_and_functions",
    "PMML/iforest",
    "Pickle/legacy_state_dict_torch17",
    "SKLearn/ct_1_9",
    "Safetensors/bert_tiny",
    "SavedModel/klever_sample",
    "TensorRT/header_only",
    "TorchScript/branch_scripted_torch215",
    "XGBoost/ormb_sample",
)


@dataclass(frozen=True)
class Place:
    """Where one of the two runners works: its repositories, and how it names the registry."""

    klever: Installation
    folder: str
    host: str

    def name(self, model: str) -> str:
        """Return the repository and tag of a model; a repository is in lower case."""
        return f"{self.folder}/{model.lower()}:v1"

    def reference(self, model: str) -> str:
        """Return what the runner calls it."""
        return f"{self.host}/{self.name(model)}"

    def left(self, reference: str) -> dict[str, Any]:
        """Return all that an artifact says, but for times and places."""
        artifact = self.klever.registry.load(reference.removeprefix(f"{self.host}/"))
        said = {
            "layer": artifact.manifest.layer.digest,
            "config": artifact.metadata.to_json(),
            "annotations": dict(artifact.manifest.annotations),
        }
        return json.loads(
            json.dumps(said).replace(self.host, "HOST").replace(self.folder, "FOLDER"), object_hook=timeless
        )


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without the times in it, and without the digests of documents with times in them."""
    return {key: value for key, value in document.items() if key not in TIMES}


@pytest.fixture(scope="module")
def on_argo(klever: Installation) -> Place:
    return Place(klever, "run-on-argo", klever.registry.host)


@pytest.fixture(scope="module")
def on_this_machine(klever: Installation) -> Place:
    return Place(klever, "run-on-this-machine", klever.registry.near)


@pytest.fixture
def as_in_the_images(environments_of_the_test: None, tmp_path: Path) -> Mapping[str, str]:
    """The variables of a process that has the environments which the images have, and no others."""
    links = tmp_path / "environments"
    links.mkdir()
    there = Path(os.environ.get(ENVIRONMENTS_VARIABLE, "/nowhere"))
    for name in IMAGE_OF_ENVIRONMENT:
        if name and IMAGE_PYTHON in ENVIRONMENTS[name].pythons:
            directory = ENVIRONMENTS[name].directory_name
            if (there / directory).is_dir():
                (links / directory).symlink_to(there / directory)
    return {**os.environ, ENVIRONMENTS_VARIABLE: str(links), "KLEVER_PLAIN_HTTP": "true"}


@pytest.fixture(scope="module")
def templates() -> dict[str, Any]:
    """The objects that both run, by their names."""
    return {template.name: template for template in build(settings())}


def parameters_of(request: pytest.FixtureRequest, name: str) -> list[str]:
    """Return the values of a parameter in the tests that this session runs."""
    functions = [
        item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    return list(dict.fromkeys(item.callspec.params[name] for item in functions if name in item.callspec.params))


def has_images_of(model: str) -> bool:
    """Say whether the cluster has the images that a model's release needs."""
    return all(has_image(IMAGE_OF_ENVIRONMENT[needed]) for needed in RELEASES[model][1:])


@pytest.fixture(scope="module")
def releases(
    klever: Installation, on_argo: Place, templates: dict[str, Any], models: Path, request: pytest.FixtureRequest
) -> dict[str, str]:
    """The workflows that release the models on Argo, all at once; each test waits for its own."""
    started = {}
    for model in filter(has_images_of, parameters_of(request, "released")):
        klever.registry.publish_unread(models / model / "model", on_argo.name(model))
        arguments = {"model": on_argo.reference(model), "formats": RELEASES[model][0]}
        started[model] = klever.submit_document(load(templates["klever-release"]), arguments)
    return started


@pytest.fixture(scope="module")
def extractions(
    klever: Installation, on_argo: Place, templates: dict[str, Any], models: Path, request: pytest.FixtureRequest
) -> dict[str, str]:
    """The workflows that extract the models' signatures on Argo."""
    started = {}
    for model in parameters_of(request, "extracted"):
        klever.registry.publish_unread(models / model / "model", on_argo.name(f"read/{model}"))
        arguments = {"model": on_argo.reference(f"read/{model}")}
        started[model] = klever.submit_document(load(templates["klever-extract"]), arguments)
    return started


def test_a_model_of_every_format_is_among_them() -> None:
    assert {model.partition("/")[0] for model in RELEASES} == {pair.source for pair in PAIRS}
    assert {model.partition("/")[0] for model in EXTRACTIONS} == {form.id for form in all_formats()} - {"Others"}


@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.version_info[:2] != IMAGE_PYTHON, reason="needs the Python of the images")
@pytest.mark.parametrize(
    "released",
    [pytest.param(model, marks=pytest.mark.environment(*needed), id=model) for model, (_, *needed) in RELEASES.items()],
)
def test_a_release_leaves_the_same_on_both(
    released: str,
    releases: dict[str, str],
    templates: dict[str, Any],
    on_argo: Place,
    on_this_machine: Place,
    as_in_the_images: Mapping[str, str],
    models: Path,
) -> None:
    if not has_images_of(released):
        pytest.skip(f"{IMAGES_VARIABLE} does not name the image of {RELEASES[released][1]}")
    klever = on_argo.klever
    klever.registry.publish_unread(models / released / "model", on_this_machine.name(released))
    here = run(
        templates["klever-release"],
        {"model": on_this_machine.reference(released), "formats": RELEASES[released][0]},
        templates=[load(template) for template in templates.values()],
        options=Options(environment=as_in_the_images),
    )
    there = klever.wait(releases[released])
    check_ended_well(here, there)
    ours, argos = results(here, on_this_machine), results(there, on_argo)
    assert len(ours) == 1 + len(RELEASES[released][0].split(","))
    assert differences(ours, argos) == []


@pytest.mark.parametrize("extracted", EXTRACTIONS)
def test_an_extraction_leaves_the_same_on_both(
    extracted: str,
    extractions: dict[str, str],
    templates: dict[str, Any],
    on_argo: Place,
    on_this_machine: Place,
    models: Path,
) -> None:
    klever, name = on_argo.klever, f"read/{extracted}"
    before = klever.registry.publish_unread(models / extracted / "model", on_this_machine.name(name))
    here = run(
        templates["klever-extract"],
        {"model": on_this_machine.reference(name)},
        templates=[],
        options=Options(environment={**os.environ, "KLEVER_PLAIN_HTTP": "true"}),
    )
    there = klever.wait(extractions[extracted])
    check_ended_well(here, there)
    places = ("reference", "digest")
    assert without(here.outputs, places) == without(there.outputs, places)
    ours = on_this_machine.left(here.outputs["reference"])
    assert differences(ours, on_argo.left(there.outputs["reference"])) == []
    assert ours == on_this_machine.left(on_this_machine.name(name))
    assert klever.registry.load(on_this_machine.name(name)).descriptor.digest != before


def check_ended_well(here: Run, there: Run) -> None:
    """Check that both did all that they were to do."""
    assert not [f"here: {node.name}: {node.message}" for node in here.failures()]
    assert not [f"on Argo: {node.name}: {node.message}" for node in there.failures()]
    assert (here.phase, there.phase) == (Phase.SUCCEEDED, Phase.SUCCEEDED)


def without(values: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name not in names}


def results(finished: Run, place: Place) -> dict[str, Any]:
    """Return what each artifact of a release says, by its name without the place."""
    references = [finished.outputs["reference"], *json.loads(finished.outputs["references"])]
    return {
        each.removeprefix(f"{place.host}/{place.folder}/").partition("@")[0]: place.left(each) for each in references
    }


def differences(here: Any, there: Any, place: str = "") -> list[str]:
    """Return where two documents differ, each with both values."""
    if isinstance(here, dict) and isinstance(there, dict):
        keys = [*here, *(key for key in there if key not in here)]
        return [each for key in keys for each in differences(here.get(key), there.get(key), f"{place}/{key}")]
    return [] if here == there else [f"{place}: here {here!r}, on Argo {there!r}"]
