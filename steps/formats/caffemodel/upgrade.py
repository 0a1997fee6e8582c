"""The older ways to write a Caffe network, brought to today's: what Caffe's ``upgrade_proto.cpp`` does on loading.

Three generations exist. V0 (2013) nests a ``layer`` with flat parameters in each ``layers``; V1 (2014) names types
by enumerators in ``layers``; V2 has ``layer`` with a string for its type. What does not belong here: what layers mean.
"""

from typing import Final

from klever.steps.encodings.prototext import Fields, Symbol, Value
from klever.steps.errors import MalformedModelError

#: V1's ``LayerType``: number in the binary file, enumerator in the text, type since V2.
_V1_TYPES: Final = (
    (1, "ACCURACY", "Accuracy"),
    (2, "BNLL", "BNLL"),
    (3, "CONCAT", "Concat"),
    (4, "CONVOLUTION", "Convolution"),
    (5, "DATA", "Data"),
    (6, "DROPOUT", "Dropout"),
    (7, "EUCLIDEAN_LOSS", "EuclideanLoss"),
    (8, "FLATTEN", "Flatten"),
    (9, "HDF5_DATA", "HDF5Data"),
    (10, "HDF5_OUTPUT", "HDF5Output"),
    (11, "IM2COL", "Im2col"),
    (12, "IMAGE_DATA", "ImageData"),
    (13, "INFOGAIN_LOSS", "InfogainLoss"),
    (14, "INNER_PRODUCT", "InnerProduct"),
    (15, "LRN", "LRN"),
    (16, "MULTINOMIAL_LOGISTIC_LOSS", "MultinomialLogisticLoss"),
    (17, "POOLING", "Pooling"),
    (18, "RELU", "ReLU"),
    (19, "SIGMOID", "Sigmoid"),
    (20, "SOFTMAX", "Softmax"),
    (21, "SOFTMAX_LOSS", "SoftmaxWithLoss"),
    (22, "SPLIT", "Split"),
    (23, "TANH", "TanH"),
    (24, "WINDOW_DATA", "WindowData"),
    (25, "ELTWISE", "Eltwise"),
    (26, "POWER", "Power"),
    (27, "SIGMOID_CROSS_ENTROPY_LOSS", "SigmoidCrossEntropyLoss"),
    (28, "HINGE_LOSS", "HingeLoss"),
    (29, "MEMORY_DATA", "MemoryData"),
    (30, "ARGMAX", "ArgMax"),
    (31, "THRESHOLD", "Threshold"),
    (32, "DUMMY_DATA", "DummyData"),
    (33, "SLICE", "Slice"),
    (34, "MVN", "MVN"),
    (35, "ABSVAL", "AbsVal"),
    (36, "SILENCE", "Silence"),
    (37, "CONTRASTIVE_LOSS", "ContrastiveLoss"),
    (38, "EXP", "Exp"),
    (39, "DECONVOLUTION", "Deconvolution"),
)
_BY_NUMBER: Final = {number: name for number, _, name in _V1_TYPES}
_BY_WORD: Final = {word: name for _, word, name in _V1_TYPES}

#: V0 types to today's.
_V0_TYPES: Final = {
    "accuracy": "Accuracy",
    "bnll": "BNLL",
    "concat": "Concat",
    "conv": "Convolution",
    "data": "Data",
    "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "im2col": "Im2col",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "window_data": "WindowData",
}
#: The parameter message of a type that V0 gave flat parameters, and how those that changed their name are called.
_V0_MESSAGES: Final = {
    "Concat": "concat_param",
    "Convolution": "convolution_param",
    "Data": "data_param",
    "Dropout": "dropout_param",
    "HDF5Data": "hdf5_data_param",
    "ImageData": "image_data_param",
    "InnerProduct": "inner_product_param",
    "LRN": "lrn_param",
    "Pooling": "pooling_param",
    "WindowData": "window_data_param",
}
_V0_NAMES: Final = {
    "biasterm": "bias_term",
    "kernelsize": "kernel_size",
    "batchsize": "batch_size",
    "cropsize": "crop_size",
}


def v1_type(value: int | str) -> str:
    """Return today's name for a V1 type, by number or enumerator; an enumerator of a fork stays as it is."""
    if isinstance(value, int):
        return _BY_NUMBER.get(value, str(value))
    return _BY_WORD.get(value, value)


def upgrade_v1(layer: Fields) -> Fields:
    """Return a V1 layer, or the V0 one that it wraps, as a V2 layer."""
    if "layer" in layer:
        return _upgrade_v0(layer)
    kinds = layer.values("type")
    kind = kinds[-1] if kinds else "NONE"
    if isinstance(kind, Fields | float):
        raise MalformedModelError(f"the layer {layer.text('name')!r} has a type that is no enumerator")
    return layer.with_values(type=[v1_type(kind)])


def _upgrade_v0(wrapper: Fields) -> Fields:
    inner = wrapper.message("layer")
    old = inner.text("type")
    kind = "Padding" if old == "padding" else _V0_TYPES.get(old, old)
    values: dict[str, list[Value]] = {"type": [kind], "name": list(inner.values("name"))}
    for name in ("bottom", "top", "include", "exclude"):
        values[name] = list(wrapper.values(name))
    flat = {_V0_NAMES.get(name, name): inner.values(name) for name in inner if name not in ("name", "type", "blobs")}
    if "pool" in flat and kind == "Pooling":
        flat["pool"] = [value if isinstance(value, Symbol) else Symbol(str(value)) for value in flat["pool"]]
    message = _V0_MESSAGES.get(kind, "padding_param" if kind == "Padding" else "")
    if message:
        values[message] = [Fields(flat)]
    return Fields({name: chosen for name, chosen in values.items() if chosen})
