"""Layers that map each element by itself.

From ``src/caffe/layers/*_layer.cpp`` of BVLC Caffe; ``ReLU6`` from the forks that brought MobileNet.
"""

from collections.abc import Callable, Mapping
from math import exp, log
from typing import Final

from klever.steps.converters.caffemodel_to_netdef.site import Site, UncoveredError
from klever.steps.errors import MalformedModelError
from klever.steps.writers.netdef import FLOAT


def affine(site: Site, source: str, scale: float, shift: float, out: str) -> None:
    """Give ``scale * source + shift`` under the name ``out``, without steps that change nothing."""
    if scale != 1:
        source = site.add("Mul", source, site.constant(scale, role="scale"), out=out if shift == 0 else "")
    if shift != 0:
        source = site.add("Add", source, site.constant(shift, role="shift"), out=out)
    site.pass_on(source, out)


def _plain(kind: str) -> Callable[[Site], None]:
    def rule(site: Site) -> None:
        site.add(kind, site.bottom, out=site.top)

    return rule


def _relu(site: Site) -> None:
    slope = site.message("relu_param").number("negative_slope")
    if slope:
        site.add("LeakyRelu", site.bottom, out=site.top, alpha=slope)
    else:
        site.add("Relu", site.bottom, out=site.top)


def _prelu(site: Site) -> None:
    shared = site.message("prelu_param").flag("channel_shared")
    shape = site.shape()
    if len(shape) < 2:
        raise MalformedModelError(f"the PReLU {site.layer.name!r} needs a channel axis, its bottom has rank 1")
    slopes = (1,) if shared else site.known(shape[1:2])
    site.add("PRelu", site.bottom, site.parameter(0, slopes, "slope"), out=site.top)


def _elu(site: Site) -> None:
    site.add("Elu", site.bottom, out=site.top, alpha=site.message("elu_param").number("alpha", 1.0))


def _bnll(site: Site) -> None:
    """Compute log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)): Caffe2's Softplus overflows where Caffe does not."""
    positive = site.add("Relu", site.bottom)
    minus = site.add("Negative", site.add("Abs", site.bottom))
    site.add("Add", positive, site.add("Softplus", minus), out=site.top)


def _exp(site: Site) -> None:
    """Compute base^(shift + scale * x); a base of -1 stands for e."""
    fields = site.message("exp_param")
    base, scale, shift = fields.number("base", -1.0), fields.number("scale", 1.0), fields.number("shift")
    if base != -1 and base <= 0:
        raise MalformedModelError(f"the Exp {site.layer.name!r} has the base {base}")
    rate = 1.0 if base == -1 else log(base)
    source = site.bottom
    if rate * scale != 1:
        source = site.add("Mul", source, site.constant(rate * scale, role="rate"))
    if shift:
        grown = site.add("Exp", source)
        site.add("Mul", grown, site.constant(exp(rate * shift), role="factor"), out=site.top)
    else:
        site.add("Exp", source, out=site.top)


def _log(site: Site) -> None:
    fields = site.message("log_param")
    base, scale, shift = fields.number("base", -1.0), fields.number("scale", 1.0), fields.number("shift")
    if base != -1 and (base <= 0 or base == 1):
        raise MalformedModelError(f"the Log {site.layer.name!r} has the base {base}")
    source = site.bottom
    if (scale, shift) != (1, 0):
        moved = site.name("moved")
        affine(site, source, scale, shift, moved)
        source = moved
    if base == -1:
        site.add("Log", source, out=site.top)
    else:
        site.add("Mul", site.add("Log", source), site.constant(1 / log(base), role="rate"), out=site.top)


def _power(site: Site) -> None:
    """Compute (shift + scale * x)^power."""
    fields = site.message("power_param")
    power, scale, shift = fields.number("power", 1.0), fields.number("scale", 1.0), fields.number("shift")
    if power * scale == 0:
        # The result does not depend on x, not even where x is infinite.
        ones = site.add("Pow", site.bottom, exponent=0.0)
        affine(site, ones, 1.0 if power == 0 else _raised(shift, power), 0.0, site.top)
        return
    if power == 1:
        affine(site, site.bottom, scale, shift, site.top)
        return
    source = site.bottom
    if (scale, shift) != (1, 0):
        source = site.name("moved")
        affine(site, site.bottom, scale, shift, source)
    site.add("Pow", source, out=site.top, exponent=power)


def _raised(base: float, power: float) -> float:
    try:
        raised = base**power
    except (ZeroDivisionError, OverflowError):
        return float("inf")
    return raised if isinstance(raised, float) else float("nan")


def _threshold(site: Site) -> None:
    limit = site.constant(site.message("threshold_param").number("threshold"), role="threshold")
    site.add("Cast", site.add("GT", site.bottom, limit), out=site.top, to=FLOAT)


def _clip(site: Site) -> None:
    fields = site.message("clip_param")
    site.add("Clip", site.bottom, out=site.top, min=fields.number("min"), max=fields.number("max"))


def _relu6(site: Site) -> None:
    slope = site.message("relu_param").number("negative_slope")
    if slope:
        raise UncoveredError("a negative_slope")
    site.add("Clip", site.bottom, out=site.top, min=0.0, max=6.0)


def _swish(site: Site) -> None:
    beta = site.message("swish_param").number("beta", 1.0)
    inner = site.bottom if beta == 1 else site.add("Mul", site.bottom, site.constant(beta, role="beta"))
    site.add("Mul", site.bottom, site.add("Sigmoid", inner), out=site.top)


#: Layer type to its rule.
RULES: Final[Mapping[str, Callable[[Site], None]]] = {
    "AbsVal": _plain("Abs"),
    "BNLL": _bnll,
    "Clip": _clip,
    "CuDNNReLU": _relu,
    "ELU": _elu,
    "Exp": _exp,
    "Log": _log,
    "PReLU": _prelu,
    "Power": _power,
    "ReLU": _relu,
    "ReLU6": _relu6,
    "Sigmoid": _plain("Sigmoid"),
    "Swish": _swish,
    "TanH": _plain("Tanh"),
    "Threshold": _threshold,
}
