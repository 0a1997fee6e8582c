"""Record what MXNet computes with sequences, detectors, loops, sampling, positions and whole small networks.

    python tests/oracles/mxnet_networks.py tests/steps/converters/mxnetparams_networks.json.xz

Runs under Python 3.8 with mxnet 1.9.1, gluonnlp 0.10 and numpy below 1.24. A record holds a symbol, its inputs and
parameters, and the outputs; numbers are of few bits, so that they take little room. A record's name is
`FAMILY/OPERATOR/VARIANT`.
"""

import base64
import json
import lzma
import sys
import warnings

import mxnet as mx
import numpy as np
from mxnet import gluon

warnings.filterwarnings("ignore")
S, C, D = mx.sym, mx.sym.contrib, mx.sym.var
RECORDS = {}


def rough(values):
    """Keep six bits behind the point."""
    return (np.round(np.asarray(values) * 64) / 64).astype("float32")


class Numbers:
    def __init__(self, seed):
        self._source = np.random.RandomState(seed)

    def normal(self, *shape):
        return rough(self._source.randn(*shape))

    def uniform(self, *shape, low=0.0, high=1.0):
        return rough(self._source.uniform(low, high, shape))

    def whole(self, high, *shape, low=0):
        return self._source.randint(low, high, shape).astype("float32")

    def boxes(self, *shape):
        corners = self.uniform(*shape, 4)
        return np.concatenate([corners[..., :2], corners[..., :2] + corners[..., 2:] * np.float32(0.625)], -1)

    def detections(self, *shape):
        return np.concatenate([self.whole(3, *shape, 1, low=-1), self.uniform(*shape, 1), self.boxes(*shape)], -1)

    def regions(self, count, size, images=2):
        corner = self.uniform(count, 2, low=-4, high=size)
        side = self.uniform(count, 2, low=-3, high=size)
        return np.concatenate([self.whole(images, count, 1), corner, corner + side], 1)


N = Numbers(7)
f, u, w = N.normal, N.uniform, N.whole


def A(*values):  # noqa: N802 - short for the many small arrays
    return np.array(values, "float32")


def flat(found):
    return [leaf for each in found for leaf in flat(each)] if isinstance(found, (list, tuple)) else [found]


def packed(array):
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}


def record(name, symbol, inputs):
    """Draw what is no input as parameters, compute, and keep it all."""
    symbol = mx.sym.Group(flat(symbol)) if isinstance(symbol, (list, tuple)) else symbol
    known = {key: value.shape for key, value in inputs.items()}
    shapes, _, _ = symbol.infer_shape_partial(**known)
    types = symbol.infer_type(**{key: value.dtype for key, value in inputs.items()})[0]
    params = {
        key: rough(np.random.RandomState(len(key)).uniform(-0.5, 0.5, shape)).astype(dtype)
        for key, shape, dtype in zip(symbol.list_arguments(), shapes, types or ["float32"] * len(shapes))  # noqa: B905 - Python 3.8
        if key not in inputs
    }
    arrays = {key: mx.nd.array(value, dtype=value.dtype) for key, value in {**inputs, **params}.items()}
    # Of auxiliary states there are means of 0 and variances of 1, as where a network begins.
    states = dict(zip(symbol.list_auxiliary_states(), symbol.infer_shape_partial(**known)[2]))  # noqa: B905
    states = {key: np.full(shape, float("var" in key), "float32") for key, shape in states.items()}
    auxiliary = {key: mx.nd.array(value) for key, value in states.items()}
    executor = symbol.bind(mx.cpu(), arrays, aux_states=auxiliary, grad_req="null")
    try:
        outputs = [each.asnumpy() for each in executor.forward(is_train=False)]
    except mx.base.MXNetError:
        # A result whose size depends on the data is for the imperative engine alone.
        block = gluon.SymbolBlock(symbol, [D(key) for key in inputs])
        outputs = [each.asnumpy() for each in flat(block(*(arrays[key] for key in inputs)))]
    assert name not in RECORDS, name
    RECORDS[name] = {
        "name": name,
        "symbol": json.loads(symbol.tojson()),
        "inputs": {key: packed(value) for key, value in inputs.items()},
        "params": {key: packed(value) for key, value in {**params, **states}.items()},
        "outputs": [packed(each) for each in outputs],
    }


