"""Caffe networks: which blobs go in and come out, under which phase, and how large they are."""

import json
from pathlib import Path

import pytest
from corpus import corpus

from klever.steps.encodings.protobuf import decode
from klever.steps.encodings.prototext import parse_prototext
from klever.steps.errors import MalformedModelError, TruncatedModelError
from klever.steps.files import BytesSource, LocalFiles, MemoryFiles
from klever.steps.formats.caffemodel import FORMAT, Text, classify_text
from klever.steps.formats.caffemodel.graph import Graph, build_graph
from klever.steps.formats.caffemodel.shapes import infer_shapes
from klever.steps.formats.caffemodel.weights import check_weights
from klever.steps.formats.caffemodel.windows import pooled
from klever.steps.formats.interface import Evidence
from klever.steps.model.shapes import Shape

CONVOLUTION = 'type: "Convolution" convolution_param { num_output: 8 '
DECONVOLUTION = 'type: "Deconvolution" convolution_param { num_output: 8 '
#: A layer of V2, and one of V1 whose type is CONVOLUTION.
V2 = b"\xa2\x06\x0a\x0a\x01c\x12\x05Input"
V1 = b"\x12\x05\x22\x01c\x28\x04"


def graph(text: str) -> Graph:
    return build_graph(parse_prototext(text))


def shape_after(layer: str, *sizes: int) -> Shape:
    """Return the shape of ``y`` that one layer makes of ``x``."""
    dims = " ".join(f"dim: {size}" for size in sizes)
    built = graph(f'input: "x" input_shape {{ {dims} }} layer {{ name: "l" bottom: "x" top: "y" {layer} }}')
    return infer_shapes(built).blobs["y"]


@pytest.mark.corpus
@pytest.mark.parametrize("folder", corpus("CaffeModel"), ids=lambda folder: folder.name)
def test_the_corpus_is_read_as_caffe_computed_it(folder: Path) -> None:
    files = LocalFiles.below(folder / "model")
    claim = FORMAT.claim(files)
    assert claim is not None
    signature = FORMAT.read(files, claim, None).signature
    oracle = json.loads((folder / "oracle" / "meta.json").read_text())
    for tensors, expected in ((signature.inputs, oracle["inputs"]), (signature.outputs, oracle["outputs"])):
        assert {t.name: [list(t.shape or ()), t.dtype] for t in tensors or ()} == expected


@pytest.mark.parametrize(
    ("layer", "sizes", "expected"),
    [
        (CONVOLUTION + "kernel_size: 3 dilation: 2 pad: 2 stride: 2 }", (1, 3, 9, 8), (1, 8, 5, 4)),
        (CONVOLUTION + "kernel_size: [1, 3, 5] }", (1, 3, 9, 9, 9), (1, 8, 9, 7, 5)),
        (DECONVOLUTION + "kernel_h: 4 kernel_w: 3 stride: 2 pad: 1 }", (1, 3, 5, 5), (1, 8, 10, 9)),
        ('type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }', (1, 3, 112, 112), (1, 3, 56, 56)),
        ('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 pad: 1 }', (1, 3, 7, 8), (1, 3, 4, 5)),
        ('type: "Pooling" pooling_param { kernel_size: 3 stride: 2 round_mode: FLOOR }', (1, 3, 8, 8), (1, 3, 3, 3)),
        ('type: "Pooling" pooling_param { pool: AVE global_pooling: true }', (2, 3, 7, 7), (2, 3, 1, 1)),
        ('type: "InnerProduct" inner_product_param { num_output: 4 axis: 2 }', (2, 3, 7, 7), (2, 3, 4)),
        ('type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 6 } }', (2, 3, 4, 6), (2, 12, 6)),
        ('type: "Reshape" reshape_param { shape { dim: 3 dim: -1 } axis: 1 num_axes: 1 }', (2, 12, 5), (2, 3, 4, 5)),
        ('type: "Reshape" reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }', (2, 12), (2, 12, 1)),
        ('type: "Flatten" flatten_param { axis: 1 end_axis: 2 }', (2, 3, 4, 5), (2, 12, 5)),
        ('type: "Permute" permute_param { order: 0 order: 2 }', (2, 3, 4, 5), (2, 4, 3, 5)),
        ('type: "ArgMax" argmax_param { top_k: 5 out_max_val: true }', (2, 10), (2, 2, 5)),
        ('type: "ArgMax" argmax_param { axis: 1 }', (2, 10, 4, 4), (2, 1, 4, 4)),
        ('type: "Reduction" reduction_param { axis: 1 }', (2, 10, 4), (2,)),
        ('type: "Tile" tile_param { axis: 2 tiles: 3 }', (2, 10, 4), (2, 10, 12)),
        ('type: "Embed" embed_param { num_output: 6 }', (2, 10), (2, 10, 6)),
        ('type: "Im2col" convolution_param { kernel_size: 3 }', (1, 2, 5, 5), (1, 18, 3, 3)),
        ('type: "SPP" spp_param { pyramid_height: 3 }', (1, 2, 9, 9), (1, 42)),
        ('type: "Interp" interp_param { zoom_factor: 8 }', (1, 2, 5, 5), (1, 2, 33, 33)),
        ('type: "Upsample" upsample_param { scale: 2 }', (1, 2, 5, 6), (1, 2, 10, 12)),
        ('type: "Upsample" upsample_param { scale: 2 pad_out_h: true }', (1, 2, 5, 6), (1, 2, 9, 12)),
        ('type: "Reorg" reorg_param { stride: 2 }', (1, 64, 26, 26), (1, 256, 13, 13)),
        ('type: "ShuffleChannel"', (1, 2, 3, 4), (1, 2, 3, 4)),
        ('type: "DetectionOutput"', (1, 400), (1, 1, -1, 7)),
        ('type: "LayerOfAFork"', (1, 400), None),
    ],
)  # fmt: skip
def test_a_layer_shapes_its_top(layer: str, sizes: tuple[int, ...], expected: Shape) -> None:
    assert shape_after(layer, *sizes) == expected


