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
        at_least={"numpy": "1.24", "onnxruntime": "1.17"},
    ),
    # MXNet's last release names np.bool, which numpy 1.24 has no more; numpy before it has no wheels for Python 3.12.
    Environment(
        id="prove-mxnet",
        purpose="run MXNet models for their proof",
        pythons=((3, 8), (3, 11), (3, 10), (3, 9)),
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
    ),
    # OpenCV 5 has no Caffe importer.
    Environment(
        id="prove-caffe",
        purpose="run Caffe models for their proof",
        pythons=((3, 12), (3, 11), (3, 10), (3, 9), (3, 8), (3, 13)),
        requirements=("numpy==1.26.4", "opencv-python-headless==4.11.0.86"),
        modules=("cv2.dnn",),
    ),
    # The newest torch reads the archives of all before it, and its exporter of scripts is the most complete. Wheels of
    # the usual index need CUDA's libraries to load even where there is no card: some 3 GB. An index with wheels for the
    # CPU, in pip's own configuration (PIP_EXTRA_INDEX_URL), or the image spares torch's half of that.
    Environment(
        id="convert-torch",
        purpose="convert TorchScript archives and run them for their proof",
        pythons=((3, 11), (3, 12), (3, 13)),
        requirements=(
            "filelock==4.2.11",
            "fsspec==2026.9.0",
            "jinja2==3.1.6",
            "markupsafe==3.0.4",
            "ml-dtypes==0.6.0",
            "mpmath==1.3.0",
            "networkx==3.6.1",
            "numpy==2.4.6",
            "nvidia-cublas==13.4.1.3",
            "nvidia-cuda-cupti==13.2.86",
            "nvidia-cuda-nvrtc==13.2.86",
            "nvidia-cuda-runtime==13.2.86",
            "nvidia-cudnn-cu13==9.26.0.51",
            "nvidia-cufft==12.2.0.57",
            "nvidia-cufile==1.17.1.22",
            "nvidia-cusparse==12.7.10.12",
            "nvidia-cusparselt-cu13==0.8.1",
            "nvidia-nccl-cu13==2.30.7",
            "nvidia-nvjitlink==13.5.37",
            "nvidia-nvshmem-cu13==3.7.2",
            "onnx==1.23.2",
            "protobuf==7.36.2",
            "setuptools==84.2.1",
            "sympy==1.14.0",
            "torch==2.15.0",
            "typing-extensions==4.16.0",
        ),
        modules=("onnx", "torch.onnx"),
        at_least={"onnx": "1.17", "torch": "2.15"},
    ),
    Environment(
        id="convert-sklearn",
        purpose="convert estimators of scikit-learn 1.3 and later, and run them for their proof",
        pythons=((3, 11), (3, 12), (3, 13)),
        requirements=(
            "cloudpickle==3.1.2",
            "flatbuffers==25.12.19",
            "joblib==1.6.0",
            "ml-dtypes==0.6.0",
            "narwhals==2.29.0",
            "numpy==2.4.6",
            "onnx==1.19.1",
            "onnxruntime==1.31.1",
            "packaging==26.3",
            "pandas==3.1.1",
            "protobuf==5.29.6",
            "python-dateutil==4.0.0",
            "scikit-learn==1.9.1",
            "scipy==1.17.1",
            "skl2onnx==1.20.0",
            "threadpoolctl==3.8.0",
            "typing-extensions==4.16.0",
            "tzdata==2026.6",
        ),
        modules=("onnxruntime", "pandas", "skl2onnx", "sklearn"),
    ),
    # Trees of 1.3 have a field that older pickles lack.
    Environment(
        id="convert-sklearn-1.2",
        purpose="convert estimators of scikit-learn 1.0 to 1.2, and run them for their proof",
        pythons=((3, 11), (3, 10), (3, 9)),
        requirements=(
            "flatbuffers==25.9.23",
            "joblib==1.5.3",
            "ml-dtypes==0.5.4",
            "numpy==1.26.4",
            "onnx==1.19.1",
            "onnxruntime==1.19.2",
            "packaging==24.2",
            "pandas==2.3.3",
            "protobuf==5.29.6",
            "python-dateutil==2.9.0.post0",
            "pytz==2026.6",
            "scikit-learn==1.2.2",
            "scipy==1.13.1",
            "six==1.17.0",
            "skl2onnx==1.20.0",
            "threadpoolctl==3.6.0",
            "typing-extensions==4.15.0",
            "tzdata==2026.6",
        ),
        modules=("onnxruntime", "pandas", "skl2onnx", "sklearn"),
    ),
    # The last of the versions whose pickles name losses and trees as those before them did.
    Environment(
        id="convert-sklearn-0.24",
        purpose="convert estimators of scikit-learn before 1.0, and run them for their proof",
        pythons=((3, 8), (3, 9)),
        requirements=(
            "flatbuffers==25.9.23",
            "joblib==1.4.2",
            "numpy==1.22.4",
            "onnx==1.17.0",
            "onnxconverter-common==1.16.0",
            "onnxruntime==1.19.2",
            "packaging==24.2",
            "pandas==2.0.3",
            "protobuf==5.29.5",
            "python-dateutil==2.9.0.post0",
            "pytz==2025.2",
            "scikit-learn==0.24.2",
            "scipy==1.8.1",
            "six==1.17.0",
            "skl2onnx==1.16.0",
            "threadpoolctl==3.5.0",
            "tzdata==2025.2",
        ),
        modules=("onnxruntime", "pandas", "skl2onnx", "sklearn"),
    ),
    Environment(
        id="prove-xgboost",
        purpose="run XGBoost models for their proof",
        pythons=((3, 12), (3, 13)),
        requirements=("numpy==2.4.6", "scipy==1.17.1", "xgboost-cpu==3.4.1"),
        modules=("xgboost",),
        at_least={"numpy": "1.24", "scipy": "1.10", "xgboost-cpu": "3.4"},
    ),
    # XGBoost 3.1 dropped the binary encoding.
    Environment(
        id="prove-xgboost-binary",
        purpose="run XGBoost models in the binary encoding for their proof",
        pythons=((3, 12), (3, 11), (3, 10), (3, 13)),
        requirements=("numpy==1.26.4", "scipy==1.13.1", "xgboost-cpu==2.1.4"),
        modules=("xgboost",),
    ),
    # One environment for Keras 3, tf_keras and tf2onnx: a model in HDF5 takes one start of TensorFlow to become ONNX.
    Environment(
        id="convert-tensorflow",
        purpose="convert Keras and TensorFlow models and run them for their proof",
        pythons=((3, 12), (3, 11), (3, 13)),
        requirements=(
            "absl-py==2.5.1",
            "astunparse==1.6.3",
            "certifi==2026.10.18",
            "charset-normalizer==3.5.2",
            "flatbuffers==25.12.19",
            "gast==0.7.0",
            "google-pasta==0.2.0",
            "grpcio==1.85.1",
            "h5py==3.14.0",
            "idna==3.20",
            "keras==3.15.1",
            "libclang==18.1.1",
            "markdown-it-py==4.3.0",
            "mdurl==0.1.2",
            "ml-dtypes==0.6.0",
            "namex==0.1.0",
            "numpy==2.4.6",
            "onnx==1.23.2",
            "opt-einsum==3.4.0",
            "optree==0.20.0",
            "packaging==26.3",
            "protobuf==7.36.2",
            "pygments==2.21.0",
            "requests==2.34.2",
            "rich==15.0.0",
            "setuptools==80.9.0",
            "six==1.17.0",
            "tensorflow-cpu==2.21.0",
            "termcolor==3.3.0",
            "tf-keras==2.21.0",
            "tf2onnx==1.17.0",
            "typing-extensions==4.16.0",
            "urllib3==2.8.0",
            "wheel==0.48.0",
            "wrapt==2.5.2",
        ),
        modules=("tensorflow", "keras", "tf_keras", "tf2onnx"),
    ),
    # What MLServer needs to start and these runtimes to serve; `serve_mlserver` defers the rest of what it asks for.
    # MLServer does not install on Python 3.13, and asks uvloop for a loop in a way that those from 0.22 on refuse.
    Environment(
        id="serve-mlserver",
        purpose="serve models by MLServer",
        pythons=((3, 12),),
        requirements=(
            "aiofiles==25.1.0",
            "annotated-types==0.8.0",
            "anyio==4.16.0",
            "cachetools==7.3.2",
            "certifi==2026.10.18",
            "charset-normalizer==3.5.2",
            "click==8.5.1",
            "cloudpickle==3.1.2",
            "databricks-sdk==0.156.0",
            "fastapi==0.115.14",
            "flatbuffers==25.12.19",
            "google-auth==2.62.2",
            "googleapis-common-protos==1.76.0",
            "grpcio==1.85.1",
            "h11==0.16.0",
            "idna==3.20",
            "importlib-metadata==9.1.0",
            "importlib-resources==6.5.2",
            "joblib==1.6.0",
            "mlflow-skinny==3.17.2",
            "mlflow-tracing==3.17.2",
            "mlflow==3.17.2",
            "mlserver-mlflow==1.7.1",
            "mlserver-sklearn==1.7.1",
            "mlserver-xgboost==1.7.1",
            "mlserver==1.7.1",
            "narwhals==2.29.0",
            "numpy==2.4.6",
            "onnxruntime==1.31.1",
            "opentelemetry-api==1.45.2",
            "opentelemetry-proto==1.45.2",
            "opentelemetry-sdk==1.45.2",
            "opentelemetry-semantic-conventions==0.66b2",
            "orjson==3.13.0",
            "packaging==26.3",
            "pandas==3.1.1",
            "prometheus-client==0.26.0",
            "protobuf==6.33.6",
            "py-grpc-prometheus==0.8.0",
            "pydantic-core==2.50.4",
            "pydantic-settings==2.16.3",
            "pydantic==2.14.3",
            "python-dateutil==2.9.0.post0",
            "python-dotenv==1.2.4",
            "python-multipart==0.0.34",
            "pyyaml==6.0.3",
            "requests==2.34.2",
            "scikit-learn==1.9.1",
            "scipy==1.17.1",
            "setuptools==80.9.0",
            "six==1.17.0",
            "sqlparse==0.6.1",
            "starlette-exporter==0.24.0",
            "starlette==0.46.2",
            "threadpoolctl==3.8.0",
            "typing-extensions==4.16.0",
            "typing-inspection==0.4.5",
            "tzdata==2026.6",
            "urllib3==2.8.0",
            "uvicorn==0.54.0",
            "uvloop==0.21.0",
            "xgboost-cpu==3.2.0",
            "zipp==4.1.2",
        ),
        modules=("onnxruntime", "sklearn", "xgboost"),
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