def recurrent():
    for mode in ("lstm", "gru", "rnn_relu", "rnn_tanh"):
        for directions in (1, 2):
            both = directions == 2
            cell = mx.rnn.FusedRNNCell(3, 2, mode, bidirectional=both, prefix=f"{mode}_", get_next_state=True)
            fused = cell.unroll(3, inputs=D("data"), layout="NTC", merge_outputs=True)
            record(f"recurrent/fused {mode}/{directions}", fused, {"data": f(2, 3, 2)})
            layers = {"lstm": gluon.rnn.LSTM, "gru": gluon.rnn.GRU}.get(mode, gluon.rnn.RNN)
            extra = {"activation": mode[4:]} if mode.startswith("rnn") else {}
            layout = "NTC" if both else "TNC"
            layer = layers(3, 2, layout=layout, bidirectional=both, input_size=2, **extra)
            record(f"recurrent/gluon {mode}/{directions}", layer(D("data")), {"data": f(2, 3, 2)})
        unrolled = mx.rnn.FusedRNNCell(3, 1, mode, bidirectional=True, prefix=f"{mode}_").unfuse()
        record(
            f"recurrent/unfused {mode}/2",
            unrolled.unroll(3, inputs=D("data"), layout="NTC", merge_outputs=True),
            {"data": f(2, 3, 2)},
        )
    for mode, gates in (("lstm", 4), ("gru", 3)):
        states = {key: f(2, 2, 2) for key in ("hc" if mode == "lstm" else "h")}
        options = {"mode": mode, "state_size": 2, "num_layers": 1, "bidirectional": True, "state_outputs": True}
        found = S.RNN(D("data"), D("packed") * 1.5, *(D(key) for key in states), **options)
        size = 2 * gates * 2 * (3 + 2 + 2)
        record(f"recurrent/computed {mode}/2", found, {"data": f(3, 2, 3), "packed": f(size), **states})
    layer = gluon.rnn.LSTM(3, 2, input_size=2, projection_size=2, bidirectional=True)
    record(
        "recurrent/projection/2",
        layer(D("data"), layer.begin_state(func=mx.sym.zeros, batch_size=0)),
        {"data": f(3, 2, 2)},
    )
    layer = gluon.rnn.LSTM(3, 2, input_size=2)
    states = {key: f(2, 2, 3) for key in "hc"}
    record("recurrent/states/1", layer(D("data"), [D("h"), D("c")]), {"data": f(3, 2, 2), **states})
    for kind, layers in (("lstm", gluon.rnn.LSTM), ("gru", gluon.rnn.GRU), ("rnn_relu", gluon.rnn.RNN)):
        layer = layers(3, 2, input_size=2, bidirectional=True, dtype="float64")
        record(f"recurrent/double {kind}/2", layer(D("data", dtype="float64")), {"data": f(3, 2, 2).astype("float64")})
    for cell in ("LSTMCell", "GRUCell", "RNNCell"):
        found = getattr(gluon.rnn, cell)(3, input_size=2, prefix="cell_")
        found = found.unroll(3, D("data"), layout="NTC", merge_outputs=True, valid_length=D("length"))
        record(f"recurrent/unrolled {cell}/1", found, {"data": f(2, 3, 2), "length": A(3, 2)})
    cell = gluon.contrib.rnn.LSTMPCell(4, 3, input_size=2, prefix="cell_")
    record("recurrent/unrolled LSTMPCell/1", cell.unroll(3, D("data"), layout="TNC"), {"data": f(3, 2, 2)})


def sequences():
    for axis in (0, 1):
        shape = (4, 3, 2) if axis == 0 else (3, 4, 2)
        lengths = {"data": f(*shape), "length": A(1, 2.5, 4)}
        data, length = D("data"), D("length")
        masked = S.SequenceMask(data, length, use_sequence_length=True, value=-3, axis=axis)
        record(f"sequence/SequenceMask/{axis}", masked, {**lengths, "length": A(0, 2.5, 4)})
        record(
            f"sequence/SequenceLast/{axis}", S.SequenceLast(data, length, use_sequence_length=True, axis=axis), lengths
        )
        record(f"sequence/SequenceLast/all {axis}", S.SequenceLast(data, axis=axis), {"data": f(*shape)})
    reverse = S.SequenceReverse(D("data"), D("length"), use_sequence_length=True)
    record("sequence/SequenceReverse/lengths", reverse, {"data": f(4, 3, 2), "length": A(1, 2, 4)})
    record("sequence/SequenceReverse/all", S.SequenceReverse(D("data")), {"data": f(4, 3, 2)})


