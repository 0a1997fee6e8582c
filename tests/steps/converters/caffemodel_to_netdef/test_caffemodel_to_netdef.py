"""CaffeModel to NetDef: what networks as a whole become, and the failures of other converters by name."""

import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from corpus import corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from klever.steps.converters.caffemodel_to_netdef import CONVERTER
from klever.steps.converters.interface import Options
from klever.steps.errors import (
    KleverError,
    LimitExceededError,
    MalformedModelError,
    UnansweredError,
    UnsupportedOperatorsError,
)
from klever.steps.formats.caffemodel.weights import read_weights
from klever.steps.formats.netdef.graph import find_inputs, find_outputs

from .caffemodels import (
    Array,
    Converted,
    blob,
    legacy_blob,
    opened,
    run_netdef,
    source,
    surveyed,
    unpacked_blob,
    v0,
    v1,
    v2,
)

RANDOM = np.random.RandomState(3)


def drawn(*shape: int) -> Array:
    return np.asarray(RANDOM.randn(*shape), np.float32)


def taking(*shape: int, name: str = "x") -> str:
    return f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'


def layer(kind: str, bottom: str, top: str, text: str = "", name: str = "the") -> str:
    blobs = " ".join([f'bottom: "{each}"' for each in bottom.split()] + [f'top: "{each}"' for each in top.split()])
    return f'layer {{ name: "{name}" type: "{kind}" {blobs} {text} }}\n'


@pytest.mark.corpus
@pytest.mark.parametrize("folder", corpus("CaffeModel"), ids=lambda folder: folder.name)
def test_the_corpus_computes_what_caffe_computed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "netdef").mkdir()
    model = opened(folder / "model", "CaffeModel")
    CONVERTER.convert(model, Options(), tmp_path / "netdef")
    with np.load(folder / "oracle" / "inputs.npz") as inputs, np.load(folder / "oracle" / "outputs.npz") as expected:
        got = run_netdef(tmp_path / "netdef", dict(inputs))
        assert set(got) == set(expected.files)
        for name in expected.files:
            assert_allclose(got[name], expected[name], rtol=1e-3, atol=1e-4)


@pytest.mark.corpus
@pytest.mark.parametrize("folder", corpus("CaffeModel"), ids=lambda folder: folder.name)
def test_the_result_has_the_signature_of_the_source(folder: Path, tmp_path: Path) -> None:
    model = opened(folder / "model", "CaffeModel")
    CONVERTER.convert(model, Options(), tmp_path)
    result = opened(tmp_path, "NetDef").signature
    assert result.inputs == model.signature.inputs
    assert [(each.name, each.shape) for each in result.outputs or ()] == [
        (each.name, each.shape) for each in model.signature.outputs or ()
    ]


# The original failures by name.


def test_batch_norm_divides_its_statistics_by_the_stored_scale_factor(tmp_path: Path) -> None:
    net = taking(2, 3, 4, 4) + layer("BatchNorm", "x", "y", "batch_norm_param { eps: 0.001 }")
    mean, variance, x = drawn(3), np.abs(drawn(3)) + 1, drawn(2, 3, 4, 4)
    stored = [blob(mean * 999), blob(variance * 999), blob(np.array([999.0], np.float32))]
    got = Converted(tmp_path, net, v2({"the": stored})).run(x=x)["y"]
    centred = x - mean.reshape(3, 1, 1)
    assert_allclose(got, centred / np.sqrt(variance.reshape(3, 1, 1) + 0.001), rtol=1e-4, atol=1e-5)


def test_batch_norm_that_never_averaged_has_statistics_of_zero(tmp_path: Path) -> None:
    net = taking(1, 2, 2, 2) + layer("BatchNorm", "x", "y")
    stored = [blob(drawn(2)), blob(drawn(2)), blob(np.zeros(1, np.float32))]
    x = drawn(1, 2, 2, 2)
    assert_allclose(Converted(tmp_path, net, v2({"the": stored})).run(x=x)["y"], x / np.sqrt(1e-5), rtol=1e-4)


@pytest.mark.parametrize(("size", "windows"), [(7, 3), (8, 4), (9, 4)])
def test_pooling_counts_its_windows_rounding_up(tmp_path: Path, size: int, windows: int) -> None:
    net = taking(1, 1, size, size) + layer("Pooling", "x", "y", "pooling_param { kernel_size: 3 stride: 2 }")
    x = drawn(1, 1, size, size)
    got = Converted(tmp_path, net).run(x=x)["y"]
    assert got.shape == (1, 1, windows, windows)
    assert got[0, 0, -1, -1] == x[0, 0, 2 * windows - 2 :, 2 * windows - 2 :].max()


