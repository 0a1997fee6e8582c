"""What MXNet 1.9.1 computes for random uses of its operators.

    python3.8 mxnet_operators.py OUT.json.xz [--draws 6] [--seed 0] [--only NAME,...]

Needs mxnet 1.9.1 and numpy below 1.24 (Python 3.8), and nothing of Klever. Each operator has a function that draws
attributes and shapes; the record holds the symbol, how the arrays are drawn (see ``values``), and MXNet's outputs.
"""

# Python 3.8 reads none of what these ask for.
# ruff: noqa: B905, BLE001, PTH118, PTH123, RUF005, UP031

import argparse
import base64
import json
import lzma
import os
import sys
import tempfile
import zlib

# Operators are to be computed one by one, and by MXNet's own code: oneDNN's SoftmaxOutput takes the last axis of four.
os.environ["MXNET_SUBGRAPH_BACKEND"] = "NONE"
os.environ.setdefault("MXNET_MKLDNN_ENABLED", "0")

import mxnet as mx
import numpy as np

CASES = {}
S = mx.sym


def values(name, shape, low, high, dtype, seed):
    """Draw an array; the tests draw the same one again."""
    source = np.random.RandomState(zlib.crc32(("%s/%d" % (name, seed)).encode()))
    drawn = source.uniform(low, high, shape)
    return (np.floor(drawn) if np.dtype(dtype).kind in "iub" else drawn).astype(dtype)


class Draw:
    """The random choices of one case, and the variables that it makes."""

    def __init__(self, seed):
        self.r = np.random.RandomState(seed)
        self.inputs, self.params = {}, {}

    def int(self, low, high):
        return int(self.r.randint(low, high + 1))

    def one(self, *items):
        return items[self.r.randint(len(items))]

    def flag(self):
        return bool(self.r.randint(2))

    def number(self, low, high):
        return round(float(self.r.uniform(low, high)), 3)

    def shape(self, low=1, high=4, size=4):
        return tuple(self.int(1, size) for _ in range(self.int(low, high)))

    def data(self, shape, low=-2.0, high=2.0, dtype="float32", name="data"):
        self.inputs[name] = [list(shape), low, high, dtype]
        return self.variable(name)

    def weight(self, name, shape, low=-1.0, high=1.0, dtype="float32"):
        self.params[name] = [list(shape), low, high, dtype]
        return self.variable(name)

    def variable(self, name):
        return S.Variable(name)

    def optional_axis(self, rank):
        return self.one(None, self.int(-rank, rank - 1))


def operator(name):
    """Return what makes a symbol of an operator, be it one that MXNet hides."""
    return getattr(S._internal if name.startswith("_") else S, name)


def case(function):
    CASES[function.__name__] = function
    return function


# Convolution and pooling


def spatial(d, kernel, dilate=None, extra=4):
    dilate = dilate or (1,) * len(kernel)
    return tuple((k - 1) * e + 1 + d.int(0, extra) for k, e in zip(kernel, dilate))


