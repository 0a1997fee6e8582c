"""What Caffe computes for random uses of its layers; OpenCV for those of its forks.

    python3 caffe_layers.py caffe OUT.json.xz [--draws 3] [--seed 0] [--only NAME,...]
    python3 caffe_layers.py opencv OUT.json.xz

The first needs Debian bullseye's python3-caffe (BVLC Caffe 1.0 of August 2018), the second opencv-python 4; neither
needs anything of Klever. Each layer has a function that draws attributes and shapes; the record holds the prototxt, how
weights and inputs are drawn (see ``values``), and the outputs.
"""

# Functions bear the names of the layers that they draw; the braces of prototxt make formats by % the readable ones.
# ruff: noqa: B905, N802, SIM112, UP031

import argparse
import base64
import json
import lzma
import os
import sys
import tempfile
import zlib

import numpy as np

CAFFE, OPENCV = {}, {}


def values(name, shape, low, high, seed):
    """Draw an array; the tests draw the same one again. Whole numbers where the bounds are given as such."""
    source = np.random.RandomState(zlib.crc32(("%s/%d" % (name, seed)).encode()))
    drawn = source.uniform(low, high, shape) if low != high else np.full(shape, low)
    whole = isinstance(low, int) and isinstance(high, int)
    return np.asarray(np.floor(drawn) if whole else drawn, np.float32)


class Draw:
    """The random choices of one case, its inputs and, where the runtime does not make them, its weights."""

    def __init__(self, seed):
        self.r = np.random.RandomState(seed)
        self.inputs, self.weights, self.layers = {}, {}, []

    def int(self, low, high):
        return int(self.r.randint(low, high + 1))

    def one(self, *items):
        return items[self.r.randint(len(items))]

    def flag(self):
        return bool(self.r.randint(2))

    def number(self, low, high):
        return round(float(self.r.uniform(low, high)), 3)

    def maybe(self, text, chance=0.5):
        return text if self.r.uniform() < chance else ""

    def shape(self, low=1, high=4, size=4):
        return [self.int(1, size) for _ in range(self.int(low, high))]

    def image(self, low=4, high=8, channels=None):
        return [self.int(1, 2), channels or self.int(1, 4), self.int(low, high), self.int(low, high)]

    def input(self, name, shape, low=-2.0, high=2.0):
        self.inputs[name] = [list(shape), low, high]
        return name

    def layer(self, kind, bottoms, tops, param="", name=None, weights=()):
        name = name or "%s/%d" % (kind.lower(), len(self.layers))
        blobs = " ".join(['bottom: "%s"' % each for each in bottoms] + ['top: "%s"' % each for each in tops])
        self.layers.append('layer { name: "%s" type: "%s" %s %s }' % (name, kind, blobs, param))
        if weights:
            self.weights[name] = [list(each) for each in weights]

    def plain(self, kind, shape, param="", weights=()):
        """Lay a layer over one input, in place of a blob of its own every other time."""
        self.input("x", shape)
        if self.flag():
            self.layer("Power", ["x"], ["p"], "power_param { scale: 1.5 }")
            self.layer(kind, ["p"], ["p"], param, weights=weights)
        else:
            self.layer(kind, ["x"], ["y"], param, weights=weights)

    def window(self, largest, dilated=False, padded=True):
        text = ""
        if self.flag():
            kernel = self.int(1, largest)
            text += "kernel_size: %d " % kernel + self.maybe("stride: %d " % self.int(1, min(kernel, 3)), 0.7)
            text += self.maybe("pad: %d " % self.int(0, kernel - 1), 0.6) if padded else ""
        else:
            high, wide = self.int(1, largest), self.int(1, largest)
            text += "kernel_h: %d kernel_w: %d " % (high, wide)
            text += self.maybe("stride_h: %d stride_w: %d " % (self.int(1, high), self.int(1, wide)), 0.7)
            text += (
                self.maybe("pad_h: %d pad_w: %d " % (self.int(0, high - 1), self.int(0, wide - 1))) if padded else ""
            )
        return text + (self.maybe("dilation: %d " % self.int(1, 3), 0.4) if dilated else "")