def test_average_pooling_divides_by_the_window_on_image_and_padding(tmp_path: Path) -> None:
    text = "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"
    got = Converted(tmp_path, taking(1, 1, 6, 6) + layer("Pooling", "x", "y", text)).run(
        x=np.ones((1, 1, 6, 6), np.float32)
    )["y"]
    # Windows begin at -1, 1, 3 and 5; the last one ends where the padding does.
    along = np.array([2, 3, 3, 1]) / np.array([3, 3, 3, 2])
    assert_allclose(got[0, 0], np.outer(along, along), rtol=1e-6)


def test_a_window_that_would_begin_behind_the_image_is_dropped(tmp_path: Path) -> None:
    text = "pooling_param { kernel_size: 2 stride: 2 pad: 1 }"
    got = Converted(tmp_path, taking(1, 1, 4, 5) + layer("Pooling", "x", "y", text)).run(x=drawn(1, 1, 4, 5))["y"]
    assert got.shape == (1, 1, 3, 3)


def test_crop_takes_the_sizes_of_the_second_bottom_at_its_offsets(tmp_path: Path) -> None:
    net = taking(1, 2, 6, 7) + taking(1, 9, 3, 2, name="z")
    net += layer("Crop", "x z", "y", "crop_param { axis: 2 offset: 1 offset: 4 }")
    x = drawn(1, 2, 6, 7)
    got = Converted(tmp_path, net).run(x=x, z=drawn(1, 9, 3, 2))["y"]
    assert_array_equal(got, x[:, :, 1:4, 4:6])


def test_elu_scales_by_its_alpha(tmp_path: Path) -> None:
    net = taking(2, 3) + layer("ELU", "x", "y", "elu_param { alpha: 0.3 }")
    x = drawn(2, 3)
    got = Converted(tmp_path, net).run(x=x)["y"]
    assert_allclose(got, np.where(x > 0, x, 0.3 * np.expm1(x)), rtol=1e-5, atol=1e-6)


CONVOLUTION = "convolution_param { num_output: 2 kernel_size: 3 }"
FORMS = {
    "V2": (f'layer {{ name: "the" type: "Convolution" bottom: "x" top: "y" {CONVOLUTION} }}', v2),
    "V1": (f'layers {{ name: "the" type: CONVOLUTION bottom: "x" top: "y" blobs_lr: 1 {CONVOLUTION} }}', v1),
    "V0": ('layers { layer { name: "the" type: "conv" num_output: 2 kernelsize: 3 } bottom: "x" top: "y" }', v0),
}


@pytest.mark.parametrize("encode", [blob, legacy_blob, unpacked_blob])
@pytest.mark.parametrize("form", sorted(FORMS))
def test_v1_layers_and_legacy_blobs_are_those_of_today(tmp_path: Path, form: str, encode) -> None:  # type: ignore[no-untyped-def]
    text, write = FORMS[form]
    net = 'input: "x" input_dim: 1 input_dim: 3 input_dim: 3 input_dim: 3\n' + text
    weight, bias, x = drawn(2, 3, 3, 3), drawn(2), drawn(1, 3, 3, 3)
    got = Converted(tmp_path, net, write({"the": [encode(weight), encode(bias)]})).run(x=x)["y"]
    assert_allclose(got.reshape(2), (weight * x).sum((1, 2, 3)) + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["f2", "f8"])