def test_a_pooling_window_does_not_start_in_the_padding_behind() -> None:
    # Values of PoolingLayer::Reshape: ceil((7 + 2 - 2) / 2) + 1 = 5, of which the last would start at 8 >= 7 + 1.
    assert pooled(7, 2, 2, 1) == 4
    assert pooled(7, 2, 2, 0) == 4


def test_a_layer_that_does_not_fit_its_bottom_is_a_note_and_no_error() -> None:
    built = graph('input: "x" input_shape { dim: 1 } layer { name: "p" type: "Pooling" bottom: "x" top: "y" }')
    inference = infer_shapes(built)
    assert inference.blobs["y"] is None
    assert "'p'" in inference.notes[0]


def test_priors_count_ratios_and_their_inverses_for_each_size() -> None:
    text = """input: "x" input_shape { dim: 1 dim: 8 dim: 38 dim: 38 }
        layer { name: "b" type: "PriorBox" bottom: "x" top: "y"
                prior_box_param { min_size: 30 max_size: 60 aspect_ratio: 2 } }"""
    assert infer_shapes(graph(text)).blobs["y"] == (1, 2, 38 * 38 * 4 * 4)


def test_inputs_are_taken_from_every_way_to_declare_them() -> None:
    layer = ' layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "y" }'
    legacy = graph('input: "a" input: "b" ' + "input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 " * 2 + layer)
    shapes = graph('input: "a" input: "b" ' + "input_shape { dim: [1, 2, 3, 4] } " * 2 + layer)
    own = 'layer { name: "%s" type: "Input" top: "%s" input_param { shape { dim: [1, 2, 3, 4] } } } '
    layers = graph(own % ("a", "a") + own % ("b", "b") + layer)
    assert legacy.inputs == shapes.inputs == layers.inputs
    assert [fed.shape for fed in legacy.inputs] == [(1, 2, 3, 4)] * 2


def test_rules_decide_which_layers_are_in_the_phase() -> None:
    text = """state { stage: "deploy" } input: "x" input_shape { dim: 1 dim: 2 }
        layer { name: "a" type: "ReLU" bottom: "x" top: "a" include { phase: TRAIN } }
        layer { name: "b" type: "ReLU" bottom: "x" top: "b" exclude { phase: TEST } }
        layer { name: "c" type: "ReLU" bottom: "x" top: "c" include { stage: "deploy" } }
        layer { name: "d" type: "ReLU" bottom: "x" top: "d" include { not_stage: "deploy" } }
        layer { name: "e" type: "ReLU" bottom: "x" top: "e" include { min_level: 1 } include { phase: TEST } }"""
    assert [layer.name for layer in graph(text).layers] == ["c", "e"]
    assert [layer.name for layer in build_graph(parse_prototext(text), "TRAIN").layers] == ["a", "b", "c"]


def test_a_blob_changed_in_place_is_an_output_once() -> None:
    text = """input: "x" input_shape { dim: 1 dim: 2 }
        layer { name: "f" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 3 } }
        layer { name: "r" type: "ReLU" bottom: "y" top: "y" }"""
    assert graph(text).outputs == ("y",)


def test_a_training_network_is_deployed_without_labels_and_losses(models: Path) -> None:
    built = graph((models / "CaffeModel" / "training_prototxt" / "model" / "train_val.prototxt").read_text())
    assert [fed.name for fed in built.inputs] == ["data"]
    assert built.outputs == ("fc",)
    assert [layer.type for layer in built.judges] == ["Accuracy", "SoftmaxWithLoss"]