def case(table, *names):
    def register(function):
        for name in names or (function.__name__,):
            table[name] = (lambda d, name=name: function(d, name)) if names else function
        return function

    return register


@case(CAFFE)
def Convolution(d):
    group = d.int(1, 3)
    d.input("x", d.image(5, 8, group * d.int(1, 2)))
    text = "num_output: %d group: %d %s %s" % (
        group * d.int(1, 2),
        group,
        d.maybe("bias_term: false"),
        d.window(3, True),
    )
    d.layer("Convolution", ["x"], ["y"], "convolution_param { %s }" % text)


@case(CAFFE)
def ConvolutionOfOtherAxes(d):
    axes = d.one(1, 3)
    text = "num_output: 2 kernel_size: 2 %s %s" % (d.maybe("pad: 1"), d.maybe("stride: 2"))
    if d.flag():
        d.input("x", [2, d.int(1, 3), *[4] * axes])
    else:
        d.input("x", [2, 2, d.int(1, 3), *[4] * min(axes, 2)])
        text += " axis: 2"
    d.layer("Convolution", ["x"], ["y"], "convolution_param { %s }" % text)


@case(CAFFE)
def Deconvolution(d):
    group = d.int(1, 2)
    d.input("x", d.image(3, 5, group * d.int(1, 2)))
    text = "num_output: %d group: %d %s %s" % (
        group * d.int(1, 2),
        group,
        d.maybe("bias_term: false"),
        d.window(4, True),
    )
    d.layer("Deconvolution", ["x"], ["y"], "convolution_param { %s }" % text)


@case(CAFFE)
def Pooling(d):
    d.input("x", d.image(5, 9))
    text = "global_pooling: true" if d.maybe("x", 0.2) else d.window(4) + d.maybe("round_mode: FLOOR", 0.2)
    d.layer("Pooling", ["x"], ["y"], "pooling_param { pool: %s %s }" % (d.one("MAX", "AVE"), text), "Pool/1")


@case(CAFFE)
def PoolingMask(d):
    # Equal values among them: which is the maximum is part of the layer.
    d.input("x", d.image(5, 8), -3, 3)
    d.layer("Pooling", ["x"], ["y", "mask"], "pooling_param { %s }" % d.window(3))


@case(CAFFE)
def Im2col(d):
    d.input("x", d.image(5, 6))
    d.layer("Im2col", ["x"], ["y"], "convolution_param { %s }" % d.window(3, True))


@case(CAFFE)
def SPP(d):
    d.input("x", d.image(6, 9))
    d.layer("SPP", ["x"], ["y"], "spp_param { pyramid_height: %d pool: %s }" % (d.int(1, 3), d.one("MAX", "AVE")))


@case(CAFFE)
def LRN(d):
    d.input("x", d.image(4, 6, d.int(3, 7)))
    text = "local_size: %d alpha: %s beta: %s %s" % (d.one(3, 5), d.number(0.1, 2), d.number(0.4, 1), d.maybe("k: 2.5"))
    d.layer("LRN", ["x"], ["y"], "lrn_param { %s %s }" % (text, d.maybe("norm_region: WITHIN_CHANNEL")))


@case(CAFFE, "Sigmoid", "TanH", "AbsVal", "BNLL")
def elementwise(d, kind):
    d.plain(kind, d.shape())


@case(CAFFE)
def ReLU(d):
    d.plain("ReLU", d.shape(), d.maybe("relu_param { negative_slope: %s }" % d.number(0.1, 0.6)))


@case(CAFFE)
def PReLU(d):
    # A shared slope has a blob without axes, which this Caffe cannot allocate.
    d.plain("PReLU", d.shape(2, 5))


@case(CAFFE)
def ELU(d):
    d.plain("ELU", d.shape(), d.maybe("elu_param { alpha: %s }" % d.number(0.1, 2)))


@case(CAFFE)
def Swish(d):
    d.plain("Swish", d.shape(), d.maybe("swish_param { beta: %s }" % d.number(0.2, 2)))


@case(CAFFE)
def Clip(d):
    d.plain("Clip", d.shape(), "clip_param { min: %s max: %s }" % (d.number(-1, 0), d.number(0, 1)))