def positions():
    a, i = D("a"), D("i")
    beyond = A(-1, 5, 1.75, 0)
    for mode in ("clip", "wrap"):
        for axis in (0, 1, -1):
            record(f"position/take/{mode} {axis}", S.take(a, i, axis=axis, mode=mode), {"a": f(3, 4, 2), "i": beyond})
        for keep in (False, True):
            picked = S.pick(a, i, axis=1, keepdims=keep, mode=mode)
            record(f"position/pick/{mode} {keep}", picked, {"a": f(2, 3, 2), "i": beyond.reshape(2, 2)})
    record("position/Embedding/clip", S.Embedding(i, input_dim=4, output_dim=3), {"i": beyond.reshape(2, 2)})
    record("position/batch_take/", S.batch_take(a, i), {"a": f(3, 4), "i": np.array([1, 2, 9], "int32")})
    record("position/gather_nd/", S.gather_nd(a, i), {"a": f(3, 4, 2), "i": A([0, 1, 2], [-1, 3, 1])})
    record("position/scatter_nd/", S.scatter_nd(a, i, shape=(3, 4, 2)), {"a": f(3, 2), "i": A([0, 1, 2], [0, 3, 1])})
    for dtype in ("float32", "int32", "uint8"):
        hot = S.one_hot(i, depth=4, on_value=3, off_value=1, dtype=dtype)
        record(f"position/one_hot/{dtype}", hot, {"i": beyond.reshape(2, 2)})
    equal = A([3, 1, 3, 2, 3], [1, 1, 0, 1, 1], [5, -1, 2, 5, 9])
    for axis in (0, 1, None):
        for kind in ("indices", "value", "both", "mask"):
            for ascending in (False, True):
                found = S.topk(a, axis=axis, k=2, ret_typ=kind, is_ascend=ascending)
                record(f"position/topk/{kind} {axis} {ascending}", found, {"a": equal})
        record(f"position/sort/{axis}", S.sort(a, axis=axis), {"a": equal})
        record(f"position/argsort/{axis}", S.argsort(a, axis=axis, is_ascend=False, dtype="int32"), {"a": equal})
    record("position/topk/all", S.topk(a, k=0, axis=1), {"a": equal})
    record("position/boolean_mask/", C.boolean_mask(a, i), {"a": f(3, 3), "i": A(0, 2, -1)})
    record("position/index_copy/", C.index_copy(a, i, D("b")), {"a": f(3, 2), "i": A(2, 0), "b": f(2, 2)})
    record("position/index_array/axes", C.index_array(a, axes=(1, 0, -1)), {"a": f(3, 2, 2)})
    for at, (begin, end, step) in enumerate(
        (
            ((1, None), (3, None), ()),
            ((None, -2), (None, None), ()),
            ((None, 3), (None, 0), (1, -1)),
            ((None, None), (None, None), (-1, 2)),
            ((-1,), (-4,), (-2,)),
            ((0, 1), (4, 4), (2, 2)),
        )
    ):
        cut = {"begin": begin, "end": end, "step": step}
        record(f"position/slice/{at}", S.slice(a, **cut), {"a": f(4, 6)})
        put = mx.nd.slice(mx.nd.zeros((4, 6)), **cut).shape
        record(
            f"position/_slice_assign/{at}", S._internal._slice_assign(a, D("b"), **cut), {"a": f(4, 6), "b": f(*put)}
        )
        record(
            f"position/_slice_assign_scalar/{at}", S._internal._slice_assign_scalar(a, scalar=7, **cut), {"a": f(4, 6)}
        )
    choice = {"c": A([0, 1], [-1, 0.5]), "a": f(2, 2), "b": f(2, 2)}
    record("position/where/", S.where(D("c"), a, D("b")), choice)
    record("position/where/rows", S.where(D("c"), a, D("b")), {"c": A(0, 1), "a": f(2, 3), "b": f(2, 3)})
    record("position/ravel_multi_index/", S.ravel_multi_index(a, shape=(3, 4, 5)), {"a": A([1, 2], [0, 3], [4, 2])})
    record("position/unravel_index/", S.unravel_index(a, shape=(3, 4, 5)), {"a": A(1, 2, 59, 33, 100, -1)})
    for k in (-2, 0, 1):
        record(f"position/diag/vector {k}", S.diag(a, k=k), {"a": f(3)})
        record(f"position/diag/matrix {k}", S.diag(a, k=k, axis1=2, axis2=0), {"a": f(3, 2, 4)})


