"""What each of Spark's stages takes and gives, by its class and parameters.

Facts from the API documentation of ``org.apache.spark.ml`` and ``org.apache.spark.mllib``, versions 1.4
to 4.0. A vector column is float64 of shape ``[-1, n]``, an array of text ``[-1, -1]``, a number
``[-1]``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from klever.steps.model.shapes import Shape
from klever.steps.model.signature import Tensor

#: dtype and shape of a column.
Column = tuple[str | None, Shape]

_NUMBER: Final[Column] = ("float64", (-1,))
_INTEGER: Final[Column] = ("int32", (-1,))
_TEXT: Final[Column] = ("object", (-1,))
_TEXTS: Final[Column] = ("object", (-1, -1))
_VECTOR: Final[Column] = ("float64", (-1, -1))
#: Numbers, text or vectors, as the data has it.
_ANY: Final[Column] = (None, None)
_SCALAR: Final[Column] = (None, (-1,))

#: Class name, without ``Model``, to the kinds of its input and output columns.
_TRANSFORMERS: Final = MappingProxyType({
    "Tokenizer": (_TEXT, _TEXTS),
    "RegexTokenizer": (_TEXT, _TEXTS),
    "StopWordsRemover": (_TEXTS, _TEXTS),
    "NGram": (_TEXTS, _TEXTS),
    "HashingTF": (_TEXTS, _VECTOR),
    "CountVectorizer": (_TEXTS, _VECTOR),
    "Word2Vec": (_TEXTS, _VECTOR),
    "FeatureHasher": (_SCALAR, _VECTOR),
    "VectorAssembler": (_ANY, _VECTOR),
    "Interaction": (_ANY, _VECTOR),
    "StringIndexer": (_SCALAR, _NUMBER),
    "IndexToString": (_NUMBER, _TEXT),
    "OneHotEncoder": (_NUMBER, _VECTOR),
    "OneHotEncoderEstimator": (_NUMBER, _VECTOR),
    "Bucketizer": (_NUMBER, _NUMBER),
    "Binarizer": (_ANY, _ANY),
    "Imputer": (_SCALAR, _SCALAR),
    "VectorSizeHint": (_VECTOR, _VECTOR),
    **dict.fromkeys(
        (
            "IDF", "StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "Normalizer", "PCA", "DCT",
            "PolynomialExpansion", "ElementwiseProduct", "VectorSlicer", "VectorIndexer", "ChiSqSelector",
            "UnivariateFeatureSelector", "VarianceThresholdSelector",
        ),
        (_VECTOR, _VECTOR),
    ),
    "MinHashLSH": (_VECTOR, _ANY),
    "BucketedRandomProjectionLSH": (_VECTOR, _ANY),
})  # fmt: skip
#: The parameter that sizes the vector a transformer gives.
_WIDTHS: Final = MappingProxyType({
    "HashingTF": "numFeatures", "FeatureHasher": "numFeatures", "Word2Vec": "vectorSize", "PCA": "k",
    "VectorSizeHint": "size",
})  # fmt: skip
#: Clusterings, whose prediction is the index of a cluster.
_CLUSTERINGS: Final = frozenset({"KMeans", "BisectingKMeans", "GaussianMixture", "StreamingKMeans"})


@dataclass
class Stage:
    """One saved stage: its class, its parameters with their defaults, and what else its metadata says."""

    class_name: str
    parameters: Mapping[str, Any]
    metadata: Mapping[str, Any]
    inputs: dict[str, Column] = field(default_factory=dict)
    outputs: dict[str, Column] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The class without its package."""
        return self.class_name.rpartition(".")[2]

    @property
    def kind(self) -> str:
        """The algorithm, be it fitted or not."""
        return self.name.removesuffix("Model")

    @property
    def label(self) -> str | None:
        """The column that is needed for fitting alone."""
        label = self.parameters.get("labelCol")
        return label if isinstance(label, str) else None

    def find_columns(self) -> None:
        """Work out ``inputs`` and ``outputs``."""
        if self.class_name.startswith("org.apache.spark.mllib."):
            self._find_rdd_columns()
            return
        given, made = _TRANSFORMERS.get(self.kind, (_ANY, _ANY))
        width = self._size(_WIDTHS.get(self.kind, ""))
        if made == _VECTOR and width != -1:
            made = ("float64", (-1, width))
        if self.kind == "RFormula":
            # What it takes is in its formula; "featuresCol" is what it gives.
            self.outputs.update((name, _VECTOR) for name in self._names("featuresCol"))
            return
        # Stages that came to take several columns keep a default for the one, which then means nothing.
        several = "outputCols" in self.parameters
        self.inputs.update((name, given) for name in self._names("inputCols") or self._names("inputCol"))
        self.outputs.update((name, made) for name in self._names("outputCols" if several else "outputCol"))
        if "predictionCol" in self.parameters or "topicDistributionCol" in self.parameters:
            self._find_predictor_columns()

    def _find_predictor_columns(self) -> None:
        features: Column = ("float64", (-1, self._size("numFeatures")))
        scores: Column = ("float64", (-1, self._size("numClasses", "k" if self.kind in _CLUSTERINGS else "")))
        prediction = _INTEGER if self.kind in _CLUSTERINGS else _NUMBER
        if self.kind == "ALS":
            prediction = ("float32", (-1,))
            self.inputs.update((name, _INTEGER) for name in self._names("userCol", "itemCol"))
        elif self.kind == "FPGrowth":
            prediction = _ANY
            self.inputs.update((name, _ANY) for name in self._names("itemsCol"))
        elif self.kind == "IsotonicRegression":
            features = _ANY  # a number or a vector
        self.inputs.update((name, features) for name in self._names("featuresCol"))
        self.outputs.update((name, scores) for name in self._names("rawPredictionCol", "probabilityCol"))
        self.outputs.update((name, prediction) for name in self._names("predictionCol"))
        topics: Column = ("float64", (-1, self._size("k")))
        self.outputs.update((name, topics) for name in self._names("topicDistributionCol"))
        self.outputs.update((name, _VECTOR) for name in self._names("quantilesCol", "leafCol"))
        self.outputs.update((name, _NUMBER) for name in self._names("varianceCol", "linkPredictionCol"))

    def _find_rdd_columns(self) -> None:
        """Describe a model of the RDD-based API, which has no columns; names are Spark ML's defaults."""
        features: Column = ("float64", (-1, self._size("numFeatures")))
        if self.kind == "MatrixFactorization":
            self.inputs.update(user=_INTEGER, product=_INTEGER)
            self.outputs["rating"] = _NUMBER
        elif self.kind == "Word2Vec":
            self.inputs["word"] = _TEXT
            self.outputs["vector"] = ("float64", (-1, self._size("vectorSize")))
        elif self.kind in _CLUSTERINGS:
            self.inputs["features"] = features
            self.outputs["prediction"] = _INTEGER
        elif self.kind == "ChiSqSelector":
            self.inputs["features"] = self.outputs["selectedFeatures"] = _VECTOR
        elif self.kind not in ("FPGrowth", "PrefixSpan", "PowerIterationClustering", "DistributedLDA", "LocalLDA"):
            self.inputs["features"] = _NUMBER if self.kind == "IsotonicRegression" else features
            self.outputs["prediction"] = _NUMBER

    def _names(self, *parameters: str) -> list[str]:
        """Return the columns that the parameters name; an empty name turns a column off."""
        names: list[str] = []
        for parameter in parameters:
            value = self.parameters.get(parameter)
            listed = value if isinstance(value, list) else [value]
            names += [name for name in listed if isinstance(name, str) and name]
        return names

    def _size(self, *keys: str) -> int:
        """Return the first size that the metadata or a parameter tells, -1 where none does."""
        for key in keys:
            for place in (self.metadata, self.parameters):
                size = place.get(key)
                if type(size) is int and size > 0:
                    return size
        return -1


def tensors(columns: Mapping[str, Column]) -> tuple[Tensor, ...]:
    """Return the columns as tensors, in their order."""
    return tuple(Tensor(name=name, dtype=dtype, shape=shape) for name, (dtype, shape) in columns.items())