@case(CAFFE)
def Exp(d):
    base = d.maybe("base: %s" % d.number(0.3, 3))
    d.plain("Exp", d.shape(), "exp_param { %s scale: %s %s }" % (base, d.number(-1, 1), d.maybe("shift: 0.4")))


@case(CAFFE)
def Log(d):
    d.plain("Log", d.shape(), "log_param { %s scale: 0.3 shift: %s }" % (d.maybe("base: 2.5"), d.number(1.5, 3)))


@case(CAFFE)
def Power(d):
    scale, shift = d.maybe("scale: %s" % d.one(0, 0.5, -0.7)), d.maybe("shift: %s" % d.number(-1, 2))
    d.plain("Power", d.shape(), "power_param { power: %d %s %s }" % (d.int(0, 3), scale, shift))


@case(CAFFE)
def Threshold(d):
    d.input("x", d.shape())
    d.layer("Threshold", ["x"], ["y"], d.maybe("threshold_param { threshold: %s }" % d.number(-1, 1)))


@case(CAFFE)
def Dropout(d):
    d.plain("Dropout", d.shape(), d.maybe("dropout_param { dropout_ratio: 0.7 }"))


@case(CAFFE)
def BatchNorm(d):
    statistics = d.one("", "eps: 0.01", "use_global_stats: true", "use_global_stats: false")
    d.plain("BatchNorm", d.one(d.image(), d.shape()), "batch_norm_param { %s }" % statistics)


@case(CAFFE, "Scale", "Bias")
def broadcast(d, kind):
    shape = d.shape(1, 5)
    axis = d.int(0, len(shape) - 1)
    biased = d.maybe("bias_term: true") if kind == "Scale" else ""
    if d.flag():
        span = d.int(1, len(shape) - axis)
        d.input("x", shape)
        d.input("z", shape[axis : axis + span])
        d.layer(kind, ["x", "z"], ["y"], "%s_param { axis: %d %s }" % (kind.lower(), axis, biased))
        return
    span = d.one(-1, *range(1, len(shape) - axis + 1))
    at = d.one(axis, axis - len(shape)) if span != -1 else axis
    d.plain(kind, shape, "%s_param { axis: %d num_axes: %d %s }" % (kind.lower(), at, span, biased))


@case(CAFFE)
def Eltwise(d):
    shape, count = d.shape(), d.int(2, 4)
    names = [d.input(name, shape) for name in "xzwv"[:count]]
    operation = d.one("PROD", "SUM", "MAX")
    factors = " ".join("coeff: %s" % d.one(1, -1, 0.3) for _ in names) if operation == "SUM" and d.flag() else ""
    d.layer("Eltwise", names, ["y"], "eltwise_param { operation: %s %s }" % (operation, factors))


@case(CAFFE)
def MVN(d):
    d.input("x", d.image())
    text = " ".join(d.maybe(each) for each in ("across_channels: true", "normalize_variance: false", "eps: 0.01"))
    d.layer("MVN", ["x"], ["y"], "mvn_param { %s }" % text)


@case(CAFFE)
def Softmax(d):
    shape = d.shape(2, 4)
    d.plain("Softmax", shape, d.maybe("softmax_param { axis: %d }" % d.int(-len(shape), len(shape) - 1), 0.7))


@case(CAFFE)
def Reduction(d):
    shape = d.shape()
    d.input("x", shape)
    operation = d.one("SUM", "ASUM", "SUMSQ", "MEAN")
    text = "operation: %s axis: %d %s" % (operation, d.int(-len(shape), len(shape) - 1), d.maybe("coeff: 0.6"))
    d.layer("Reduction", ["x"], ["y"], "reduction_param { %s }" % text)


@case(CAFFE)
def ArgMax(d):
    shape = d.shape(2, 4)
    # Equal values among them: which place wins is part of the layer.
    d.input("x", shape, -3, 3)
    if d.flag():
        axis = d.int(-len(shape), len(shape) - 1)
        text = "axis: %d top_k: 1" % axis
    else:
        text = "top_k: %d" % d.int(1, int(np.prod(shape[1:])))
    d.layer("ArgMax", ["x"], ["y"], "argmax_param { %s %s }" % (text, d.maybe("out_max_val: true")))