def detectors():
    prior = {"sizes": (0.5, 0.25), "ratios": (2, 1, 0.5)}
    record("detection/MultiBoxPrior/", C.MultiBoxPrior(D("a"), **prior), {"a": f(1, 1, 2, 3)})
    prior = {"steps": (0.25, 0.125), "offsets": (0.125, 0.25), "clip": True, "sizes": (0.5,), "ratios": (1, 2)}
    record("detection/MultiBoxPrior/steps", C.MultiBoxPrior(D("a"), **prior), {"a": f(2, 3, 4, 3)})
    # No two scores are equal, as which of them comes first is nobody's promise.
    scores = np.random.RandomState(3).permutation(2 * 4 * 12).reshape(2, 4, 12).astype("float32") / 96
    fed = {"c": scores, "l": f(2, 48), "a": N.boxes(1, 12)}
    for at, options in enumerate(
        (
            {},
            {"nms_topk": 5},
            {"nms_topk": 5, "force_suppress": True, "clip": False},
            {"nms_threshold": -1},
            {"threshold": 0.75, "nms_threshold": 0.125},
            {"threshold": 2},
            {"variances": (0.25, 0.25, 0.5, 0.5), "nms_threshold": 0.25},
        )
    ):
        record(f"detection/MultiBoxDetection/{at}", C.MultiBoxDetection(D("c"), D("l"), D("a"), **options), fed)
    for at, options in enumerate(
        (
            {},
            {"id_index": 0},
            {"id_index": 0, "background_id": 2},
            {"topk": 7},
            {"topk": 0},
            {"id_index": 0, "in_format": "center", "out_format": "corner"},
            {"out_format": "center"},
            {"valid_thresh": 1.5},
            {"id_index": 0, "force_suppress": True, "background_id": 0},
            {"overlap_thresh": 0.125, "topk": 100, "id_index": 0},
        )
    ):
        record(f"detection/box_nms/{at}", C.box_nms(D("d"), **options), {"d": N.detections(2, 12)})
    record("detection/box_nms/two dimensions", C.box_nms(D("d"), id_index=0), {"d": N.detections(12)})
    record("detection/box_nms/four dimensions", C.box_nms(D("d"), id_index=0), {"d": N.detections(2, 2, 6)})
    turned = N.detections(1, 12)
    turned[0, ::3, 4] = turned[0, ::3, 2] - 0.125
    record("detection/box_nms/turned boxes", C.box_nms(D("d"), overlap_thresh=0.0625), {"d": turned})
    for kind in ("corner", "center"):
        pair = {"a": N.boxes(2, 3), "b": N.boxes(4)}
        record(f"detection/box_iou/{kind}", C.box_iou(D("a"), D("b"), format=kind), pair)
        for at, options in enumerate(({}, {"clip": 0.25, "std2": 2}, {"std0": 0.125, "std3": 0.25})):
            decoded = C.box_decode(D("d"), D("a"), format=kind, **options)
            record(f"detection/box_decode/{kind} {at}", decoded, {"d": f(2, 5, 4), "a": N.boxes(1, 5)})
    encoded = C.box_encode(*(D(key) for key in "smardt"))
    fed = {
        "s": A([1, 0, 1, -1]),
        "m": A([0, 1, 1, 0]),
        "a": N.boxes(1, 4),
        "r": N.boxes(1, 2),
        "d": f(4),
        "t": u(4) + 1,
    }
    record("detection/box_encode/", list(encoded), fed)
    for at, options in enumerate(
        ({"threshold": 0.25}, {"threshold": 0.125, "topk": 1}, {"threshold": 0.5, "is_ascend": True})
    ):
        pairs = np.random.RandomState(at).permutation(30).reshape(2, 3, 5).astype("float32") / 30
        record(f"detection/bipartite_matching/{at}", list(C.bipartite_matching(D("d"), **options)), {"d": pairs})