@case
def convolution(d):
    n = d.int(1, 3)
    kernel = tuple(d.int(1, 3) for _ in range(n))
    dilate = tuple(d.int(1, 2) for _ in range(n))
    groups = d.one(1, 1, 2)
    channels, filters = groups * d.int(1, 2), groups * d.int(1, 2)
    no_bias = d.flag()
    data = d.data((d.int(1, 2), channels) + spatial(d, kernel, dilate))
    inputs = [data, d.weight("w", (filters, channels // groups) + kernel)]
    if not no_bias:
        inputs.append(d.weight("b", (filters,)))
    options = {}
    if d.flag():
        options.update(stride=tuple(d.int(1, 2) for _ in range(n)), pad=tuple(d.int(0, 2) for _ in range(n)))
    return S.Convolution(
        *inputs,
        kernel=kernel,
        dilate=dilate,
        num_filter=filters,
        num_group=groups,
        no_bias=no_bias,
        name="op",
        **options,
    )


@case
def deconvolution(d):
    n = d.int(1, 2)
    kernel = tuple(d.int(1, 4) for _ in range(n))
    stride = tuple(d.int(1, 3) for _ in range(n))
    groups = d.one(1, 1, 2)
    channels, filters = groups * d.int(1, 2), groups * d.int(1, 2)
    pad = tuple(d.int(0, min(k - 1, 2)) for k in kernel)
    adj = tuple(d.int(0, s - 1) for s in stride)
    data = d.data((d.int(1, 2), channels) + tuple(d.int(2, 4) for _ in range(n)))
    inputs = [data, d.weight("w", (channels, filters // groups) + kernel)]
    no_bias = d.flag()
    if not no_bias:
        inputs.append(d.weight("b", (filters,)))
    return S.Deconvolution(
        *inputs,
        kernel=kernel,
        stride=stride,
        pad=pad,
        adj=adj,
        num_filter=filters,
        num_group=groups,
        no_bias=no_bias,
        name="op",
    )


@case
def deconvolution_default_bias(d):
    data = d.data((1, 2, 3, 3))
    return S.Deconvolution(data, d.weight("w", (2, 2, 3, 3)), kernel=(3, 3), num_filter=2, name="op")


@case
def deconvolution_target(d):
    kernel, stride = d.int(2, 4), d.int(1, 3)
    size = d.int(3, 4)
    full = stride * (size - 1) + kernel
    target = full - d.one(0, 2, *([1, 3] if stride > 1 else []))
    data = d.data((1, 2, size, size))
    return S.Deconvolution(
        data,
        d.weight("w", (2, 1, kernel, kernel)),
        kernel=(kernel, kernel),
        stride=(stride, stride),
        target_shape=(target, target),
        num_filter=1,
        name="op",
    )


def pool_options(d, n):
    kernel = tuple(d.int(1, 3) for _ in range(n))
    convention = d.one("valid", "full", "full")
    # A window that begins behind the data, as longer strides allow, averages nothing in ways that differ by rank.
    longest = [3 if convention == "valid" else size for size in kernel]
    return {
        "kernel": kernel,
        "stride": tuple(d.int(1, most) for most in longest),
        "pad": tuple(d.int(0, k // 2) for k in kernel),
        "pooling_convention": convention,
    }


@case
def pooling(d):
    n = d.int(1, 3)
    options = pool_options(d, n)
    kind = d.one("max", "avg", "avg", "sum")
    if d.flag() and kind == "avg":
        options["count_include_pad"] = d.flag()
    data = d.data((1, 2) + tuple(d.int(4, 7) for _ in range(n)))
    return S.Pooling(data, pool_type=kind, name="op", **options)


@case
def pooling_lp(d):
    options = pool_options(d, 2)
    data = d.data((1, 2, d.int(4, 7), d.int(4, 7)), 0.1, 2.0)
    return S.Pooling(data, pool_type="lp", p_value=d.int(1, 3), name="op", **options)


@case
def pooling_global(d):
    kind = d.one("max", "avg", "sum", "lp")
    options = {"p_value": d.int(1, 3)} if kind == "lp" else {}
    n = d.int(1, 3)
    if d.flag():
        options.update(kernel=(2,) * n, stride=(2,) * n, pad=(1,) * n)
    data = d.data((2, 2) + tuple(d.int(2, 4) for _ in range(n)), 0.1 if kind == "lp" else -2.0)
    return S.Pooling(data, pool_type=kind, global_pool=True, name="op", **options)


@case
def pooling_v1(d):
    options = pool_options(d, 2)
    options["stride"] = tuple(min(pair) for pair in zip(options["stride"], options["kernel"]))
    kind = d.one("max", "avg", "sum")
    data = d.data((1, 2, d.int(4, 7), d.int(4, 7)))
    return S.Pooling_v1(data, pool_type=kind, name="op", **options)


@case
def upsampling_nearest(d):
    scale = d.int(1, 3)
    data = d.data((1, 2, 4, 4))
    if d.flag():
        return S.UpSampling(data, scale=scale, sample_type="nearest", num_args=1, name="op")
    other = d.data((1, 2, 2, 2), name="other")
    return S.UpSampling(
        data, other, scale=2, sample_type="nearest", num_args=2, multi_input_mode=d.one("concat", "sum"), name="op"
    )


@case
def upsampling_bilinear(d):
    scale = d.int(1, 4)
    size = 2 * scale - scale % 2
    data = d.data((1, 2, 3, 3))
    return S.UpSampling(
        data,
        d.weight("w", (2, 1, size, size)),
        scale=scale,
        sample_type="bilinear",
        num_filter=2,
        num_args=2,
        name="op",
    )


# Normalisation


@case
def batchnorm(d):
    shape = (2, 3) + tuple(d.int(1, 3) for _ in range(d.int(0, 3)))
    axis = d.one(1, 1, d.int(-len(shape), len(shape) - 1)) if len(shape) > 2 else 1
    width = shape[axis]
    options = {}
    if d.flag():
        options["eps"] = d.one(1e-5, 2e-5, 0.01)
    if d.flag():
        options["fix_gamma"] = d.flag()
    if d.flag():
        options["use_global_stats"] = d.flag()
    return S.BatchNorm(
        d.data(shape),
        d.weight("g", (width,)),
        d.weight("b", (width,)),
        d.weight("m", (width,)),
        d.weight("v", (width,), 0.1, 2.0),
        axis=axis,
        name="op",
        **options,
    )


@case
def batchnorm_statistics(d):
    out = S.BatchNorm(
        d.data((2, 3, 2)),
        d.weight("g", (3,)),
        d.weight("b", (3,)),
        d.weight("m", (3,)),
        d.weight("v", (3,), 0.1, 2.0),
        output_mean_var=True,
        name="op",
        fix_gamma=False,
    )
    return S.Group([out[0], out[1], out[2]])


@case
def layernorm(d):
    shape = d.shape(2, 4)
    axis = d.one(-1, -1, d.int(-len(shape), len(shape) - 1))
    width = shape[axis]
    options = {"eps": 1e-3} if d.flag() else {}
    return S.LayerNorm(d.data(shape), d.weight("g", (width,)), d.weight("b", (width,)), axis=axis, name="op", **options)


@case
def layernorm_statistics(d):
    out = S.LayerNorm(d.data((2, 3, 4)), d.weight("g", (4,)), d.weight("b", (4,)), output_mean_var=True, name="op")
    return S.Group([out[0], out[1], out[2]])


@case
def instancenorm(d):
    shape = (2, 3) + tuple(d.int(2, 4) for _ in range(d.int(1, 3)))
    return S.InstanceNorm(d.data(shape), d.weight("g", (3,)), d.weight("b", (3,)), eps=d.one(1e-3, 1e-5), name="op")


@case
def groupnorm(d):
    groups = d.int(1, 3)
    channels = groups * d.int(1, 3)
    shape = (2, channels) + tuple(d.int(1, 3) for _ in range(d.int(1, 3)))
    return S.GroupNorm(d.data(shape), d.weight("g", (groups,)), d.weight("b", (groups,)), num_groups=groups, name="op")


@case
def groupnorm_statistics(d):
    out = S.GroupNorm(
        d.data((2, 6, 3)), d.weight("g", (3,)), d.weight("b", (3,)), num_groups=3, output_mean_var=True, name="op"
    )
    return S.Group([out[0], out[1], out[2]])


@case
def l2normalization(d):
    shape = (2, 3) + tuple(d.int(1, 3) for _ in range(d.int(1, 2)))
    return S.L2Normalization(
        d.data(shape), mode=d.one("instance", "channel", "spatial"), eps=d.one(1e-10, 0.1), name="op"
    )


@case
def lrn(d):
    data = d.data((2, d.int(5, 7), 2, 3))
    options = {} if d.flag() else {"alpha": d.number(0.01, 0.5), "beta": d.number(0.3, 1), "knorm": d.number(1, 3)}
    return S.LRN(data, nsize=d.one(1, 3, 5), name="op", **options)


# Activation


@case
def activation(d):
    return S.Activation(d.data(d.shape()), name="op", act_type=d.one("relu", "sigmoid", "tanh", "softrelu", "softsign"))


@case
def leakyrelu(d):
    kind = d.one("leaky", "elu", "selu", "gelu", "rrelu")
    options = {} if d.flag() else {"slope": d.number(0.01, 1)}
    if kind == "rrelu" and d.flag():
        options = {"lower_bound": 0.1, "upper_bound": 0.2}
    # What rrelu returns beside its result is not defined when it is used.
    return S.LeakyReLU(d.data(d.shape()), act_type=kind, name="op", **options)[0]


@case
def prelu(d):
    shape = (2, 3) + tuple(d.int(1, 3) for _ in range(d.int(0, 3)))
    return S.LeakyReLU(d.data(shape), d.weight("gamma", (d.one(1, 3),)), act_type="prelu", name="op")


@case
def activation_functions(d):
    data = d.data(d.shape())
    name = d.one("relu", "sigmoid", "softsign", "hard_sigmoid", "hard_sigmoid")
    options = {"alpha": 0.3, "beta": 0.4} if name == "hard_sigmoid" and d.flag() else {}
    return operator(name)(data, name="op", **options)


# Softmax and losses


@case
def softmax(d):
    shape = d.shape(1, 4)
    options = {"axis": d.int(-len(shape), len(shape) - 1)} if d.flag() else {}
    if d.flag():
        options["temperature"] = d.number(0.2, 3)
    return operator(d.one("softmax", "log_softmax", "softmin"))(d.data(shape), name="op", **options)


@case
def softmax_length(d):
    shape = (2, 3, 4)
    axis = d.int(1, 2)
    rest = tuple(size for at, size in enumerate(shape) if at != axis)
    return S.softmax(
        d.data(shape),
        d.data(rest, 1, shape[axis] + 0.99, "int32", name="length"),
        axis=axis,
        use_length=True,
        name="op",
    )


@case
def softmax_output(d):
    shape = d.shape(2, 4)
    options = d.one({}, {"multi_output": True}, {"preserve_shape": True})
    return S.SoftmaxOutput(d.data(shape), name="softmax", **options)


@case
def softmax_activation(d):
    return S.SoftmaxActivation(d.data(d.shape(3, 4)), mode=d.one("instance", "channel"), name="op")


@case
def loss_heads(d):
    name = d.one("LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput", "SVMOutput", "Softmax")
    return operator(name)(d.data((2, 3)), name="op")


@case
def loss_makers(d):
    data = d.data((2, 3))
    name = d.one("MakeLoss", "make_loss", "BlockGrad", "IdentityAttachKLSparseReg", "stop_gradient")
    if name == "IdentityAttachKLSparseReg":
        return S.IdentityAttachKLSparseReg(data=data * 2, name="op")
    return operator(name)(data * 2, name="op")


# Elementwise


@case
def unary(d):
    data = d.data(d.shape())
    name = d.one(
        "abs",
        "sign",
        "round",
        "rint",
        "ceil",
        "floor",
        "trunc",
        "fix",
        "square",
        "exp",
        "expm1",
        "sin",
        "cos",
        "degrees",
        "radians",
        "sinh",
        "cosh",
        "tanh",
        "arcsinh",
        "erf",
        "cbrt",
        "arctan",
        "negative",
        "reciprocal",
        "identity",
        "logical_not",
        "rcbrt",
        "tan",
    )
    return operator(name)(data, name="op")


@case
def unary_positive(d):
    data = d.data(d.shape(), 0.1, 4.0)
    name = d.one("sqrt", "rsqrt", "log", "log2", "log10", "log1p", "gamma", "gammaln")
    return operator(name)(data, name="op")


@case
def unary_bounded(d):
    data = d.data(d.shape(), -0.99, 0.99)
    name = d.one("arcsin", "arccos", "arctanh", "erfinv", "log1p", "expm1")
    return operator(name)(data, name="op")


@case
def arccosh(d):
    return S.arccosh(d.data(d.shape(), 1.0, 4.0), name="op")


@case
def gamma_negative(d):
    return operator(d.one("gamma", "gammaln"))(d.data((12,), -3.9, 1.0), name="op")


@case
def rounding_halves(d):
    halves = operator("_div_scalar")(
        S.Cast(S.Cast(d.data((8,), -6, 7, "float32"), dtype="int32"), dtype="float32"), scalar=2.0
    )
    return operator(d.one("round", "rint", "fix", "ceil", "floor", "trunc"))(halves, name="op")


@case
def clip(d):
    low = d.number(-1.5, 0)
    return S.clip(d.data(d.shape()), a_min=low, a_max=low + d.number(0, 2), name="op")


@case
def smooth_l1(d):
    return S.smooth_l1(d.data(d.shape()), scalar=d.one(1.0, 0.7, 3.0), name="op")


BINARY = (
    "broadcast_add",
    "broadcast_sub",
    "broadcast_mul",
    "broadcast_div",
    "broadcast_mod",
    "broadcast_maximum",
    "broadcast_minimum",
    "broadcast_hypot",
)


@case
def broadcast(d):
    shape = d.shape()
    first = tuple(d.one(size, size, 1) for size in shape)
    second = tuple(d.one(size, size, 1) for size in shape)
    return operator(d.one(*BINARY))(d.data(first), d.data(second, name="other"), name="op")


@case
def broadcast_power(d):
    return S.broadcast_power(d.data((2, 3), 0.1, 2.0), d.data((1, 3), name="other"), name="op")


def whole(d, name, shape, low=-3, high=4):
    return d.data(shape, low, high, "int32", name=name)


@case
def comparison(d):
    shape = d.shape()
    kind = d.one(
        "equal",
        "not_equal",
        "greater",
        "greater_equal",
        "lesser",
        "lesser_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
    )
    first = S.Cast(whole(d, "data", shape, -1, 2), dtype="float32")
    second = S.Cast(whole(d, "other", shape, -1, 2), dtype="float32")
    return operator("broadcast_" + kind)(first, second, name="op")


@case
def elementwise(d):
    shape = d.shape()
    name = d.one(
        "elemwise_add",
        "elemwise_sub",
        "elemwise_mul",
        "elemwise_div",
        "_plus",
        "_minus",
        "_mul",
        "_div",
        "_mod",
        "_maximum",
        "_minimum",
        "_hypot",
        "_equal",
        "_not_equal",
        "_greater",
        "_lesser",
        "_greater_equal",
        "_lesser_equal",
        "_logical_and",
        "_grad_add",
        "_add",
        "_sub",
    )
    return operator(name)(d.data(shape), d.data(shape, name="other"), name="op")


@case
def elementwise_integers(d):
    shape = d.shape()
    name = d.one("elemwise_add", "elemwise_mul", "_maximum", "_equal", "_greater", "elemwise_sub", "_mod")
    return operator(name)(whole(d, "data", shape), whole(d, "other", shape), name="op")


SCALAR = (
    "_plus_scalar",
    "_minus_scalar",
    "_rminus_scalar",
    "_mul_scalar",
    "_div_scalar",
    "_rdiv_scalar",
    "_mod_scalar",
    "_rmod_scalar",
    "_maximum_scalar",
    "_minimum_scalar",
    "_hypot_scalar",
    "_equal_scalar",
    "_not_equal_scalar",
    "_greater_scalar",
    "_greater_equal_scalar",
    "_lesser_scalar",
    "_lesser_equal_scalar",
    "_logical_and_scalar",
    "_logical_or_scalar",
    "_logical_xor_scalar",
)


@case
def scalar(d):
    return operator(d.one(*SCALAR))(d.data(d.shape()), scalar=d.number(-2, 2) or 1.0, name="op")


@case
def scalar_integers(d):
    name = d.one("_plus_scalar", "_mul_scalar", "_maximum_scalar", "_equal_scalar", "_greater_scalar", "_minus_scalar")
    return operator(name)(whole(d, "data", d.shape()), scalar=d.one(2, 3, -1), name="op")


@case
def scalar_power(d):
    data = d.data(d.shape(), 0.1, 2.0)
    return operator(d.one("_power_scalar", "_rpower_scalar"))(data, scalar=d.one(2.0, 0.5, 3.0, 1.7), name="op")


@case
def add_n(d):
    shape = d.shape()
    return operator(d.one("add_n", "ElementWiseSum"))(
        *[d.data(shape, name="x%d" % i) for i in range(d.int(1, 4))], name="op"
    )


@case
def where(d):
    shape = d.shape(1, 3)
    condition = d.data(d.one(shape, shape[:1]), -1, 2, "int32", name="condition")
    return S.where(
        S.Cast(condition, dtype=d.one("float32", "int32")), d.data(shape), d.data(shape, name="other"), name="op"
    )


@case
def dropout(d):
    return S.Dropout(d.data(d.shape()), p=0.5, name="op")


@case
def cast(d):
    return S.Cast(
        d.data(d.shape(), -3, 3),
        dtype=d.one("float32", "float64", "float16", "int32", "int64", "int8", "bool"),
        name="op",
    )


@case
def amp_cast(d):
    return S.amp_cast(d.data(d.shape()), dtype="float16", name="op")


@case
def amp_multicast(d):
    out = S.amp_multicast(d.data((2, 3)), d.data((2, 3), dtype="float16", name="other"), num_outputs=2, name="op")
    return S.Group([out[0], out[1]])


@case
def half_precision(d):
    data = d.data((2, 3, 4, 4), dtype="float16")
    out = S.BatchNorm(
        data, d.weight("g", (3,)), d.weight("b", (3,)), d.weight("m", (3,)), d.weight("v", (3,), 0.1, 2.0), name="bn"
    )
    return S.Pooling(out, kernel=(2, 2), stride=(2, 2), pool_type="max", name="op")


@case
def double_precision(d):
    data = d.data((2, 3, 4, 4), dtype="float64")
    out = S.Convolution(
        data, d.weight("w", (2, 3, 3, 3), dtype="float64"), kernel=(3, 3), num_filter=2, no_bias=True, name="conv"
    )
    return S.Activation(
        S.FullyConnected(out, d.weight("f", (3, 8), dtype="float64"), no_bias=True, num_hidden=3),
        name="op",
        act_type=d.one("relu", "tanh", "sigmoid"),
    )


# Reduction


def axes(d, rank):
    return d.one((), d.int(-rank, rank - 1), tuple(sorted(d.r.permutation(rank)[: d.int(1, rank)].tolist())))


@case
def reduction(d):
    shape = d.shape(1, 4)
    name = d.one("sum", "mean", "prod", "max", "min", "nansum", "nanprod", "sum_axis", "max_axis", "min_axis")
    options = {"keepdims": d.flag()}
    chosen = axes(d, len(shape))
    if chosen != ():
        options["axis"] = chosen
        if (
            d.one(True, False, False)
            and not (isinstance(chosen, tuple) and len(chosen) == len(shape))
            and len(shape) > 1
        ):
            options["exclude"] = True
    return operator(name)(d.data(shape), name="op", **options)


@case
def norm(d):
    shape = d.shape(1, 3)
    options = {"keepdims": d.flag(), "ord": d.int(1, 2)}
    if d.flag():
        options["axis"] = d.int(-len(shape), len(shape) - 1)
    elif len(shape) > 1 and d.flag():
        options["axis"] = (0, 1)
    return S.norm(d.data(shape), name="op", **options)


@case
def argument(d):
    shape = d.shape(1, 3)
    options = {"keepdims": d.flag()}
    if d.flag():
        options["axis"] = d.int(-len(shape), len(shape) - 1)
    return operator(d.one("argmax", "argmin"))(d.data(shape), name="op", **options)


@case
def argmax_channel(d):
    return S.argmax_channel(d.data(d.shape(2, 3)), name="op")


@case
def moments(d):
    shape = d.shape(2, 3)
    out = S.moments(d.data(shape), axes=d.one((0,), (0, 1), (1,)), keepdims=d.flag(), name="op")
    return S.Group([out[0], out[1]])


# Arrangement


@case
def reshape(d):
    data = d.data((2, 3, 4, 5))
    codes = d.one(
        (0, -1),
        (-1, 0),
        (0, 0, -1),
        (-2,),
        (6, 4, -1),
        (-3, -2),
        (0, -3, -2),
        (0, 0, -3),
        (-4, 1, 2, -2),
        (-4, 1, -1, -2),
        (0, 0, -4, -1, 2, 0),
        (0, -4, 3, -1, -3),
        (-1,),
        (120, 1),
        (0, 0, 0, 0, 1),
        (-1, 3, 0, 5),
        (-3, -3),
        (0, -4, -1, 3, -2),
    )
    return S.Reshape(data, shape=codes, name="op")


@case
def reshape_reverse(d):
    data = d.data((10, 5, 4))
    return S.Reshape(data, shape=d.one((-1, 0), (0, -1), (-3, 0), (-1, 5, 0), (50, 0)), reverse=True, name="op")


@case
def reshape_target(d):
    data = d.data((2, 3, 4))
    return S.Reshape(data, target_shape=d.one((2, 0), (0, 4), (4, 6)), name="op")


@case
def flatten(d):
    return operator(d.one("Flatten", "flatten"))(d.data(d.shape(2, 4)), name="op")


@case
def transpose(d):
    shape = d.shape(1, 4)
    options = {"axes": tuple(d.r.permutation(len(shape)).tolist())} if d.flag() else {}
    return S.transpose(d.data(shape), name="op", **options)


@case
def swap_axis(d):
    shape = d.shape(2, 4)
    first, second = d.r.permutation(len(shape))[:2].tolist()
    return S.SwapAxis(d.data(shape), dim1=first, dim2=second, name="op")


@case
def expand_dims(d):
    shape = d.shape(1, 3)
    return S.expand_dims(d.data(shape), axis=d.int(-len(shape) - 1, len(shape)), name="op")


@case
def squeeze(d):
    if d.flag():
        return S.squeeze(d.data((1, 3, 1, 2)), name="op")
    return S.squeeze(d.data((1, 3, 1)), axis=d.one(0, 2, -1, (0, 2)), name="op")


@case
def squeeze_everything(d):
    return S.squeeze(d.data((1, 1)), name="op")


@case
def tile(d):
    return S.tile(d.data(d.shape(1, 2, 3)), reps=tuple(d.int(1, 3) for _ in range(d.int(1, 3))), name="op")


@case
def repeat(d):
    shape = d.shape(1, 3, 3)
    options = {"axis": d.int(-len(shape), len(shape) - 1)} if d.flag() else {}
    return S.repeat(d.data(shape), repeats=d.int(1, 3), name="op", **options)


@case
def flip(d):
    shape = d.shape(1, 3)
    chosen = d.one(d.int(0, len(shape) - 1), tuple(range(len(shape))))
    return operator(d.one("flip", "reverse"))(d.data(shape), axis=chosen, name="op")


@case
def pad(d):
    shape = tuple(d.int(3, 4) for _ in range(d.int(4, 5)))
    widths = (0, 0, 0, 0) + tuple(d.int(0, 2) for _ in range(2 * (len(shape) - 2)))
    return S.Pad(
        d.data(shape),
        mode=d.one("constant", "edge", "reflect"),
        pad_width=widths,
        constant_value=d.one(0, 1.5),
        name="op",
    )


@case
def broadcast_to(d):
    data = d.data((1, 3, 1))
    return d.one(
        lambda: S.broadcast_to(data, shape=(2, 3, 4), name="op"),
        lambda: S.broadcast_to(data, shape=(2, 0, 0), name="op"),
        lambda: S.broadcast_axis(data, axis=(0, 2), size=(2, 3), name="op"),
        lambda: S.broadcast_axis(data, axis=0, size=2, name="op"),
        lambda: S.broadcast_like(data, d.data((2, 3, 4), name="like"), name="op"),
        lambda: S.broadcast_like(data, d.data((5, 4), name="like"), lhs_axes=(0, -1), rhs_axes=(1, 0), name="op"),
    )()


@case
def reshape_like(d):
    if d.flag():
        return S.reshape_like(d.data((2, 6)), d.data((3, 4), name="like"), name="op")
    return S.reshape_like(
        d.data((30, 7)), d.data((15, 2, 4), name="like"), lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=2, name="op"
    )


@case
def shapes(d):
    return operator(d.one("shape_array", "size_array"))(d.data(d.shape()), name="op")


@case
def blocks(d):
    if d.flag():
        return S.depth_to_space(d.data((1, 8, 2, 3)), block_size=2, name="op")
    return S.space_to_depth(d.data((1, 2, 4, 6)), block_size=2, name="op")


@case
def diag(d):
    return S.diag(d.data(d.one((4,), (3, 4), (4, 3))), k=d.int(-1, 1), name="op")


# Joining


@case
def concat(d):
    shape = list(d.shape(2, 4))
    axis = d.int(0, len(shape) - 1)
    parts = []
    for at in range(d.int(1, 3)):
        shape[axis] = d.int(1, 3)
        parts.append(d.data(tuple(shape), name="x%d" % at))
    options = {"dim": axis} if axis != 1 or d.flag() else {}
    return S.Concat(*parts, name="op", **options)


@case
def stack(d):
    shape = d.shape(1, 3)
    return S.stack(
        *[d.data(shape, name="x%d" % at) for at in range(d.int(1, 3))],
        axis=d.int(-len(shape) - 1, len(shape)),
        name="op",
    )


@case
def split(d):
    count = d.int(1, 3)
    squeeze = d.flag()
    axis = d.one(1, 0, 2, -1)
    shape = [2, 3, 4]
    shape[axis] = count * (1 if squeeze else d.int(1, 2))
    options = {"axis": axis} if axis != 1 else {}
    out = S.SliceChannel(d.data(tuple(shape)), num_outputs=count, squeeze_axis=squeeze, name="op", **options)
    return S.Group([out[at] for at in range(count)])


@case
def split_v2(d):
    data = d.data((2, 6))
    out = d.one(
        lambda: S.split_v2(data, 3, axis=1),
        lambda: S.split_v2(data, (2, 3), axis=1),
        lambda: S.split_v2(data, (1,), axis=1),
    )()
    return S.Group([out[at] for at in range(len(out.list_outputs()))])


@case
def slices(d):
    data = d.data((4, 5, 6))
    return d.one(
        lambda: S.slice(data, begin=(1, None, 2), end=(3, 4, None), name="op"),
        lambda: S.slice(data, begin=(0, 1), end=(4, -1), step=(2, 1), name="op"),
        lambda: S.slice(data, begin=(None, None), end=(None, None), step=(-1, -2), name="op"),
        lambda: S.slice(data, begin=(-3, 4), end=(-1, 1), step=(1, -1), name="op"),
        lambda: S.slice(data, begin=(0, 0, 1), end=(4, 5, 3), name="op"),
    )()


@case
def slice_axis(d):
    return S.slice_axis(d.data((4, 5, 6)), axis=d.int(-3, 2), begin=d.one(0, 1, -3), end=d.one(None, 4, -1), name="op")


@case
def slice_like(d):
    data, like = d.data((4, 5, 6)), d.data((2, 3, 4), name="like")
    return S.slice_like(data, like, axes=d.one((), (0,), (1, -1), (0, 2)), name="op")


@case
def crop(d):
    data = d.data((1, 2, 6, 7))
    options = d.one({"center_crop": True}, {}, {"offset": (1, 2)})
    if d.flag():
        return S.Crop(data, d.data((1, 3, 3, 4), name="like"), num_args=2, name="op", **options)
    return S.Crop(data, h_w=(3, 4), num_args=1, name="op", **options)


# Creation


@case
def creation(d):
    data = d.data((2, 3))
    made = d.one(
        lambda: S.zeros(shape=(2, 3)),
        lambda: S.ones(shape=(1, 3)),
        lambda: S.full((2, 3), 1.5),
        lambda: S.Reshape(S.arange(0, 6), shape=(2, 3)),
        lambda: S.Reshape(S.arange(1, 7, 2, repeat=2), shape=(2, 3)),
        lambda: S.zeros_like(data),
        lambda: S.ones_like(data),
        lambda: S.eye(2, 3, 1),
        lambda: S.Reshape(S.arange(6), shape=(2, 3)),
        lambda: S.Reshape(S.linspace(0, 1, 6), shape=(2, 3)),
        lambda: S.Reshape(S.linspace(0, 1, 6, endpoint=False), shape=(2, 3)),
    )()
    return S.broadcast_add(data, made, name="op")


@case
def arange_like(d):
    data = d.data((2, 3, 4))
    options = d.one({}, {"axis": 1}, {"axis": -1}, {"start": 2.0, "step": 0.5}, {"start": 1, "step": 2, "axis": 2})
    return S.contrib.arange_like(data, name="op", **options)


# Dense


@case
def fully_connected(d):
    shape = d.shape(2, 4)
    flatten = d.flag()
    width = int(np.prod(shape[1:])) if flatten else shape[-1]
    no_bias = d.flag()
    inputs = [d.data(shape), d.weight("w", (3, width))]
    if not no_bias:
        inputs.append(d.weight("b", (3,)))
    options = {} if flatten else {"flatten": False}
    return S.FullyConnected(*inputs, num_hidden=3, no_bias=no_bias, name="op", **options)


@case
def dot(d):
    first, second = d.one(
        ((2, 3), (3, 4)),
        ((2, 3, 4), (4, 5)),
        ((3,), (3,)),
        ((2, 4), (4, 3, 2)),
        ((3,), (3, 2)),
        ((2, 3, 4), (4, 3, 2)),
        ((2, 3), (3,)),
    )
    turn, other = len(first) > 1 and len(second) > 1 and d.flag(), len(first) > 1 and len(second) > 1 and d.flag()
    if len(first) > 1 and turn:
        first = (first[-1],) + first[:-1]
    if len(second) > 1 and other:
        second = second[1:] + (second[0],)
    return S.dot(d.data(first), d.data(second, name="other"), transpose_a=turn, transpose_b=other, name="op")


@case
def batch_dot(d):
    turn, other = d.flag(), d.flag()
    first = (2, 4, 3) if turn else (2, 3, 4)
    second = (2, 5, 4) if other else (2, 4, 5)
    return S.batch_dot(d.data(first), d.data(second, name="other"), transpose_a=turn, transpose_b=other, name="op")


@case
def embedding(d):
    indices = d.data(d.shape(1, 3), -2, 8, d.one("float32", "int32"))
    return S.Embedding(indices, d.weight("w", (6, 3)), input_dim=6, output_dim=3, name="op")


@case
def quadratic(d):
    return S.contrib.quadratic(d.data(d.shape()), a=2.0, b=-1.0, c=0.5, name="op")


@case
def div_sqrt_dim(d):
    return S.contrib.div_sqrt_dim(d.data(d.shape()), name="op")


# numpy's names


class NumpyDraw(Draw):
    def variable(self, name):
        return S.var(name).as_np_ndarray()


def numpy_case(function):
    function.numpy = True
    return case(function)


@numpy_case
def np_arithmetic(d):
    np_ = mx.sym.np
    shape = d.shape()
    first, second = d.data(shape), d.data(tuple(d.one(size, 1) for size in shape), name="other")
    return d.one(
        lambda: first + second,
        lambda: first - second,
        lambda: first * second,
        lambda: first / second,
        lambda: np_.maximum(first, second),
        lambda: np_.minimum(first, second),
        lambda: first + 1.5,
        lambda: 2 - first,
        lambda: 1 / first,
        lambda: first * 3,
        lambda: np_.hypot(first, second),
        lambda: np_.arctan2(first, second),
        lambda: first % second,
        lambda: np_.abs(first) ** 1.5,
        lambda: np_.copysign(first, second),
        lambda: 1.5**first,
    )()


@numpy_case
def np_comparison(d):
    first, second = d.data((2, 3)), d.data((2, 3), name="other")
    return d.one(
        lambda: first > second,
        lambda: first <= second,
        lambda: first == second,
        lambda: first < 0.5,
        lambda: first >= 0.0,
        lambda: first != second,
    )()


@numpy_case
def np_unary(d):
    name = d.one(
        "exp",
        "tanh",
        "sin",
        "square",
        "negative",
        "absolute",
        "floor",
        "ceil",
        "trunc",
        "rint",
        "fix",
        "cbrt",
        "degrees",
        "expm1",
        "sign",
        "reciprocal",
        "arctan",
        "sinh",
    )
    return getattr(mx.sym.np, name)(d.data(d.shape()))


@numpy_case
def np_around(d):
    return mx.sym.np.around(d.data(d.shape(), -20, 20), decimals=d.one(0, 1, -1))


@numpy_case
def np_reduction(d):
    np_ = mx.sym.np
    shape = d.shape(1, 3)
    data = d.data(shape)
    options = {"keepdims": d.flag(), "axis": d.one(None, d.int(-len(shape), len(shape) - 1), tuple(range(len(shape))))}
    name = d.one("sum", "mean", "max", "min", "prod", "std", "var")
    return getattr(np_, name)(data, **options)


@numpy_case
def np_argument(d):
    shape = d.shape(1, 3)
    return getattr(mx.sym.np, d.one("argmax", "argmin"))(d.data(shape), axis=d.optional_axis(len(shape)))


@numpy_case
def np_arrangement(d):
    np_, npx = mx.sym.np, mx.sym.npx
    data = d.data((2, 3, 4))
    return d.one(
        lambda: np_.reshape(data, (6, -1)),
        lambda: np_.transpose(data),
        lambda: np_.transpose(data, (1, 0, 2)),
        lambda: np_.expand_dims(data, 1),
        lambda: np_.squeeze(np_.expand_dims(data, 0)),
        lambda: np_.swapaxes(data, 0, 2),
        lambda: np_.moveaxis(data, 0, -1),
        lambda: np_.flip(data, 1),
        lambda: np_.repeat(data, 2, 1),
        lambda: np_.tile(data, (2, 1)),
        lambda: np_.concatenate([data, data], axis=1),
        lambda: np_.stack([data, data], 1),
        lambda: np_.broadcast_to(data, (2, 2, 3, 4)),
        lambda: np_.concatenate([data, data]),
        lambda: npx.reshape(data, (-2, -5)),
        lambda: npx.reshape(data, (-6, 1, -1, -4)),
        lambda: npx.batch_flatten(data),
        lambda: np_.split(data, 2, axis=2)[1],
        lambda: np_.split(data, (1, 3), axis=2)[1],
        lambda: np_.ones_like(data),
        lambda: np_.zeros_like(data),
        lambda: np_.full_like(data, 2),
        lambda: data + np_.zeros((3, 1)),
        lambda: data + np_.ones((4,)),
        lambda: data + np_.arange(4),
        lambda: data + np_.full((4,), 2.5),
        lambda: np_.where(data > 0, data, np_.zeros_like(data)),
        lambda: np_.clip(data, -0.5, 0.5),
        lambda: data.astype("int32"),
        lambda: np_.linspace(0, 1, 4) + data,
    )()


@numpy_case
def np_stacking(d):
    np_ = mx.sym.np
    row, block = d.data((3,), name="row"), d.data((2, 3, 4))
    return d.one(
        lambda: np_.vstack([row, row * 2]),
        lambda: np_.hstack([row, row]),
        lambda: np_.hstack([block, block]),
        lambda: np_.dstack([row, row]),
        lambda: np_.column_stack([row, row]),
        lambda: np_.hsplit(block, 3)[1],
        lambda: np_.dsplit(block, (1, 3))[2],
        lambda: np_.roll(block, 2, axis=2),
        lambda: np_.roll(block, -1),
        lambda: np_.roll(block, (1, 2), axis=(0, 1)),
        lambda: np_.rot90(block, d.int(0, 3), (0, 1)),
        lambda: np_.rot90(block, d.int(-3, 3), (1, 2)),
        lambda: np_.diff(block, 2),
        lambda: np_.diff(block, axis=1),
        lambda: np_.nan_to_num(block / np_.zeros_like(block)),
        lambda: np_.isposinf(block / np_.zeros_like(block)),
        lambda: np_.isneginf(block / np_.zeros_like(block)),
        lambda: np_.hanning(5) + np_.blackman(5) + np_.hamming(5),
        lambda: np_.logspace(0, 2, 5),
        lambda: np_.atleast_3d(row),
        lambda: np_.atleast_2d(block),
        lambda: np_.isfinite(block / np_.zeros_like(block)),
        lambda: np_.any(block > 0, axis=1),
        lambda: np_.all(block > 0),
    )()


@numpy_case
def np_products(d):
    np_ = mx.sym.np
    return d.one(
        lambda: np_.dot(d.data((2, 3)), d.data((3, 4), name="other")),
        lambda: np_.dot(d.data((2, 2, 3)), d.data((3,), name="other")),
        lambda: np_.dot(d.data((3,)), d.data((3,), name="other")),
        lambda: np_.matmul(d.data((2, 2, 3)), d.data((3, 4), name="other")),
        lambda: np_.einsum("bij,bjk->bik", d.data((2, 2, 3)), d.data((2, 3, 4), name="other")),
        lambda: np_.tensordot(d.data((2, 3, 4)), d.data((3, 4, 2), name="other"), axes=2),
        lambda: np_.tensordot(d.data((2, 3, 4)), d.data((5, 3), name="other"), axes=([1], [1])),
    )()


@numpy_case
def npx_layers(d):
    npx = mx.sym.npx
    data = d.data((2, 3, 4, 4))
    return d.one(
        lambda: npx.convolution(data, d.weight("w", (2, 3, 3, 3)), d.weight("b", (2,)), kernel=(3, 3), num_filter=2),
        lambda: npx.pooling(data, kernel=(3, 3), stride=(2, 2), pool_type="avg", pooling_convention="full"),
        lambda: npx.batch_norm(
            data, d.weight("g", (3,)), d.weight("b", (3,)), d.weight("m", (3,)), d.weight("v", (3,), 0.1, 2.0)
        ),
        lambda: npx.fully_connected(data, d.weight("w", (2, 48)), d.weight("b", (2,)), num_hidden=2),
        lambda: npx.layer_norm(data, d.weight("g", (4,)), d.weight("b", (4,))),
        lambda: npx.activation(data, act_type="relu"),
        lambda: npx.leaky_relu(data, act_type="elu"),
        lambda: npx.softmax(data, axis=1),
        lambda: npx.log_softmax(data),
        lambda: npx.relu(data),
        lambda: npx.sigmoid(data),
        lambda: npx.embedding(d.data((2, 3), 0, 5, name="x"), d.weight("w", (5, 2)), input_dim=5, output_dim=2),
        lambda: npx.dropout(data, p=0.3),
        lambda: npx.batch_dot(d.data((2, 3, 4), name="x"), d.data((2, 4, 3), name="y")),
        lambda: npx.arange_like(data, axis=1),
        lambda: npx.gamma(d.data((5,), 0.1, 4, name="x")),
        lambda: npx.reshape_like(data, d.data((6, 16), name="y")),
    )()


def record(function, seed):
    """Return one case as a JSON value."""
    numpy = getattr(function, "numpy", False)
    with mx.name.NameManager(), mx.util.np_shape(numpy), mx.util.np_array(numpy):
        draw = (NumpyDraw if numpy else Draw)(seed)
        symbol = function(draw)
        if numpy:
            symbol = symbol.as_nd_ndarray() if hasattr(symbol, "as_nd_ndarray") else symbol
        arrays = {
            name: mx.nd.array(values(name, *spec, seed=seed), dtype=spec[3])
            for name, spec in list(draw.inputs.items()) + list(draw.params.items())
        }
        arguments = {name: arrays[name] for name in symbol.list_arguments() if name in arrays}
        missing = [name for name in symbol.list_arguments() if name not in arrays]
        if missing:
            shapes = symbol.infer_shape(**{name: each.shape for name, each in arguments.items()})[0]
            arguments.update(
                (name, mx.nd.zeros(shape)) for name, shape in zip(symbol.list_arguments(), shapes) if name in missing
            )
        states = {name: arrays.get(name, mx.nd.zeros(3)) for name in symbol.list_auxiliary_states()}
        bound = symbol.bind(mx.cpu(), arguments, aux_states=states)
        outputs = [each.asnumpy() for each in bound.forward(is_train=False)]
        document = json.loads(symbol.tojson())
    nodes = [
        {key: node[key] for key in ("op", "name", "attrs", "inputs") if node.get(key)} for node in document["nodes"]
    ]
    return {
        "operator": function.__name__,
        "seed": seed,
        "symbol": {"nodes": nodes, "heads": document["heads"], "attrs": document["attrs"]},
        "inputs": draw.inputs,
        "params": draw.params,
        "outputs": [
            {
                "name": name,
                "dtype": each.dtype.name,
                "shape": list(each.shape),
                "data": base64.b64encode(np.ascontiguousarray(each).tobytes()).decode(),
            }
            for name, each in zip(symbol.list_outputs(), outputs)
        ],
    }


#: Functions that stand for many operators.
MANY = {
    "unary",
    "scalar",
    "elementwise",
    "np_arrangement",
    "npx_layers",
    "np_arithmetic",
    "reshape",
    "np_unary",
    "np_stacking",
}


def record_apart(name, seeds):
    """Record in a process of its own, for some uses end MXNet itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "records")
        child = os.fork()
        if child == 0:
            with open(path, "w") as stream:
                for seed in seeds:
                    try:
                        stream.write(json.dumps(record(CASES[name], seed)) + "\n")
                        stream.flush()
                    except Exception as error:
                        print(name, seed, type(error).__name__, str(error).strip().splitlines()[-1:], file=sys.stderr)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            print(name, "ended MXNet", file=sys.stderr)
        with open(path) as stream:
            return [json.loads(line) for line in stream if line.endswith("\n")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))
    records = []
    for name in sorted(CASES):
        if only and name not in only:
            continue
        seeds = range(options.seed, options.seed + options.draws * (3 if name in MANY else 1))
        records += record_apart(name, seeds)
    with lzma.open(options.out, "wt", preset=9) as stream:
        json.dump(records, stream, separators=(",", ":"))
    print(len(records), "cases")


if __name__ == "__main__":
    main()
