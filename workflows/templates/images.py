"""The table of images: which step runs in which, and which environment of a framework is in which.

What does not belong here: what is inside an image, which its Containerfile says, and where images are pulled from.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: The base install of Klever, small enough to be pulled fast.
STEPS: Final = "steps"
#: The base install and what writes and proves ONNX.
CONVERT: Final = "convert"

#: Verb of ``klever-task`` to its image; ``convert`` runs in the image that its plan names.
IMAGE_OF_STEP: Final[Mapping[str, str]] = MappingProxyType(
    {"extract": STEPS, "plan": STEPS, "publish": STEPS, "targets": STEPS, "gate": STEPS}
)

#: Environment of `klever.steps.environments` to the image that has it; the empty one is a conversion in process. Those
#: that do not run on the images' Python, 3.11, are in none, and a plan that cannot do without one says so.
IMAGE_OF_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "": CONVERT,
        "prove-onnx": CONVERT,
        "prove-mxnet": CONVERT,
        "prove-caffe": CONVERT,
        "prove-xgboost-binary": CONVERT,
        "convert-tensorflow": "convert-keras",
        "convert-torch": "convert-torch",
        "convert-sklearn": "convert-sklearn",
        "convert-sklearn-1.2": "convert-sklearn",
    }
)

#: Every image that the templates name.
IMAGES: Final = tuple(dict.fromkeys((*IMAGE_OF_STEP.values(), *IMAGE_OF_ENVIRONMENT.values())))