def regions():
    a, r = D("a"), D("r")
    for at, (size, scale) in enumerate((((2, 2), 1.0), ((3, 2), 0.25))):
        fed = {"a": f(2, 2, 6, 7), "r": N.regions(6, 7 / scale)}
        record(f"region/ROIPooling/{at}", S.ROIPooling(a, r, pooled_size=size, spatial_scale=scale), fed)
        for samples in (-1, 2):
            aligned = C.ROIAlign(a, r, pooled_size=size, spatial_scale=scale, sample_ratio=samples)
            record(f"region/ROIAlign/{at} {samples}", aligned, fed)
    sound = N.regions(6, 7)
    sound[:, 3:] = sound[:, 1:3] + np.abs(sound[:, 3:] - sound[:, 1:3]) + 0.25
    options = {"pooled_size": (2, 3), "spatial_scale": 0.75, "sample_ratio": 2}
    fed = {"a": f(2, 6, 6, 7), "r": sound}
    record("region/ROIAlign/position sensitive", C.ROIAlign(a, r, position_sensitive=True, **options), fed)
    fed = {"a": f(2, 2, 6, 7), "r": sound}
    if "aligned" in C.ROIAlign.__doc__:
        record("region/ROIAlign/aligned", C.ROIAlign(a, r, aligned=True, **options), fed)
    pooled = C.PSROIPooling(a, r, spatial_scale=0.5, output_dim=2, pooled_size=4, group_size=2)
    record("region/PSROIPooling/groups", pooled, {"a": f(2, 8, 6, 7), "r": N.regions(6, 14)})
    for at, options in enumerate(
        (
            {"rpn_pre_nms_top_n": 30, "threshold": 0.25, "rpn_min_size": 4},
            {"iou_loss": True},
            {"rpn_min_size": 40},
        )
    ):
        options = {"rpn_post_nms_top_n": 5, "scales": (4, 8), "ratios": (1, 0.5), "output_score": True, **options}
        order = np.random.RandomState(at).permutation(2 * 8 * 12).reshape(2, 8, 3, 4).astype("float32") / 192
        deltas, sizes = rough(f(2, 16, 3, 4) * 0.25), A([42, 61, 1.25], [48, 64, 1])
        names = [D(key) for key in "sdi"]
        many = {"s": order, "d": deltas, "i": sizes}
        record(f"region/MultiProposal/{at}", list(C.MultiProposal(*names, **options)), many)
        record(f"region/Proposal/{at}", list(C.Proposal(*names, **options)), {k: v[:1] for k, v in many.items()})


