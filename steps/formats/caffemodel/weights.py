"""The weights of a caffemodel: whether it is one, and whole.

What does not belong here: the network, which the prototxt describes. A caffemodel repeats it as it was trained, with
data layers, splits and losses, so it is no source for what is deployed.
"""

from typing import Final

from klever.steps.encodings.protobuf import Message
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.files import Source

_V1_LAYERS: Final = 2
_V2_LAYERS: Final = 100
#: ResNet-1001 stores some 5,000.
_MAX_LAYERS: Final = 100_000
#: The fields of NetParameter, those of the usual forks among them.
_FIELDS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 100})


def check_weights(source: Source) -> int:
    """Count the layers of a caffemodel, and make sure that it is one and whole.

    Only tags and lengths are read, so the cost is that of the count of layers. Raises `MalformedModelError`,
    `TruncatedModelError` or `LimitExceededError`.
    """
    layers = 0
    for count, (number, value) in enumerate(Message.of(source)):
        if number not in _FIELDS:
            raise MalformedModelError(f"the caffemodel has a field {number} that no NetParameter has")
        if count > _MAX_LAYERS:
            raise LimitExceededError(f"the caffemodel has more than {_MAX_LAYERS} layers")
        if number in (_V1_LAYERS, _V2_LAYERS):
            if not isinstance(value, Message):
                raise MalformedModelError("the caffemodel has a number in place of a layer")
            layers += 1
    if not layers:
        raise MalformedModelError("the caffemodel stores no layers")
    return layers
