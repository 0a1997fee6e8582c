"""What nets that still hold their training heads compute of labels: losses and accuracy.

Source: ``cross_entropy_op``, ``softmax_with_loss_op`` and ``accuracy_op`` in ``caffe2/operators``.
"""

from typing import Final

from klever.steps.converters.netdef_to_onnx.call import Call, RefusedError, Result, Rules
from klever.steps.converters.netdef_to_onnx.rules import normalisation

#: The least probability whose logarithm is taken: ``kLOG_THRESHOLD``.
_LEAST: Final = 1e-20


def _labelled(call: Call, rows: str, index: int = 1) -> str:
    """Return the element of each row that the labels name."""
    if (shape := call.value().shape) is not None and len(shape) == 2:
        call.limit(index, 0, shape[1])
    places = call.unsqueeze(call.reshape(call.int64(index), [-1]), [1])
    return call.reshape(call.add("GatherElements", rows, places, axis=1), [-1])


def _label_loss(call: Call) -> Result:
    probability = call.add("Max", _labelled(call, call.input()), call.scalar(_LEAST))
    return call.give("Neg", call.add("Log", probability))


def _loss(call: Call) -> Result:
    """Weigh the logarithms of probabilities by those that are wanted."""
    logarithm = call.add("Log", call.add("Max", call.input(0), call.scalar(_LEAST)))
    product = call.add("Mul", call.input(1), logarithm)
    return call.give("Neg", call.reduce("ReduceSum", product, [1], keepdims=False))


def _softmax_with_loss(call: Call) -> Result:
    """Give probabilities, and the mean of the losses, weighted where weights come as a third input."""
    probabilities = normalisation.RULES["Softmax"](call)
    if not isinstance(probabilities, str):
        raise RefusedError("without probabilities")
    if call.flag("label_prob") or call.flag("average_by_batch_size") or len(call.operator.outputs) < 2:
        return [probabilities, None]
    rows = call.add("Flatten", call.input(), axis=call.integer("axis", 1))
    losses = call.add("Neg", _labelled(call, call.add("LogSoftmax", rows, axis=1)))
    if len(call) > 2:
        weights = call.reshape(call.input(2), [-1])
        total = call.reduce("ReduceSum", call.add("Mul", losses, weights), [0], keepdims=False)
        mean = call.add("Div", total, call.reduce("ReduceSum", weights, [0], keepdims=False))
    else:
        mean = call.reduce("ReduceMean", losses, [0], keepdims=False)
    return probabilities, call.give("Mul", mean, call.scalar(call.number("scale", 1.0)), at=1)


def _accuracy(call: Call) -> Result:
    """Give the part of rows whose label is among the ``top_k`` largest; of equal ones the first counts."""
    own = call.unsqueeze(_labelled(call, call.input()), [1])
    width = call.reshape(call.sizes(call.input(), [1]), [])
    places = call.unsqueeze(call.add("Range", call.constant(0), width, call.constant(1)), [0])
    label = call.unsqueeze(call.reshape(call.int64(1), [-1]), [1])
    before = call.add("And", call.add("Equal", call.input(), own), call.add("Less", places, label))
    ahead = call.cast(call.add("Or", call.add("Greater", call.input(), own), before), "int32")
    rank = call.reduce("ReduceSum", ahead, [1], keepdims=False)
    right = call.add("Less", rank, call.constant(call.integer("top_k", 1), dtype="int32"))
    return call.give_reduced("ReduceMean", call.cast(right, "float32"), [0], keepdims=False)


RULES: Final[Rules] = {
    "Accuracy": _accuracy,
    "CrossEntropy": _loss,
    "LabelCrossEntropy": _label_loss,
    "SoftmaxWithLoss": _softmax_with_loss,
}