def sampling():
    a, b = D("a"), D("b")
    for aligned in (False, True):
        for height, width in ((1, 1), (1, 3), (2, 5), (8, 8)):
            sized = C.BilinearResize2D(a, height=height, width=width, align_corners=aligned)
            record(f"sampling/BilinearResize2D/{aligned} {height}x{width}", sized, {"a": f(1, 2, 3, 4)})
        for mode in ("size", "odd_scale"):
            sized = C.BilinearResize2D(a, scale_height=1.75, scale_width=2.25, mode=mode, align_corners=aligned)
            record(f"sampling/BilinearResize2D/{aligned} {mode}", sized, {"a": f(1, 1, 3, 4)})
        for mode in ("to_even_down", "to_even_up", "to_odd_down", "to_odd_up"):
            sized = C.BilinearResize2D(a, mode=mode, align_corners=aligned)
            record(f"sampling/BilinearResize2D/{aligned} {mode}", sized, {"a": f(1, 1, 5, 4)})
        sized = C.BilinearResize2D(a, b, mode="like", align_corners=aligned)
        record(f"sampling/BilinearResize2D/{aligned} like", sized, {"a": f(1, 1, 5, 4), "b": f(1, 1, 7, 6)})
    for size in ((), (3,), (2, 3), (5, 7), (12, 9)):
        record(
            f"sampling/AdaptiveAvgPooling2D/{size}", C.AdaptiveAvgPooling2D(a, output_size=size), {"a": f(1, 1, 6, 9)}
        )
    fed = {"a": f(2, 1, 5, 6), "b": u(2, 2, 4, 3, low=-1.25, high=1.25)}
    record("sampling/BilinearSampler/", S.BilinearSampler(a, b), fed)
    grid = S.GridGenerator(a, transform_type="affine", target_shape=(4, 5))
    record("sampling/GridGenerator/affine", grid, {"a": f(2, 6)})
    record("sampling/GridGenerator/warp", S.GridGenerator(a, transform_type="warp"), {"a": f(2, 2, 4, 5)})
    warped = S.SpatialTransformer(a, b, transform_type="affine", sampler_type="bilinear", target_shape=(4, 5))
    record("sampling/SpatialTransformer/", warped, {"a": f(2, 1, 5, 6), "b": f(2, 6)})
    for at, (kernel, options) in enumerate(
        (
            ((3, 3), {"pad": (1, 1)}),
            ((3, 2), {"stride": (2, 1), "dilate": (1, 2), "pad": (1, 2)}),
            ((3, 3), {"pad": (1, 1), "num_deformable_group": 2, "num_group": 2}),
        )
    ):
        groups, taps = options.get("num_deformable_group", 1), kernel[0] * kernel[1]
        plain = {key: value for key, value in options.items() if key != "num_deformable_group"}
        places = S.Convolution(a, kernel=kernel, num_filter=2, **plain).infer_shape(a=(1, 4, 5, 4))[1][0][2:]
        fed = {"a": f(1, 4, 5, 4), "b": f(1, 2 * groups * taps, *places)}
        options = {"kernel": kernel, "num_filter": 2, "name": "conv", **options}
        record(f"sampling/DeformableConvolution/{at}", C.DeformableConvolution(a, b, **options), fed)
        fed["m"] = u(1, groups * taps, *places)
        moved = C.ModulatedDeformableConvolution(a, b, D("m"), **options)
        record(f"sampling/ModulatedDeformableConvolution/{at}", moved, fed)
    for at, options in enumerate(
        (
            {"max_displacement": 2, "pad_size": 2},
            {"max_displacement": 4, "stride2": 2, "pad_size": 4, "stride1": 2},
            {"kernel_size": 3, "max_displacement": 1, "pad_size": 2, "is_multiply": False},
        )
    ):
        record(f"sampling/Correlation/{at}", S.Correlation(a, b, **options), {"a": f(1, 2, 5, 6), "b": f(1, 2, 5, 6)})
    record("sampling/to_tensor/", S.image.to_tensor(a), {"a": w(256, 3, 4, 3)})
    record("sampling/normalize/", S.image.normalize(a, mean=(0.5, 1, 2), std=(2, 3, 4)), {"a": f(3, 2, 2)})
    record("sampling/resize/", S.image.resize(a, size=(5, 3)), {"a": f(4, 3, 2)})
    record("sampling/crop/", S.image.crop(a, x=1, y=0, width=3, height=2), {"a": f(4, 5, 3)})
    record("sampling/flip/", S.image.flip_left_right(a), {"a": f(2, 4, 3)})


def attention():
    time, batch, heads, units = 3, 2, 2, 3
    width = heads * units
    a, b, t = D("a"), D("b"), D("t")
    own, other = f(time, batch, 3 * width), f(4, batch, 2 * width)
    record("attention/selfatt_qk/", C.interleaved_matmul_selfatt_qk(a, heads=heads), {"a": own})
    weights = u(batch * heads, time, time)
    record(
        "attention/selfatt_valatt/", C.interleaved_matmul_selfatt_valatt(a, t, heads=heads), {"a": own, "t": weights}
    )
    fed = {"a": f(time, batch, width), "b": other}
    record("attention/encdec_qk/", C.interleaved_matmul_encdec_qk(a, b, heads=heads), fed)
    fed = {"b": other, "t": u(batch * heads, time, 4)}
    record("attention/encdec_valatt/", C.interleaved_matmul_encdec_valatt(b, t, heads=heads), fed)


