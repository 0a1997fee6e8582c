"""Layers at the ends of a network: sources of data, what only trains, losses, and what has no effect when testing."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Final

from klever.steps.converters.caffemodel_to_netdef.layers.normalisation import softmax
from klever.steps.converters.caffemodel_to_netdef.network import Fill
from klever.steps.converters.caffemodel_to_netdef.site import Site, UncoveredError
from klever.steps.formats.caffemodel.graph import DATA_TYPES

#: What `DummyData` may be filled with in memory, in elements.
_MAX_DUMMY: Final = 100_000_000


def _nothing(site: Site) -> None:
    """Leave the layer out."""
    del site


def _dropout(site: Site) -> None:
    """Pass on; forks whose training does not scale up scale down when testing."""
    fields = site.message("dropout_param")
    if fields.flag("scale_train", default=True):
        site.pass_on(site.bottom, site.top)
        return
    kept = 1.0 - fields.number("dropout_ratio", 0.5)
    site.add("Mul", site.bottom, site.constant(kept, role="kept"), out=site.top)


def _softmax_loss(site: Site) -> None:
    """Give the probabilities that the loss would be computed of."""
    softmax(site)
    for top in site.tops[1:]:
        site.pass_on(site.top, top)


def _sigmoid_loss(site: Site) -> None:
    site.add("Sigmoid", site.bottom, out=site.top)


def _parameter(site: Site) -> None:
    """Let the init net fill the top itself."""
    shape = site.known(site.top_shape())
    site.fill_as(site.top, Fill(shape, (site.blob(0, shape),)))


def _dummy(site: Site) -> None:
    """Fill with constants what a network that is fed otherwise has for a stand-in; its other fillers are random."""
    fields = site.message("dummy_data_param")
    fillers = fields.messages("data_filler")
    for index, top in enumerate(site.tops):
        filler = fillers[min(index, len(fillers) - 1)] if fillers else None
        if filler is not None and filler.text("type", "constant") != "constant":
            raise UncoveredError(f"random numbers of the filler {filler.text('type')[:40]}")
        shape = site.known(site.top_shape(index))
        if prod(shape) > _MAX_DUMMY:
            raise UncoveredError(f"a constant of {prod(shape)} elements")
        site.fill_as(top, Fill(shape, constant=filler.number("value") if filler else 0.0))


def judges(kind: str) -> bool:
    """Tell whether a layer only compares a prediction with labels, and is left out."""
    return kind in ("Accuracy", "DetectionEvaluate") or (kind.endswith("Loss") and kind not in RULES)


#: Layer type to its rule.
RULES: Final[Mapping[str, Callable[[Site], None]]] = {
    **dict.fromkeys(DATA_TYPES, _nothing),
    "Dropout": _dropout,
    "DummyData": _dummy,
    "HDF5Output": _nothing,
    "Input": _nothing,
    "Parameter": _parameter,
    "SigmoidCrossEntropyLoss": _sigmoid_loss,
    "Silence": _nothing,
    "SoftmaxWithLoss": _softmax_loss,
}
