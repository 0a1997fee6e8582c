"""What OpenCV is told of a Caffe network: its deployed form, and the layer behind each blob."""

from pathlib import Path

import pytest

from klever.steps.converters.interface import SourceModel
from klever.steps.encodings.prototext import parse_prototext
from klever.steps.errors import ConversionError
from klever.steps.files import LocalFiles
from klever.steps.formats.caffemodel.graph import build_graph
from klever.steps.formats.interface import Claim, Evidence
from klever.steps.model.signature import Signature
from klever.steps.proof.caffe import deployed, write_deploy

TRAINED = """
name: "LeNet"
layer { name: "mnist" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { source: "a" } }
layer {
  name: "mnist" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 28 } data_param { source: "b" batch_size: 100 }
}
layer {
  name: "pool" type: "Pooling" bottom: "data" top: "pool" param { lr_mult: 1 }
  pooling_param { pool: MAX kernel_size: 2 stride: 2 }
}
layer { name: "relu" type: "ReLU" bottom: "pool" top: "pool" relu_param { negative_slope: 0.1 } }
layer { name: "accuracy" type: "Accuracy" bottom: "pool" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pool" bottom: "label" top: "loss" }
"""
V1 = """
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2 weight_decay: 1
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "gaussian" std: 0.01 } } }
"""


def model(folder: Path, text: str) -> SourceModel:
    """Lay a network beside weights that nobody reads here."""
    (folder / "net.prototxt").write_text(text)
    (folder / "net.caffemodel").touch()
    return SourceModel(
        LocalFiles.below(folder), Claim(Evidence.CONTENT, ("net.caffemodel", "net.prototxt")), Signature()
    )


def test_a_network_of_training_is_written_as_it_is_deployed(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    told = deployed(model(tmp_path, TRAINED), tmp_path / "scratch")
    graph = build_graph(parse_prototext(Path(told["path"]).read_text()))
    assert [(layer.name, layer.type) for layer in graph.layers] == [("pool", "Pooling"), ("relu", "ReLU")]
    assert graph.judges == ()
    assert [fed.name for fed in graph.inputs] == ["data"]
    assert graph.layers[0].fields.message("pooling_param").text("pool") == "MAX"
    assert graph.layers[1].fields.message("relu_param").number("negative_slope") == 0.1
    assert told["producers"] == {"pool": ("relu", 0)}


def test_a_deployed_network_is_handed_over_as_it_is(tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 1 dim: 3 } layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    told = deployed(model(tmp_path, text), tmp_path)
    assert told["path"] == str(tmp_path / "net.prototxt")
    assert told["weights"] == str(tmp_path / "net.caffemodel")


def test_what_only_training_needs_is_left_out_of_upgraded_layers() -> None:
    text = write_deploy(build_graph(parse_prototext(V1)))
    assert "blobs_lr" not in text
    assert "weight_decay" not in text
    assert 'type: "Convolution"' in text
    assert "std: 0.01" in text


@pytest.mark.parametrize("name", ["plain", 'quote"d', "back\\slash", "ünïcode", "line\nbreak"])
def test_names_survive_being_written(name: str) -> None:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    text = f'input: "x" input_dim: 1 input_dim: 3 layer {{ name: "{escaped}" type: "ReLU" bottom: "x" top: "y" }}'
    written = write_deploy(build_graph(parse_prototext(text)))
    assert build_graph(parse_prototext(written)).layers[0].name == name


def test_copies_of_a_blob_are_the_blob_that_they_copy(tmp_path: Path) -> None:
    text = """
    input: "x" input_shape { dim: 1 dim: 3 }
    layer { name: "s" type: "Slice" bottom: "x" top: "a" top: "b" slice_param { slice_point: 1 } }
    layer { name: "copy" type: "Split" bottom: "b" top: "b1" top: "b2" }
    """
    assert deployed(model(tmp_path, text), tmp_path)["producers"] == {
        "a": ("s", 0),
        "b1": ("s", 1),
        "b2": ("s", 1),
    }


@pytest.mark.parametrize(
    "layer",
    [
        'type: "Log" log_param { shift: 1 }',
        'type: "LRN" lrn_param { k: 2 }',
        'type: "InnerProduct" inner_product_param { num_output: 2 transpose: true }',
        'type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 2 dilation: 2 }',
        'type: "MVN" mvn_param { eps: 0.01 }',
        'type: "Swish" swish_param { beta: 2 }',
        'type: "Scale" bottom: "x" scale_param { bias_term: true }',
        'type: "Concat"',
    ],
)
def test_what_opencv_computes_otherwise_than_caffe_is_no_measure(tmp_path: Path, layer: str) -> None:
    text = (
        f'input: "x" input_shape {{ dim: 1 dim: 3 dim: 4 dim: 4 }} layer {{ name: "f" bottom: "x" top: "y" {layer} }}'
    )
    with pytest.raises(ConversionError, match="otherwise than Caffe, and layer 'f' has that"):
        deployed(model(tmp_path, text), tmp_path)


@pytest.mark.parametrize(
    "layer",
    [
        'type: "Log"',
        'type: "LRN" lrn_param { k: 1 local_size: 3 }',
        'type: "InnerProduct" inner_product_param { num_output: 2 transpose: false }',
        'type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 2 dilation: 1 }',
        'type: "MVN"',
        'type: "Concat" bottom: "x"',
    ],
)
def test_what_it_computes_alike_is_run(tmp_path: Path, layer: str) -> None:
    text = (
        f'input: "x" input_shape {{ dim: 1 dim: 3 dim: 4 dim: 4 }} layer {{ name: "f" bottom: "x" top: "y" {layer} }}'
    )
    assert deployed(model(tmp_path, text), tmp_path)["producers"] == {"y": ("f", 0)}


def test_arrays_of_one_axis_are_no_measure_either(tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 3 } layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    with pytest.raises(ConversionError, match="one axis"):
        deployed(model(tmp_path, text), tmp_path)