def test_weights_of_other_widths_become_floats(tmp_path: Path, kind: str) -> None:
    from wire import field

    weight = drawn(2, 4).astype("<f2")
    data = weight.astype(f"<{kind}").tobytes()
    shape = field(7, field(1, b"\x02\x04"))
    # NVCaffe says the type of its bytes: 2 is FLOAT16. Caffe itself has a field for 64 bits.
    stored = shape + (field(10, 2) + field(12, data) if kind == "f2" else field(8, data))
    net = taking(1, 4) + layer("InnerProduct", "x", "y", "inner_product_param { num_output: 2 bias_term: false }")
    x = drawn(1, 4)
    got = Converted(tmp_path, net, v2({"the": [stored]})).run(x=x)["y"]
    assert_allclose(got, x @ weight.astype(np.float32).T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("shared", [False, True])
def test_prelu_broadcasts_its_slopes(tmp_path: Path, shape: tuple[int, ...], shared: bool) -> None:
    slopes = drawn() if shared else drawn(3)
    text = "prelu_param { channel_shared: true }" if shared else ""
    x = drawn(*shape)
    got = Converted(tmp_path, taking(*shape) + layer("PReLU", "x", "y", text), v2({"the": [blob(slopes)]})).run(x=x)
    slopes = slopes if shared else slopes.reshape(3, *[1] * (len(shape) - 2))
    assert_allclose(got["y"], np.where(x > 0, x, slopes * x), rtol=1e-5)


IN_PLACE = ("ReLU", "AbsVal", "Softmax", "Dropout", "TanH", "ELU")


@given(kinds=st.lists(st.sampled_from(IN_PLACE), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_layers_in_place_leave_the_last_value_under_the_blobs_name(tmp_path_factory, kinds: list[str]) -> None:  # type: ignore[no-untyped-def]
    net = taking(2, 3) + layer("Power", "x", "y", "power_param { scale: 2 }", name="first")
    # A reader between the layers sees what the blob holds then.
    middle = len(kinds) // 2
    for at, kind in enumerate(kinds):
        if at == middle:
            net += layer("Power", "y", "seen", "power_param { shift: 0 }", name="reader")
        net += layer(kind, "y", "y", name=f"layer{at}")
    result = Converted(tmp_path_factory.mktemp("in_place"), net)
    for operator in result.predict.operators:
        assert operator.outputs[0] not in operator.inputs or operator.type in ("Relu", "Elu", "Tanh", "Mul")
    x = drawn(2, 3)
    got = result.run(x=x)
    y = 2 * x
    for at, kind in enumerate(kinds):
        if at == middle:
            assert_allclose(got["seen"], y, rtol=1e-4, atol=1e-6)
        y = {
            "ReLU": lambda y: np.maximum(y, 0),
            "AbsVal": np.abs,
            "Softmax": lambda y: np.exp(y) / np.exp(y).sum(1, keepdims=True),
            "Dropout": lambda y: y,
            "TanH": np.tanh,
            "ELU": lambda y: np.where(y > 0, y, np.expm1(y)),
        }[kind](y)
    assert_allclose(got["y"], y, rtol=1e-4, atol=1e-6)


# Layers of forks whose values no runtime here gives.


def test_axpy_scales_each_channel_and_adds(tmp_path: Path) -> None:
    net = taking(2, 3, 1, 1, name="a") + taking(2, 3, 4, 5) + taking(2, 3, 4, 5, name="b")
    scale, x, added = drawn(2, 3, 1, 1), drawn(2, 3, 4, 5), drawn(2, 3, 4, 5)
    got = Converted(tmp_path, net + layer("Axpy", "a x b", "y")).run(a=scale, x=x, b=added)["y"]
    assert_allclose(got, scale * x + added, rtol=1e-5, atol=1e-6)


def test_bn_of_pspnet_stores_scale_shift_mean_and_variance(tmp_path: Path) -> None:
    scale, shift, mean, variance, x = drawn(3), drawn(3), drawn(3), np.abs(drawn(3)) + 1, drawn(2, 3, 4, 4)
    stored = [blob(each.reshape(1, 3, 1, 1)) for each in (scale, shift, mean, variance)]
    got = Converted(tmp_path, taking(2, 3, 4, 4) + layer("BN", "x", "y"), v2({"the": stored})).run(x=x)["y"]
    scale, shift, mean, variance = (each.reshape(3, 1, 1) for each in (scale, shift, mean, variance))
    assert_allclose(got, scale * (x - mean) / np.sqrt(variance + 1e-5) + shift, rtol=1e-4, atol=1e-5)


def test_bn_of_segnet_is_a_scale_and_a_shift_when_it_is_deployed(tmp_path: Path) -> None:
    scale, shift, x = drawn(3), drawn(3), drawn(2, 3, 4, 4)
    net = taking(2, 3, 4, 4) + layer("BN", "x", "x2", "bn_param { bn_mode: INFERENCE }")
    got = Converted(tmp_path, net, v2({"the": [blob(scale), blob(shift)]})).run(x=x)["x2"]
    assert_allclose(got, scale.reshape(3, 1, 1) * x + shift.reshape(3, 1, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["BatchNorm", "CuDNNBatchNorm"])
def test_a_batch_norm_of_nvcaffe_scales_and_shifts_by_two_blobs_more(tmp_path: Path, kind: str) -> None:
    mean, variance, scale, shift, x = drawn(3), np.abs(drawn(3)) + 1, drawn(3), drawn(3), drawn(2, 3, 4, 4)
    stored = [blob(each) for each in (mean, variance, np.ones(1, np.float32), scale, shift)]
    net = taking(2, 3, 4, 4) + layer(kind, "x", "y", "batch_norm_param { scale_bias: true }")
    got = Converted(tmp_path, net, v2({"the": stored})).run(x=x)["y"]
    mean, variance, scale, shift = (each.reshape(3, 1, 1) for each in (mean, variance, scale, shift))
    assert_allclose(got, scale * (x - mean) / np.sqrt(variance + 1e-5) + shift, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["DepthwiseConvolution", "ConvolutionDepthwise", "CuDNNConvolution", "Convolution"])
def test_convolutions_by_other_names_are_convolutions(tmp_path: Path, kind: str) -> None:
    group = "" if "epthwise" in kind else "group: 3"
    text = f"convolution_param {{ num_output: 3 kernel_size: 2 {group} bias_term: false }}"
    weight, x = drawn(3, 1, 2, 2), drawn(1, 3, 2, 2)
    got = Converted(tmp_path, taking(1, 3, 2, 2) + layer(kind, "x", "y", text), v2({"the": [blob(weight)]})).run(x=x)
    assert_allclose(got["y"].reshape(3), (weight[:, 0] * x[0]).sum((1, 2)), rtol=1e-4, atol=1e-5)


def test_the_padding_layer_of_v0_widens_an_image(tmp_path: Path) -> None:
    net = 'input: "x" input_dim: 1 input_dim: 2 input_dim: 2 input_dim: 3\n'
    net += 'layers { layer { name: "the" type: "padding" pad: 1 } bottom: "x" top: "y" }'
    x = drawn(1, 2, 2, 3)
    got = Converted(tmp_path, net, v0({"the": []})).run(x=x)["y"]
    assert_array_equal(got, np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))))


def test_upsampling_repeats_pixels(tmp_path: Path) -> None:
    x = drawn(1, 2, 2, 3)
    net = taking(1, 2, 2, 3) + layer("Upsample", "x", "y", "upsample_param { scale: 3 }")
    assert_array_equal(Converted(tmp_path, net).run(x=x)["y"], x.repeat(3, 2).repeat(3, 3))


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7)])
def test_segnet_puts_values_back_to_where_the_maxima_were(tmp_path: Path, height: int, width: int) -> None:
    rows, columns = -(-height // 2), -(-width // 2)
    net = taking(2, 3, height, width) + taking(2, 3, rows, columns, name="z")
    net += layer("Pooling", "x", "p mask", "pooling_param { kernel_size: 2 stride: 2 }", name="pool")
    net += layer("Eltwise", "p z", "s", name="s")
    net += layer("Upsample", "s mask", "y", f"upsample_param {{ scale: 2 upsample_h: {height} upsample_w: {width} }}")
    # Many equal values: the first of them is the maximum.
    x, z = np.maximum(drawn(2, 3, height, width), 0), drawn(2, 3, rows, columns)
    expected = np.zeros_like(x)
    for image, channel, row, column in np.ndindex(z.shape):
        part = x[image, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        down, right = np.unravel_index(part.argmax(), part.shape)
        expected[image, channel, 2 * row + down, 2 * column + right] = part.max() + z[image, channel, row, column]
    assert_allclose(Converted(tmp_path, net).run(x=x, z=z)["y"], expected, rtol=1e-6)


def test_a_mask_of_overlapping_windows_is_not_undone(tmp_path: Path) -> None:
    net = taking(1, 2, 5, 5) + layer("Pooling", "x", "p mask", "pooling_param { kernel_size: 3 stride: 2 }", name="p")
    net += layer("Upsample", "p mask", "y", "upsample_param { upsample_h: 5 upsample_w: 5 }")
    assert [each.operator for each in surveyed(tmp_path, net).uncovered] == ["Upsample"]


def test_stochastic_pooling_weighs_each_element_by_itself(tmp_path: Path) -> None:
    x = np.maximum(drawn(1, 1, 4, 4), 0)
    x[0, 0, :2, :2] = 0
    net = taking(1, 1, 4, 4) + layer("Pooling", "x", "y", "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }")
    parts = x.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(2, 2, 4)
    expected = (parts**2).sum(-1) / np.maximum(parts.sum(-1), 1e-30)
    assert_allclose(Converted(tmp_path, net).run(x=x)["y"][0, 0], expected, rtol=1e-5)


def test_a_sigmoid_that_is_trained_gives_probabilities(tmp_path: Path) -> None:
    net = taking(2, 3) + taking(2, 3, name="label") + layer("SigmoidCrossEntropyLoss", "x label", "y")
    net += layer("Silence", "x", "", name="s")
    x = drawn(2, 3)
    got = Converted(tmp_path, net).run(x=x, label=x)
    assert_allclose(got["y"], 1 / (1 + np.exp(-x)), rtol=1e-5)


def test_what_a_network_writes_to_a_file_is_what_it_gives(tmp_path: Path) -> None:
    net = taking(2, 3) + layer("CuDNNReLU", "x", "r", name="r") + layer("HDF5Output", "r", "", name="h")
    assert Converted(tmp_path, net).predict.external_outputs == ("r",)


# Networks as a whole.


def test_a_network_of_training_becomes_what_is_deployed(tmp_path: Path) -> None:
    net = """
    layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN } }
    layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TEST }
            transform_param { crop_size: 4 force_gray: true } data_param { batch_size: 2 } }
    """ + layer("ReLU", "data", "r", name="r")
    net += layer("Accuracy", "r label", "accuracy", name="a") + layer("SoftmaxWithLoss", "r label", "loss", name="l")
    result = Converted(tmp_path, net)
    assert (result.predict.external_inputs, result.predict.external_outputs) == (("data",), ("r",))
    assert result.types() == ["Relu"]
    assert [re.findall(r"'(\w)'", note)[0] for note in result.conversion.notes] == ["a", "l"]


def test_a_loss_with_declared_labels_gives_probabilities(tmp_path: Path) -> None:
    net = taking(2, 3, name="scores") + taking(2, name="label")
    net += layer("SoftmaxWithLoss", "scores label", "loss") + layer("Accuracy", "scores label", "hits", name="a")
    scores = drawn(2, 3)
    result = Converted(tmp_path, net)
    assert result.predict.external_outputs == ("loss",)
    got = result.run(scores=scores, label=np.zeros(2, np.float32))
    assert_allclose(got["loss"], np.exp(scores) / np.exp(scores).sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("form", ["V1", "V2"])
def test_weights_shared_by_name_are_those_of_the_layer_that_stores_them(tmp_path: Path, form: str) -> None:
    net = taking(1, 4) + taking(1, 4, name="z")
    for name, bottom in (("one", "x"), ("two", "z")):
        text = 'inner_product_param { num_output: 2 bias_term: false } param { name: "w" }'
        if form == "V1":
            net += f'layers {{ name: "{name}" type: INNER_PRODUCT bottom: "{bottom}" top: "{name}" param: "w" {text[:54]} }}'
        else:
            net += layer("InnerProduct", bottom, name, text, name=name)
    weight, x = drawn(2, 4), drawn(1, 4)
    got = Converted(tmp_path, net, (v1 if form == "V1" else v2)({"two": [blob(weight)]})).run(x=x, z=2 * x)
    assert_allclose(got["one"], x @ weight.T, rtol=1e-5)
    assert_allclose(got["two"], 2 * x @ weight.T, rtol=1e-5)


def test_names_of_weights_do_not_collide_with_blobs(tmp_path: Path) -> None:
    net = taking(1, 2, name="the_w") + layer("InnerProduct", "the_w", "y", "inner_product_param { num_output: 2 }")
    result = Converted(tmp_path, net, v2({"the": [blob(drawn(2, 2)), blob(drawn(2))]}))
    assert result.predict.external_inputs == ("the_w", "the_w_2", "the_b")


def test_the_batch_stays_open_where_that_is_asked(tmp_path: Path) -> None:
    net = taking(2, 3, 8, 8)
    net += layer("Pooling", "x", "p", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", name="p")
    net += layer("Reshape", "p", "r", "reshape_param { shape { dim: 0 dim: -1 dim: 5 } }", name="r")
    net += layer("Flatten", "r", "f", name="f") + layer("Softmax", "p", "s", name="s")
    result = Converted(tmp_path, net, options=Options(batch=-1))
    assert json.loads((result.folder / "value_info.json").read_text()) == {"x": [1, [-1, 3, 8, 8]]}
    assert [each.shape for each in opened(result.folder, "NetDef").signature.outputs or ()] == [
        (-1, 75),
        (-1, 3, 5, 5),
    ]
    assert {name: array.shape for name, array in result.run(x=drawn(5, 3, 8, 8)).items()} == {
        "f": (5, 75),
        "s": (5, 3, 5, 5),
    }


def test_the_shape_of_an_input_can_be_another(tmp_path: Path) -> None:
    net = taking(1, 3, 8, 8) + layer("Pooling", "x", "y", "pooling_param { global_pooling: true }")
    result = Converted(tmp_path, net, options=Options(shapes={"x": (4, 3, 9, 5)}))
    assert json.loads((result.folder / "value_info.json").read_text()) == {"x": [1, [4, 3, 9, 5]]}


def test_an_input_without_a_shape_is_asked_for_where_that_matters(tmp_path: Path) -> None:
    net = 'input: "x"\n' + layer("Flatten", "x", "y", "flatten_param { axis: 0 }")
    survey = surveyed(tmp_path, net)
    assert not survey.uncovered
    assert [question.about for question in survey.questions] == ["the shape of the input 'x' is not in the files"]
    with pytest.raises(UnansweredError):
        Converted(tmp_path / "again", net)


def test_what_is_known_of_an_input_is_part_of_the_question(tmp_path: Path) -> None:
    net = """layer { name: "d" type: "Data" top: "data" top: "label" transform_param { crop_size: 28 }
             data_param { batch_size: 50 } }"""
    net += layer("InnerProduct", "data", "y", "inner_product_param { num_output: 2 }")
    weights = v2({"the": [blob(drawn(2, 784)), blob(drawn(2))]})
    (question,) = surveyed(tmp_path / "asked", net, weights).questions
    assert question.answer == "--shape data=50,3,28,28"
    assert not surveyed(tmp_path / "told", net, weights, Options(shapes={"data": (50, 1, 28, 28)})).questions


def test_rows_of_an_embedding_bound_the_numbers_of_its_input(tmp_path: Path) -> None:
    text = "embed_param { input_dim: 7 num_output: 2 bias_term: false }"
    result = Converted(tmp_path, taking(4) + layer("Embed", "x", "y", text), v2({"the": [blob(drawn(7, 2))]}))
    assert result.conversion.ranges == {"x": (0, 7)}


def test_all_that_is_uncovered_is_listed_at_once_before_anything_is_written(tmp_path: Path) -> None:
    net = taking(1, 4, 8, 8)
    net += layer("Python", "x", "a", 'python_param { module: "m" layer: "Magic" }', name="p1")
    net += layer("Python", "a", "b", 'python_param { module: "m" layer: "Magic" }', name="p2")
    text = "pooling_param { pool: AVE kernel_size: 2 stride: 2 }"
    net += layer("Pooling", "x", "c mask", name="pool", text=text)
    net += layer("Warp", "c", "d", name="w") + layer("Flatten", "d", "e", name="after")
    survey = surveyed(tmp_path / "model", net)
    assert [(each.operator, each.nodes) for each in survey.uncovered] == [
        ("Python", ("p1", "p2")),
        ("Pooling", ("pool",)),
        ("Warp", ("w",)),
    ]
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(UnsupportedOperatorsError) as error:
        CONVERTER.convert(opened(tmp_path / "model", "CaffeModel"), Options(), target)
    assert dict(error.value.operators) == {"Python": ("p1", "p2"), "Pooling": ("pool",), "Warp": ("w",)}
    assert list(target.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        (layer("InnerProduct", "x", "y", "inner_product_param { num_output: 2 }"), {"the": [drawn(2, 5), drawn(2)]}),
        (layer("InnerProduct", "x", "y", "inner_product_param { num_output: 2 }"), {"the": [drawn(2, 4)]}),
        (layer("InnerProduct", "x", "y", "inner_product_param { num_output: 2 }"), {"other": [drawn(2, 4)]}),
        (layer("Convolution", "x", "y", "convolution_param { num_output: 2 kernel_size: 9 axis: 0 }"), {}),
        (layer("InnerProduct", "x", "y", "inner_product_param { num_output: -2 }"), {}),
        (layer("Log", "x", "y", "log_param { base: 1 }"), {}),
        (layer("Slice", "x", "y z", "slice_param { slice_point: 9 }"), {}),
        (layer("Eltwise", "x", "y"), {}),
    ],
)
def test_a_network_that_contradicts_itself_or_its_weights_is_malformed(
    tmp_path: Path, text: str, weights: dict[str, list[Array]]
) -> None:
    encoded = v2({name: [blob(array) for array in arrays] for name, arrays in weights.items()})
    with pytest.raises(MalformedModelError):
        Converted(tmp_path, taking(1, 4) + text, encoded)


@pytest.mark.parametrize(
    "text",
    [
        layer("PriorBox", "x x", "y", "prior_box_param { min_size: 3 step: 1 }"),
        layer("DummyData", "", "d", "dummy_data_param { shape { dim: 2000000000 dim: 2000000000 } }")
        + layer("Concat", "x d", "y", name="c"),
    ],
)
def test_constants_that_no_network_has_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises((LimitExceededError, UnsupportedOperatorsError, MalformedModelError)):
        Converted(tmp_path, taking(1, 1, 100_000, 100_000) + text)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_changed_files_fail_with_an_error_of_ours(tmp_path_factory, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    net = taking(1, 4, 6, 6)
    net += layer(
        "Convolution", "x", "c", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 group: 2 }", name="c"
    )
    net += layer("Pooling", "c", "p", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", name="p")
    net += layer("Scale", "p", "s", "scale_param { axis: 1 num_axes: 1 }", name="s")
    net += layer("Reshape", "s", "r", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } axis: 1 num_axes: 2 }", name="r")
    weights = v2({"c": [blob(drawn(4, 2, 3, 3)), blob(drawn(4))], "s": [blob(drawn(4))]})
    numbers = list(re.finditer(r"\d+", net))
    chosen = data.draw(st.sampled_from(numbers))
    other = data.draw(st.sampled_from(["0", "-1", "1", "3", "7", "999999", "2147483647", "-9", '"a"', "1.5", "1e40"]))
    changed = net[: chosen.start()] + other + net[chosen.end() :]
    at = data.draw(st.integers(0, len(weights) - 1))
    stored = weights[:at] + bytes([data.draw(st.integers(0, 255))]) + weights[at + 1 :]
    folder = tmp_path_factory.mktemp("changed")
    for text, encoded in ((changed, weights), (net, stored), (net, weights[:at])):
        target = folder / str(len(list(folder.iterdir())))
        target.mkdir()
        try:
            CONVERTER.convert(source(folder / "model", text, encoded), Options(), target)
        except (KleverError, AssertionError):
            continue
        assert sorted(path.name for path in target.iterdir()) == ["init_net.pb", "predict_net.pb", "value_info.json"]


def test_the_nets_name_what_they_need_and_give(tmp_path: Path) -> None:
    net = 'name: "tiny"\n' + taking(1, 4) + layer("InnerProduct", "x", "y", "inner_product_param { num_output: 2 }")
    result = Converted(tmp_path, net, v2({"the": [blob(drawn(2, 4)), blob(drawn(2))]}))
    filled = frozenset(name for operator in result.init.operators for name in operator.outputs)
    assert (result.init.name, result.predict.name) == ("tiny_init", "tiny")
    assert (find_inputs(result.predict, filled), find_outputs(result.predict, filled)) == (("x",), ("y",))
    assert result.predict.external_inputs == ("x", "the_w", "the_b")


def test_weights_pass_through_in_pieces(tmp_path: Path) -> None:
    weight = np.zeros((4096, 4096), np.float32)
    net = taking(1, 4096) + layer("InnerProduct", "x", "y", "inner_product_param { num_output: 4096 bias_term: false }")
    model = source(tmp_path / "model", net, v2({"the": [blob(weight)]}))
    (tmp_path / "netdef").mkdir()
    tracemalloc.start()
    CONVERTER.convert(model, Options(), tmp_path / "netdef")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "netdef" / "init_net.pb").stat().st_size > weight.nbytes
    assert peak < weight.nbytes / 4


def test_unpacked_numbers_are_found_without_reading_them_one_by_one() -> None:
    from klever.steps.files import BytesSource

    weights = v2({"the": [unpacked_blob(np.zeros((300, 1000), np.float32))]})
    (found,) = read_weights(BytesSource(weights))["the"]
    assert (found.shape, found.count, [run.stride for run in found.runs]) == ((300, 1000), 300_000, [5])