@case(CAFFE)
def InnerProduct(d):
    shape = d.shape(2, 4)
    d.input("x", shape)
    axis = d.maybe("axis: %d" % d.int(-len(shape), len(shape) - 1))
    text = "num_output: %d %s %s %s" % (d.int(1, 4), axis, d.maybe("transpose: true"), d.maybe("bias_term: false"))
    d.layer("InnerProduct", ["x"], ["y"], "inner_product_param { %s }" % text)


@case(CAFFE)
def Embed(d):
    rows = d.int(2, 6)
    d.input("i", d.shape(1, 3), 0, rows)
    text = "input_dim: %d num_output: %d %s" % (rows, d.int(1, 4), d.maybe("bias_term: false"))
    d.layer("Embed", ["i"], ["y"], "embed_param { %s }" % text)


@case(CAFFE)
def Concat(d):
    shape = d.shape()
    axis = d.int(0, len(shape) - 1)
    names = [d.input("x%d" % i, [*shape[:axis], d.int(1, 3), *shape[axis + 1 :]]) for i in range(d.int(1, 3))]
    d.layer("Concat", names, ["y"], "concat_param { axis: %d }" % d.one(axis, axis - len(shape)))


@case(CAFFE)
def Slice(d):
    shape, parts = d.shape(), d.int(1, 3)
    axis = d.int(0, len(shape) - 1)
    points = ""
    if parts > 1 and d.flag():
        shape[axis] = 5
        points = " ".join("slice_point: %d" % at for at in sorted(d.r.permutation(4)[: parts - 1] + 1))
    else:
        shape[axis] = parts * d.int(1, 2)
    d.input("x", shape)
    tops = ["y%d" % i for i in range(parts)]
    d.layer("Slice", ["x"], tops, "slice_param { axis: %d %s }" % (d.one(axis, axis - len(shape)), points))


@case(CAFFE)
def Split(d):
    d.input("x", d.shape())
    d.layer("Split", ["x"], ["y", "z"])


@case(CAFFE)
def Flatten(d):
    shape = d.shape(2, 5)
    d.input("x", shape)
    start = d.int(0, len(shape) - 1)
    end = d.int(start, len(shape) - 1) - d.one(0, len(shape))
    d.layer("Flatten", ["x"], ["y"], d.maybe("flatten_param { axis: %d end_axis: %d }" % (start, end), 0.7))


@case(CAFFE)
def Reshape(d):
    shape = d.image(4, 4, 6)
    d.input("x", shape)
    text = d.one(
        "shape { dim: 0 dim: -1 }",
        "shape { dim: 0 dim: 2 dim: 3 dim: -1 }",
        "shape { dim: 3 dim: 2 } axis: 1 num_axes: 1",
        "shape { dim: 1 } axis: -1 num_axes: 0",
        "shape { dim: -1 dim: 8 } axis: 2",
        "shape { dim: -1 }",
        "shape { dim: 0 dim: 0 dim: -1 dim: 2 }",
    )
    d.layer("Reshape", ["x"], ["y"], "reshape_param { %s }" % text)


@case(CAFFE)
def Crop(d):
    shape = [d.int(3, 6) for _ in range(4)]
    axis = d.one(1, 2, 2, 3, -2)
    like = shape[: axis % 4] + [d.int(1, size) for size in shape[axis % 4 :]]
    d.input("x", shape)
    d.input("z", like)
    slack = [size - cut for size, cut in zip(shape, like)][axis % 4 :]
    offsets = [d.int(0, most) for most in slack] if d.flag() else [min(slack)]
    text = " ".join("offset: %d" % each for each in offsets)
    d.layer("Crop", ["x", "z"], ["y"], "crop_param { axis: %d %s }" % (axis, d.maybe(text, 0.8)))


@case(CAFFE)
def Tile(d):
    shape = d.shape()
    d.input("x", shape)
    text = "axis: %d tiles: %d" % (d.int(-len(shape), len(shape) - 1), d.int(1, 3))
    d.layer("Tile", ["x"], ["y"], "tile_param { %s }" % text)


@case(CAFFE)
def BatchReindex(d):
    shape = d.shape()
    d.input("x", shape)
    d.input("i", [d.int(1, 5)], 0, shape[0])
    d.layer("BatchReindex", ["x", "i"], ["y"])