def test_nets_of_2013_are_brought_to_todays_types() -> None:
    text = """input: "x" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
        layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }
        layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 stride: 2 } bottom: "p" top: "c" }
        layers { layer { name: "m" type: "pool" pool: MAX kernelsize: 2 stride: 2 } bottom: "c" top: "m" }
        layers { layer { name: "f" type: "innerproduct" num_output: 7 } bottom: "m" top: "f" }"""
    built = graph(text)
    assert [layer.type for layer in built.layers] == ["Padding", "Convolution", "Pooling", "InnerProduct"]
    blobs = infer_shapes(built).blobs
    assert (blobs["c"], blobs["m"], blobs["f"]) == ((1, 4, 5, 5), (1, 4, 3, 3), (1, 7))


def test_a_layer_that_reads_what_nothing_writes_is_refused() -> None:
    with pytest.raises(MalformedModelError, match="'ghost'"):
        graph('layer { name: "a" type: "ReLU" bottom: "ghost" top: "y" }')


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"# a licence\nname: 'n'\nlayer {\n name: 'x' }", Text.DEPLOYED),
        (b'input: "data"\ninput_dim: 1', Text.DEPLOYED),
        (b'name: "n" layer { name: "data" type: "Data" include { phase: TRAIN } }', Text.TRAINED),
        (b'layers { name: "data" type: IMAGE_DATA }', Text.TRAINED),
        (b'net: "train_val.prototxt"\nbase_lr: 0.01\n', Text.SOLVER),
        (b'item { name: "none" label: 0 }', None),
        (b'platform: "onnxruntime_onnx"\ninput [ { name: "x" } ]', None),
        (b"<xml/>", None),
    ],
)
def test_texts_are_told_apart(text: bytes, kind: Text | None) -> None:
    assert classify_text(text) is kind


def test_the_network_to_deploy_is_chosen_among_a_solvers_files() -> None:
    deploy = b'input: "x" layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    files = {
        "deploy.prototxt": deploy,
        "solver.prototxt": b"base_lr: 0.1\nmax_iter: 10",
        "train_val.prototxt": b'layer { type: "Data" top: "x" include { phase: TRAIN } }',
        "w.caffemodel": V2,
    }
    claim = FORMAT.claim(MemoryFiles(files))
    assert claim is not None
    assert (claim.files, claim.competing, claim.missing) == (("deploy.prototxt", "w.caffemodel"), (), ())
    both = FORMAT.claim(MemoryFiles({**files, "other.prototxt": deploy}))
    assert both is not None
    assert both.competing == ("deploy.prototxt", "other.prototxt")


@pytest.mark.parametrize("data", [V1, V2, b"\x0a\x03net" + V1, b"\x0a\x03net\x1a\x01x" + V2])
def test_weights_of_both_generations_are_known_by_content(data: bytes) -> None:
    claim = FORMAT.claim(MemoryFiles({"weights.bin": data, "net.txt": b"layer { }"}))
    assert claim is not None
    assert claim.evidence is Evidence.CONTENT
    assert claim.rename == {"weights.bin": "weights.caffemodel", "net.txt": "net.prototxt"}


def test_a_slice_leaves_the_rest_to_its_last_part() -> None:
    layer = 'layer { name: "l" type: "Slice" bottom: "x" top: "a" top: "b" slice_param { slice_point: 1 } }'
    blobs = infer_shapes(graph(f'input: "x" input_shape {{ dim: 2 dim: 6 }} {layer}')).blobs
    assert (blobs["a"], blobs["b"]) == ((2, 1), (2, 5))


def test_companions_are_found_by_stem_then_by_custom() -> None:
    siblings = frozenset({"a.prototxt", "deploy.prototxt", "solver.prototxt"})
    assert FORMAT.companions("a_iter_100.caffemodel", siblings) == ("a.prototxt",)
    assert FORMAT.companions("b.caffemodel", siblings) == ("deploy.prototxt",)
    assert FORMAT.companions("b.caffemodel", frozenset({"c.prototxt", "solver.prototxt"})) == ("c.prototxt",)
    assert FORMAT.companions("b.onnx", siblings) == ()


def test_the_stored_layers_are_counted_and_have_to_be_whole(models: Path) -> None:
    data = (models / "CaffeModel" / "mtcnn_det1" / "model" / "net.caffemodel").read_bytes()
    caffe = [number for number, _ in decode(data) if number in (2, 100)]
    assert check_weights(BytesSource(data)) == len(caffe) > 0
    with pytest.raises(TruncatedModelError):
        check_weights(BytesSource(data[:-1]))