def control():
    cell = gluon.rnn.LSTMCell(3, input_size=2, prefix="cell_")
    states = {key: f(2, 3) for key in "hc"}
    found = C.foreach(cell, D("a"), [D("h"), D("c")])
    record("control/foreach/cell", found, {"a": f(3, 2, 2), **states})
    found = C.foreach(cell, D("a"), cell.begin_state(func=mx.sym.zeros, batch_size=0))
    record("control/foreach/begin", found, {"a": f(3, 2, 2)})
    found = C.foreach(lambda x, s: ([x[0] + s, x[1] * s], s + x[0] * D("w")), [D("a"), D("b")], D("s"))
    record("control/foreach/two", found, {"a": f(4, 3), "b": f(4, 3), "s": f(3)})
    found = C.while_loop(
        lambda i, s: i <= 50, lambda i, s: (s * D("w"), [i + 1, S.broadcast_add(s, i)]), [D("i"), D("s")], 4
    )
    record("control/while_loop/limit", found, {"i": A(2), "s": f(3), "w": f(3)})
    for value in (1, -1):
        a, b, p = D("a"), D("b"), D("p")
        found = C.cond(p > 0, lambda a=a, b=b: [a + b, b], lambda a=a: [a * 3, a])
        record(f"control/cond/{value}", found, {"a": f(3), "b": f(3), "p": A(value)})


def algebra():
    a, b, c = D("a"), D("b"), D("c")
    for at, (options, shapes) in enumerate(
        (
            ({}, ((2, 3, 4), (2, 4, 5), (2, 3, 5))),
            ({"transpose_a": True, "alpha": 2, "beta": 0.5}, ((2, 4, 3), (2, 4, 5), (2, 3, 5))),
            ({"transpose_b": True}, ((3, 4), (5, 4), (3, 5))),
            ({"axis": 1}, ((2, 3, 2, 4), (2, 4, 2, 3), (2, 3, 2, 3))),
        )
    ):
        fed = dict(zip("abc", (f(*shape) for shape in shapes)))  # noqa: B905 - Python 3.8
        record(f"algebra/linalg_gemm/{at}", S.linalg.gemm(a, b, c, **options), fed)
        options.pop("beta", None)
        record(f"algebra/linalg_gemm2/{at}", S.linalg.gemm2(a, b, **options), {key: fed[key] for key in "ab"})
    for turn in (False, True):
        record(f"algebra/linalg_syrk/{turn}", S.linalg.syrk(a, transpose=turn, alpha=1.5), {"a": f(2, 3, 4)})
        for lower in (False, True):
            found = S.linalg.trmm(a, b, transpose=turn, rightside=lower, lower=lower, alpha=2)
            record(f"algebra/linalg_trmm/{turn} {lower}", found, {"a": f(2, 3, 3), "b": f(2, 3, 3)})
    record("algebra/linalg_sumlogdiag/", S.linalg.sumlogdiag(a), {"a": u(2, 3, 3) + 1})
    for k in (-1, 0, 2):
        record(f"algebra/linalg_extractdiag/{k}", S.linalg.extractdiag(a, offset=k), {"a": f(2, 4, 4)})
        record(f"algebra/linalg_makediag/{k}", S.linalg.makediag(a, offset=k), {"a": f(2, 3)})
        for lower in (False, True):
            found = S.linalg.extracttrian(a, offset=k, lower=lower)
            record(f"algebra/linalg_extracttrian/{k} {lower}", found, {"a": f(1, 4, 4)})
            record(
                f"algebra/linalg_maketrian/{k} {lower}", S.linalg.maketrian(a, offset=k, lower=lower), {"a": f(2, 6)}
            )
    record("algebra/linalg_det/", S.linalg.det(a), {"a": f(2, 3, 3)})
    record("algebra/khatri_rao/", S.khatri_rao(a, b, c), {"a": f(2, 3), "b": f(4, 3), "c": f(2, 3)})


def windows():
    a = D("a")
    for at, options in enumerate(
        ({"kernel": (2, 2)}, {"kernel": (3, 2), "stride": (2, 1), "dilate": (1, 2), "pad": (1, 1)})
    ):
        columns = mx.nd.im2col(mx.nd.zeros((1, 2, 5, 4)), **options).shape
        record(f"window/im2col/{at}", S.im2col(a, **options), {"a": f(1, 2, 5, 4)})
        record(f"window/col2im/{at}", S.col2im(a, output_size=(5, 4), **options), {"a": f(*columns)})
    for axis in (None, 0, 1):
        record(f"window/cumsum/{axis}", S.cumsum(a, axis=axis), {"a": f(2, 3, 2)})
    data = S.Convolution(a, kernel=(3, 3), num_filter=2, name="first")
    data = S.Activation(S.BatchNorm(data, fix_gamma=False, name="norm"), act_type="relu")
    data = S.Convolution(data, kernel=(3, 3), pad=(1, 1), num_filter=2, name="second") + data
    data = S.FullyConnected(S.Activation(data, act_type="relu"), num_hidden=3, name="last")
    record("window/fused by oneDNN/", data.get_backend_symbol("MKLDNN"), {"a": f(2, 2, 4, 4)})


