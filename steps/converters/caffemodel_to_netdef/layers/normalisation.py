"""Layers that normalise, and those that scale and shift by learned numbers.

From BVLC Caffe; ``Normalize`` from SSD, ``BN`` from PSPNet and SegNet. The statistics of a BatchNorm are stored with
the factor by which they have to be divided.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.caffemodel_to_netdef.site import NeedsShapeError, Site, UncoveredError
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from klever.steps.converters.caffemodel_to_netdef.network import Argument

_REGIONS: Final = {0: "ACROSS_CHANNELS", 1: "WITHIN_CHANNEL"}
_BN_MODES: Final = {0: "LEARN", 1: "INFERENCE"}


def _channels(site: Site) -> int:
    """Return the size of the channel axis; a bottom of one axis is one channel (``BatchNormLayer::LayerSetUp``)."""
    shape = site.shape()
    return site.known(shape[1:2])[0] if len(shape) > 1 else 1


def _batch_norm(site: Site) -> None:
    fields = site.message("batch_norm_param")
    epsilon = fields.number("eps", 1e-5)
    if not fields.flag("use_global_stats", default=True):
        _normalise_batch(site, epsilon)
        return
    channels = _channels(site)
    mean, variance, factor = site.blob(0, (channels,)), site.blob(1, (channels,)), site.blob(2, (1,))
    statistics = [
        site.computed("mean", (channels,), (mean, factor), _divided),
        site.computed("var", (channels,), (variance, factor), _divided),
    ]
    # NVCaffe keeps what a Scale would do in two blobs more.
    if fields.flag("scale_bias") or len(site.stored) == 5:
        learned = [site.parameter(3, (channels,), "scale"), site.parameter(4, (channels,), "bias")]
    else:
        learned = [site.constant(1.0, (channels,), "scale"), site.constant(0.0, (channels,), "bias")]
    _fixed_norm(site, learned, statistics, epsilon)


def _fixed_norm(site: Site, learned: Sequence[str], statistics: Sequence[str], epsilon: float) -> None:
    arguments: dict[str, Argument] = {"is_test": 1, "order": "NCHW", "epsilon": epsilon}
    if len(site.shape()) > 1:
        site.add("SpatialBN", site.bottom, *learned, *statistics, out=site.top, arguments=arguments)
        return
    column = site.add("ExpandDims", site.bottom, dims=(1,))
    column = site.add("SpatialBN", column, *learned, *statistics, arguments=arguments)
    site.add("Squeeze", column, out=site.top, dims=(1,))


def _divided(arrays: "Sequence[NDArray[Any]]") -> "NDArray[Any]":
    """Undo the factor of the moving average; where it is zero nothing was ever averaged."""
    statistic, factor = arrays
    by = factor.reshape(-1)[0]
    divided: NDArray[Any] = statistic * (by * 0 if by == 0 else 1 / by)
    return divided


def _normalise_batch(site: Site, epsilon: float) -> None:
    """Normalise by the statistics of the very batch, where the network asks for that while testing."""
    axes = tuple(axis for axis in range(len(site.shape())) if axis != 1)
    mean = site.add("ReduceMean", site.bottom, axes=axes, keepdims=1)
    centred = site.add("Sub", site.bottom, mean)
    variance = site.add("ReduceMean", site.add("Sqr", centred), axes=axes, keepdims=1)
    deviation = site.add("Sqrt", site.add("Add", variance, site.constant(epsilon, role="eps")))
    site.add("Div", centred, deviation, out=site.top)


def _bn(site: Site) -> None:
    """PSPNet's layer stores scale, shift, mean and variance; SegNet's folds them into a scale and a shift to deploy."""
    fields = site.message("bn_param")
    channels = _channels(site)
    mode = site.choice(fields, "bn_mode", _BN_MODES, "LEARN")
    if mode == "INFERENCE" or len(site.stored) == 2:
        if mode != "INFERENCE":
            raise UncoveredError("statistics of the batch; save the network with bn_mode INFERENCE")
        shape = (channels, *[1] * (len(site.shape()) - 2))
        scaled = site.add("Mul", site.bottom, site.parameter(0, shape, "scale"))
        site.add("Add", scaled, site.parameter(1, shape, "shift"), out=site.top)
        return
    learned = [site.parameter(0, (channels,), "scale"), site.parameter(1, (channels,), "bias")]
    statistics = [site.parameter(2, (channels,), "mean"), site.parameter(3, (channels,), "var")]
    _fixed_norm(site, learned, statistics, fields.number("eps", 1e-5))


def _scale(site: Site) -> None:
    fields = site.message("scale_param")
    _broadcast(site, "Mul", "scale", fields.integer("axis", 1), fields.integer("num_axes", 1), fields.flag("bias_term"))


def _bias(site: Site) -> None:
    fields = site.message("bias_param")
    _broadcast(site, "Add", "bias", fields.integer("axis", 1), fields.integer("num_axes", 1), False)


def _broadcast(site: Site, kind: str, role: str, axis: int, span: int, biased: bool) -> None:
    """Lay a second bottom, or a stored blob, over the first from an axis on."""
    shape = site.shape()
    two = len(site.bottoms) > 1
    if two:
        laid = site.shape(1)
        # A scalar lies over everything, at whatever axis.
        start = site.axis(axis) if laid else 0
    else:
        start = site.axis(axis) if span else 0
        laid = shape[start:] if span == -1 else shape[start : start + span]
    behind = len(shape) - start - len(laid)
    if behind < 0 or span < -1 or (not two and span > len(laid)):
        raise MalformedModelError(f"the {site.layer.type} {site.layer.name!r} reaches beyond the axes of its bottom")
    if two:
        operand = site.bottoms[1]
        if behind and laid:
            operand = site.add("ExpandDims", operand, dims=tuple(range(len(laid), len(laid) + behind)))
    else:
        operand = site.parameter(0, (*site.known(laid), *[1] * behind), role)
    result = site.add(kind, site.bottom, operand, out="" if biased else site.top)
    if biased:
        if UNKNOWN in laid:
            # The bias covers the batch too, which the stored blob knows the size of.
            raise NeedsShapeError(site.bottom)
        bias = site.parameter(0 if two else 1, (*laid, *[1] * behind), "bias")
        site.add("Add", result, bias, out=site.top)


def _lrn(site: Site) -> None:
    """Divide by (k + alpha / n * sum of squares)^beta across channels, or by the average of squares around a pixel."""
    fields = site.message("lrn_param")
    size, alpha, beta = fields.integer("local_size", 5), fields.number("alpha", 1.0), fields.number("beta", 0.75)
    if size < 1 or size % 2 == 0:
        raise MalformedModelError(f"the LRN {site.layer.name!r} has a local_size of {size}, which has to be odd")
    if site.choice(fields, "norm_region", _REGIONS, "ACROSS_CHANNELS") == "ACROSS_CHANNELS":
        arguments: dict[str, Argument] = {
            "size": size,
            "alpha": alpha,
            "beta": beta,
            "bias": fields.number("k", 1.0),
            "order": "NCHW",
        }
        site.add("LRN", site.bottom, out=(site.top, site.name("lrn_scale")), arguments=arguments)
        return
    # `LRNLayer` builds this of a Power, an average Pooling whose windows count their padding, and another Power that
    # adds 1, not k.
    image = site.add("Sqr", site.bottom)
    if size > 1:
        image = site.add("PadImage", image, pads=(size // 2,) * 4)
        image = site.add("AveragePool", image, kernels=(size, size), strides=(1, 1))
    scaled = site.add("Add", site.add("Mul", image, site.constant(alpha, role="alpha")), site.constant(1.0, role="k"))
    site.add("Mul", site.bottom, site.add("Pow", scaled, exponent=-beta), out=site.top)


def _mvn(site: Site) -> None:
    """Subtract the mean and divide by the standard deviation, to which eps is added after the root."""
    fields = site.message("mvn_param")
    rank = len(site.shape())
    axes = tuple(range(1 if fields.flag("across_channels") else 2, rank))
    if not axes:
        raise UncoveredError("an image without axes to average over")
    mean = site.add("ReduceMean", site.bottom, axes=axes, keepdims=1)
    if not fields.flag("normalize_variance", default=True):
        site.add("Sub", site.bottom, mean, out=site.top)
        return
    centred = site.add("Sub", site.bottom, mean)
    deviation = site.add("Sqrt", site.add("ReduceMean", site.add("Sqr", centred), axes=axes, keepdims=1))
    deviation = site.add("Add", deviation, site.constant(fields.number("eps", 1e-9), role="eps"))
    site.add("Div", centred, deviation, out=site.top)


def _normalize(site: Site) -> None:
    """SSD's layer: divide by the L2 norm over an image or over the channels of a pixel, then scale."""
    fields = site.message("norm_param")
    shape = site.shape()
    if len(shape) < 2:
        raise MalformedModelError(f"the Normalize {site.layer.name!r} needs a channel axis")
    axes = tuple(range(1, len(shape))) if fields.flag("across_spatial", default=True) else (1,)
    total = site.add("ReduceSum", site.add("Sqr", site.bottom), axes=axes, keepdims=1)
    total = site.add("Add", total, site.constant(fields.number("eps", 1e-10), role="eps"))
    normal = site.add("Div", site.bottom, site.add("Sqrt", total))
    shared = fields.flag("channel_shared", default=True)
    scale = (1,) if shared else (*site.known(shape[1:2]), *[1] * (len(shape) - 2))
    site.add("Mul", normal, site.parameter(0, scale, "scale"), out=site.top)


def softmax(site: Site) -> None:
    """Apply the softmax along one axis; Caffe2's takes all axes from one on together."""
    fields = site.message("softmax_param")
    axis = site.axis(fields.integer("axis", 1))
    shape = site.shape()
    if prod(shape[axis + 1 :]) == 1 and UNKNOWN not in shape[axis + 1 :]:
        site.add("Softmax", site.bottom, out=site.top, axis=axis)
        return
    last = len(shape) - 1
    order = tuple(last if at == axis else axis if at == last else at for at in range(len(shape)))
    moved = site.add("Transpose", site.bottom, axes=order)
    site.add("Transpose", site.add("Softmax", moved, axis=last), out=site.top, axes=order)


#: Layer type to its rule.
RULES: Final[Mapping[str, Callable[[Site], None]]] = {
    "BN": _bn,
    "BatchNorm": _batch_norm,
    "Bias": _bias,
    "CuDNNBatchNorm": _batch_norm,
    "LRN": _lrn,
    "MVN": _mvn,
    "Normalize": _normalize,
    "Scale": _scale,
    "Softmax": softmax,
}