@case(CAFFE)
def Parameter(d):
    shape = d.shape(2, 3)
    d.input("x", shape)
    sizes = " ".join("dim: %d" % size for size in shape)
    d.layer("Parameter", [], ["w"], "parameter_param { shape { %s } }" % sizes)
    d.layer("Eltwise", ["x", "w"], ["y"])


@case(CAFFE)
def DummyData(d):
    shape = d.shape(2, 3)
    d.input("x", shape)
    sizes = " ".join("dim: %d" % size for size in shape)
    d.layer("DummyData", [], ["w"], "dummy_data_param { shape { %s } data_filler { value: 0.5 } }" % sizes)
    d.layer("Eltwise", ["x", "w"], ["y"])


@case(CAFFE, "LSTM", "RNN")
def recurrent(d, kind):
    steps, batch, width = d.int(1, 3), d.int(1, 2), d.int(1, 3)
    names = [d.input("x", [steps, batch, *d.shape(1, 2, 3)]), d.input("cont", [steps, batch], 0, 2)]
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    if d.flag():
        names.append(d.input("static", [batch, *d.shape(1, 2, 3)]))
    exposed = d.flag()
    if exposed:
        names += [d.input(each + "_first", [1, batch, width]) for each in states]
    tops = ["y"] + ([each + "_last" for each in states] if exposed else [])
    text = "num_output: %d %s" % (width, "expose_hidden: true" if exposed else "")
    d.layer(kind, names, tops, 'recurrent_param { %s weight_filler { type: "uniform" } }' % text)


@case(CAFFE)
def SharedWeights(d):
    shape = d.image(4, 5)
    text = (
        'convolution_param { num_output: %d kernel_size: 3 pad: 1 } param { name: "w" } param { name: "b" }' % shape[1]
    )
    for name, top in (("x", "y"), ("z", "v")):
        d.input(name, shape)
        d.layer("Convolution", [name], [top], text)


@case(OPENCV)
def Permute(d):
    d.input("x", [d.int(1, 4) for _ in range(4)])
    order = " ".join("order: %d" % axis for axis in d.r.permutation(4))
    d.layer("Permute", ["x"], ["y"], "permute_param { %s }" % order)


@case(OPENCV)
def Normalize(d):
    shape = d.image(2, 4)
    d.input("x", shape)
    across = d.flag()
    shared = across or d.flag()
    text = "across_spatial: %s channel_shared: %s %s" % (*map(_truth, (across, shared)), d.maybe("eps: 0.01"))
    d.layer("Normalize", ["x"], ["y"], "norm_param { %s }" % text, weights=[([1 if shared else shape[1]], 1.0, 20.0)])


def _truth(flag):
    return "true" if flag else "false"


@case(OPENCV)
def PriorBox(d):
    d.input("x", [1, 2, d.int(1, 4), d.int(1, 4)])
    d.input("image", [1, 3, d.int(20, 60), d.int(20, 60)], 0.0, 0.0)
    sizes = [d.int(5, 20) for _ in range(d.int(1, 2))]
    text = ["min_size: %d" % size for size in sizes]
    text += ["max_size: %d" % (size + d.int(1, 20)) for size in sizes] if d.flag() else []
    text += ["aspect_ratio: %s" % ratio for ratio in d.r.permutation([1, 2, 3, 1.5])[: d.int(0, 3)]]
    text += ["flip: %s clip: %s" % (_truth(d.flag()), _truth(d.flag()))]
    text += ["variance: %s" % each for each in d.one([0.2], [0.1, 0.1, 0.2, 0.3])]
    text += [d.maybe("step: 8"), d.maybe("offset: 0.4", 0.3)]
    d.layer("ReLU", ["x"], ["f"])
    d.layer("PriorBox", ["f", "image"], ["y"], "prior_box_param { %s }" % " ".join(text))


@case(OPENCV)
def Interp(d):
    d.input("x", [1, 2, d.int(2, 5), d.int(2, 5)])
    text = d.one("height: %d width: %d" % (d.int(2, 12), d.int(2, 12)), "zoom_factor: %d" % d.int(1, 3))
    d.layer("Interp", ["x"], ["y"], "interp_param { %s }" % text)