def under_numpy():
    """Operators under the names of numpy, in the shapes of numpy."""
    from mxnet.symbol import numpy as np_symbol

    def numpy_record(name, function, inputs):
        with mx.util.np_shape(True), mx.util.np_array(True):
            record(f"numpy/{name}", function(*(D(key).as_np_ndarray() for key in inputs)), inputs)

    chosen = {"c": np.array([True, False, True]), "a": f(3)}
    numpy_record("where/left", lambda c, a: np_symbol.where(c, 2.5, a), chosen)
    numpy_record("where/right", lambda c, a: np_symbol.where(c, a, 2.5), chosen)
    for k in (-1, 0, 1):
        numpy_record(f"tril/{k}", lambda a, k=k: np_symbol.tril(a, k=k), {"a": f(2, 3, 4)})
        numpy_record(f"trace/{k}", lambda a, k=k: np_symbol.trace(a, offset=k), {"a": f(3, 4)})
        numpy_record(f"diagonal/{k}", lambda a, k=k: np_symbol.diagonal(a, k, 0, 2), {"a": f(3, 2, 4)})
    numpy_record("dot/", np_symbol.dot, {"a": f(2, 3), "b": f(2, 3, 2)})


def networks():
    import gluonnlp
    from gluonnlp.model.bert import BERTEncoder, BERTModel
    from gluonnlp.model.bilm_encoder import BiLMEncoder
    from gluonnlp.model.language_model import AWDRNN, StandardRNN

    encoder = BERTEncoder(units=8, hidden_size=12, num_layers=1, num_heads=2, max_length=8, dropout=0.1)
    bert = BERTModel(
        encoder, vocab_size=9, token_type_vocab_size=2, units=8, embed_size=8, use_decoder=False, use_classifier=False
    )
    tokens = {"data0": w(9, 2, 5), "data1": w(2, 2, 5), "data2": A(5, 3)}
    record("network/BERT/", bert(*(D(key) for key in tokens)), tokens)
    words = {"data": w(9, 4, 2)}
    model = StandardRNN("lstm", 9, 4, 3, 2, dropout=0, tie_weights=False)
    record("network/StandardRNN/", model(D("data"), [D("h"), D("c")]), {**words, "h": f(2, 2, 3), "c": f(2, 2, 3)})
    model = AWDRNN("lstm", 9, 4, 3, 2, tie_weights=True, dropout=0, weight_drop=0.5, drop_h=0, drop_i=0, drop_e=0.1)
    states = [[D(f"h{at}"), D(f"c{at}")] for at in (0, 1)]
    begin = {f"{kind}{at}": f(1, 2, (3, 4)[at]) for at in (0, 1) for kind in "hc"}
    record("network/AWDRNN/", model(D("data"), states), {**words, **begin})
    model = gluonnlp.model.ConvolutionalEncoder(
        embed_size=3, num_filters=(2, 2), ngram_filter_sizes=(2, 3), conv_layer_activation="tanh", num_highway=1
    )
    record("network/TextCNN/", model(D("data")), {"data": f(4, 2, 3)})
    model = BiLMEncoder(
        "lstmpc", num_layers=2, input_size=2, hidden_size=3, proj_size=2, cell_clip=3, proj_clip=3, prefix="bilm_"
    )
    begin = model.begin_state(mx.sym.zeros, batch_size=2)
    fed = {"data": f(3, 2, 2), "mask": A([1, 1, 1], [1, 1, 0])}
    record("network/ELMo/", model(D("data"), begin, D("mask")), fed)


def main(path):
    for family in (
        *(
            recurrent,
            sequences,
            positions,
            detectors,
            regions,
            sampling,
            attention,
            control,
            algebra,
            windows,
            under_numpy,
            networks,
        ),
    ):
        family()
    with lzma.open(path, "wt", preset=9) as stream:
        json.dump(list(RECORDS.values()), stream, separators=(",", ":"))
    print(len(RECORDS), "records")


if __name__ == "__main__":
    main(sys.argv[1])
