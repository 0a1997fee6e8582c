"""The environments that there are: which Python, which distributions, for what.

A requirement is ``NAME==VERSION`` and the list is whole: what is installed is these and nothing that they would pull
in, so that an environment is the same next year. What does not belong here: where an environment lies.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from klever.steps.errors import NotFoundError


@dataclass(frozen=True)
class Environment:
    """One environment."""

    id: str
    #: What it is for, as it follows "needed to": ``run MXNet models for their proof``.
    purpose: str
    #: Versions of Python that it may have, the preferred one first.
    pythons: tuple[tuple[int, int], ...]
    #: All distributions, ``NAME==VERSION`` each, dependencies included.
    requirements: tuple[str, ...]
    #: The modules that have to import for it to be whole.
    modules: tuple[str, ...]
    #: The container image that holds it.
    image: str
    #: Distribution to the lowest version with which the running interpreter serves as well. Where it is empty the
    #: running interpreter serves with exactly the ``requirements``, as it has them in the image.
    at_least: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return twelve hex digits that change with what is installed."""
        lines = (self.id, *(f"{major}.{minor}" for major, minor in self.pythons), *self.requirements)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    @property
    def directory_name(self) -> str:
        """Return the name of its directory; other requirements have another, so that versions of Klever coexist."""
        return f"{self.id}-{self.digest}"


_ALL: Final = (
    Environment(
        id="prove-onnx",
        purpose="run ONNX models for their proof",
        pythons=((3, 12), (3, 13), (3, 11), (3, 10)),
        requirements=("numpy==2.2.6", "onnxruntime==1.20.1"),
        modules=("onnxruntime",),
        image="klever-prove-onnx",
        at_least={"numpy": "1.24", "onnxruntime": "1.17"},
    ),
    # MXNet's last release names np.bool, which numpy 1.24 has no more; numpy before it has no wheels for Python 3.12.
    Environment(
        id="prove-mxnet",
        purpose="run MXNet models for their proof",
        pythons=((3, 8),),
        requirements=(
            "certifi==2024.8.30",
            "charset-normalizer==3.4.0",
            "graphviz==0.8.4",
            "idna==3.10",
            "mxnet==1.9.1",
            "numpy==1.23.5",
            "requests==2.32.3",
            "urllib3==2.2.3",
        ),
        modules=("mxnet",),
        image="klever-prove-mxnet",
    ),
    # The last torch whose wheels hold Caffe2.
    Environment(
        id="prove-caffe2",
        purpose="run Caffe2 models for their proof",
        pythons=((3, 8), (3, 9), (3, 7)),
        requirements=(
            "future==1.0.0",
            "numpy==1.21.6",
            "protobuf==3.20.3",
            "six==1.16.0",
            "torch==1.8.1",
            "typing-extensions==4.7.1",
        ),
        modules=("caffe2.python.workspace",),
        image="klever-prove-caffe2",
    ),
    # OpenCV 5 has no Caffe importer.
    Environment(
        id="prove-caffe",
        purpose="run Caffe models for their proof",
        pythons=((3, 12), (3, 11), (3, 10), (3, 9), (3, 8), (3, 13)),
        requirements=("numpy==1.26.4", "opencv-python-headless==4.11.0.86"),
        modules=("cv2.dnn",),
        image="klever-prove-caffe",
    ),
)

#: Id to environment.
ENVIRONMENTS: Final[Mapping[str, Environment]] = MappingProxyType({entry.id: entry for entry in _ALL})


def environment(environment_id: str) -> Environment:
    """Return an environment by its id; raises `NotFoundError` with those that there are."""
    try:
        return ENVIRONMENTS[environment_id]
    except KeyError:
        raise NotFoundError(
            f"there is no environment {environment_id!r}", next_step=f"choose one of {', '.join(ENVIRONMENTS)}"
        ) from None