@case(OPENCV)
def ShuffleChannel(d):
    group = d.int(1, 3)
    d.input("x", d.image(2, 3, group * d.int(1, 3)))
    d.layer("ShuffleChannel", ["x"], ["y"], "shuffle_channel_param { group: %d }" % group)


@case(OPENCV)
def ReLU6(d):
    d.input("x", d.shape(4, 4), -2.0, 9.0)
    d.layer("ReLU6", ["x"], ["y"])


@case(OPENCV)
def Reorg(d):
    d.input("x", [1, 4 * d.int(1, 2), 2 * d.int(1, 2), 2 * d.int(1, 3)])
    d.layer("Reorg", ["x"], ["y"], "reorg_param { stride: 2 }")


@case(OPENCV)
def ConvolutionDepthwise(d):
    channels = d.int(2, 4)
    d.input("x", d.image(4, 6, channels))
    text = "num_output: %d group: %d kernel_size: 3 %s" % (channels, channels, d.maybe("pad: 1"))
    weights = [([channels, 1, 3, 3], -1.0, 1.0), ([channels], -1.0, 1.0)]
    d.layer("ConvolutionDepthwise", ["x"], ["y"], "convolution_param { %s }" % text, weights=weights)


@case(OPENCV)
def ROIPooling(d):
    regions = d.int(1, 4)
    d.input("x", [2, 2, 8, 9])
    d.input("image", [regions, 1], 0, 2)
    d.input("low", [regions, 2], 0.0, 6.0)
    d.input("size", [regions, 2], 0.0, 9.0)
    d.layer("Eltwise", ["low", "size"], ["high"])
    d.layer("Concat", ["image", "low", "high"], ["regions"], "concat_param { axis: 1 }")
    sizes = d.int(1, 3), d.int(1, 3), d.one(1, 0.5)
    d.layer(
        "ROIPooling",
        ["x", "regions"],
        ["y"],
        "roi_pooling_param { pooled_h: %d pooled_w: %d spatial_scale: %s }" % sizes,
    )


@case(OPENCV)
def DetectionOutput(d):
    classes, priors, images, shared = d.int(2, 4), d.int(3, 30), d.int(1, 2), d.flag()
    d.input("loc", [images, priors * 4 * (1 if shared else classes)], -1.0, 1.0)
    d.input("conf", [images, priors * classes], -4.0, 4.0)
    # Boxes of whole and half tenths, so that each lies right way round.
    d.input("low", [1, 1, priors, 2], 0.0, 0.5)
    d.input("size", [1, 1, priors, 2], 0.1, 0.5)
    d.input("variance", [1, 1, priors, 4], 0.1, 0.2)
    d.layer("Eltwise", ["low", "size"], ["high"])
    d.layer("Concat", ["low", "high"], ["edges"], "concat_param { axis: 3 }")
    d.layer("Concat", ["edges", "variance"], ["both"], "concat_param { axis: 1 }")
    d.layer("Reshape", ["both"], ["priors"], "reshape_param { shape { dim: 1 dim: 2 dim: -1 } }")
    d.layer("Reshape", ["conf"], ["rows"], "reshape_param { shape { dim: 0 dim: -1 dim: %d } }" % classes)
    d.layer("Softmax", ["rows"], ["soft"], "softmax_param { axis: 2 }")
    d.layer("Flatten", ["soft"], ["scores"], "flatten_param { axis: 1 }")
    text = "num_classes: %d share_location: %s background_label_id: 0 code_type: CENTER_SIZE" % (
        classes,
        _truth(shared),
    )
    text += " nms_param { nms_threshold: %s %s }" % (d.number(0.2, 0.6), d.maybe("top_k: %d" % d.int(2, 20)))
    text += " keep_top_k: %d confidence_threshold: %s" % (d.int(5, 40), d.number(0.05, 0.7))
    d.layer("DetectionOutput", ["loc", "scores", "priors"], ["y"], "detection_output_param { %s }" % text)


def prototxt(draw):
    """Write the network of a case."""
    heads = [
        'layer { name: "in/%s" type: "Input" top: "%s" input_param { shape { %s } } }'
        % (name, name, " ".join("dim: %d" % size for size in shape))
        for name, (shape, _, _) in draw.inputs.items()
    ]
    return "\n".join(heads + draw.layers)


def bounds(name, index):
    """Say between what a weight is drawn; variances are positive, and their factor is none, one or another."""
    if name.startswith("batchnorm"):
        return [(-2.0, 2.0), (0.5, 1.5), (3.5, 3.5)][index]
    return -1.0, 1.0


def run_caffe(net, inputs, seed):
    """Run a case in Caffe and return how its weights were drawn, and the outputs."""
    import caffe

    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(net)
        file.flush()
        built = caffe.Net(file.name, caffe.TEST)
    weights = {}
    for name, blobs in built.params.items():
        weights[name] = []
        for index, blob in enumerate(blobs):
            low, high = bounds(name, index)
            weights[name].append([list(blob.shape), low, high])
            blob.data[...] = values("%s:%d" % (name, index), list(blob.shape), low, high, seed)
    for name, array in inputs.items():
        built.blobs[name].data[...] = array
    built.forward()
    return weights, {name: np.array(built.blobs[name].data) for name in built.outputs}


def run_opencv(net, inputs, weights, seed):
    """Run a case in OpenCV, which names outputs by layers."""
    import cv2

    def varint(number):
        encoded = b""
        while number > 127:
            encoded += bytes([number & 127 | 128])
            number >>= 7
        return encoded + bytes([number])

    def field(number, content):
        return varint(number << 3 | 2) + varint(len(content)) + content

    stored = b"".join(
        field(100, field(1, name.encode()) + field(2, b"Any") + b"".join(
            field(7, field(7, field(1, b"".join(map(varint, shape))))
                  + field(5, values("%s:%d" % (name, index), shape, low, high, seed).tobytes()))
            for index, (shape, low, high) in enumerate(blobs)))
        for name, blobs in (weights or {"none": []}).items()
    )  # fmt: skip
    last = net.rstrip().splitlines()[-1]
    built = cv2.dnn.readNetFromCaffe(np.frombuffer(net.encode(), np.uint8), np.frombuffer(stored, np.uint8))
    for name, array in inputs.items():
        built.setInput(array, name)
    return {"y": np.array(built.forward(last.split('"')[1]))}


def compute(runtime, name, seed):
    """Draw and run one case; its process may die of what the runtime refuses."""
    draw = Draw(seed)
    (CAFFE if runtime == "caffe" else OPENCV)[name](draw)
    net = prototxt(draw)
    inputs = {each: values(each, *how, seed) for each, how in draw.inputs.items()}
    if runtime == "caffe":
        weights, outputs = run_caffe(net, inputs, seed)
    else:
        weights, outputs = draw.weights, run_opencv(net, inputs, draw.weights, seed)
    encoded = {
        each: [list(array.shape), base64.b64encode(np.asarray(array, "<f4").tobytes()).decode()]
        for each, array in outputs.items()
    }
    return {"layer": name, "seed": seed, "net": net, "weights": weights, "inputs": draw.inputs, "outputs": encoded}


def attempt(runtime, name, seed):
    """Run a case in a process of its own; None where the runtime does not take what was drawn."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            with os.fdopen(writing, "w") as stream:
                json.dump(compute(runtime, name, seed), stream)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        told = stream.read()
    os.waitpid(child, 0)
    try:
        return json.loads(told)
    except ValueError:
        return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime", choices=("caffe", "opencv"))
    parser.add_argument("out")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    os.environ["GLOG_minloglevel"] = "3"
    # Here, so that not every case has to load it.
    __import__({"caffe": "caffe", "opencv": "cv2"}[asked.runtime])
    cases = []
    for name in CAFFE if asked.runtime == "caffe" else OPENCV:
        if asked.only and name not in asked.only.split(","):
            continue
        found = 0
        for seed in range(asked.seed, asked.seed + 10 * asked.draws):
            told = attempt(asked.runtime, name, seed) if found < asked.draws else None
            if told is not None:
                cases.append(told)
                found += 1
        print(name, found, file=sys.stderr)
    with lzma.open(asked.out, "wt") as stream:
        json.dump(cases, stream)


if __name__ == "__main__":
    main()
