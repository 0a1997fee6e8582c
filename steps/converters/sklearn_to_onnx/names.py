"""What an estimator's pickle may name: exact names, each known to make a value and do nothing else.

Unpickling calls what a file names, so that only a file all of whose names stand here is ever unpickled. What does not
belong here: the reading of the pickle.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from klever.steps.converters.sklearn_to_onnx.estimators import ESTIMATORS
from klever.steps.encodings.pickle import Global
from klever.steps.frameworks.callables import Risk, judge


def _names(table: Mapping[str, str]) -> frozenset[str]:
    return frozenset(
        f"{module}.{name}" for modules, names in table.items() for module in modules.split() for name in names.split()
    )


#: What estimators are made of beside each other: values, arrays, trees, losses, kernels, settings of their training.
_PARTS: Final[Mapping[str, str]] = {
    "builtins": """
        bool bytearray bytes complex dict float frozenset int list object range set slice str tuple""",
    "collections": "OrderedDict defaultdict",
    "copyreg": "_reconstructor",
    "_codecs": "encode",
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "numpy": """
        bool bool_ dtype float16 float32 float64 int16 int32 int64 int8 intp ndarray object_ str_ uint16 uint32 uint64
        uint8""",
    "numpy.core.multiarray numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric numpy._core.numeric": "_frombuffer",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray _mareconstruct",
    "numpy.random": "__RandomState_ctor",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "scipy.sparse.csr scipy.sparse._csr": "csr_array csr_matrix",
    "scipy.sparse.csc scipy.sparse._csc": "csc_array csc_matrix",
    "sklearn._loss._loss": """
        CyAbsoluteError CyExponentialLoss CyHalfBinomialLoss CyHalfGammaLoss CyHalfMultinomialLoss CyHalfPoissonLoss
        CyHalfSquaredError CyHalfTweedieLoss CyHalfTweedieLossIdentity CyHuberLoss CyPinballLoss
        __pyx_unpickle_CyAbsoluteError __pyx_unpickle_CyExponentialLoss __pyx_unpickle_CyHalfBinomialLoss
        __pyx_unpickle_CyHalfGammaLoss __pyx_unpickle_CyHalfMultinomialLoss __pyx_unpickle_CyHalfPoissonLoss
        __pyx_unpickle_CyHalfSquaredError __pyx_unpickle_CyHalfTweedieLoss
        __pyx_unpickle_CyHalfTweedieLossIdentity __pyx_unpickle_CyHuberLoss __pyx_unpickle_CyPinballLoss""",
    "sklearn._loss.glm_distribution": "DistributionBoundary GammaDistribution PoissonDistribution TweedieDistribution",
    "sklearn._loss.link": "HalfLogitLink IdentityLink Interval LogLink LogitLink MultinomialLogit",
    "sklearn._loss.loss": """
        AbsoluteError ExponentialLoss HalfBinomialLoss HalfGammaLoss HalfMultinomialLoss HalfPoissonLoss
        HalfSquaredError HalfTweedieLoss HalfTweedieLossIdentity HuberLoss PinballLoss""",
    "sklearn.calibration": "_CalibratedClassifier _SigmoidCalibration _TemperatureScaling",
    "sklearn.compose._column_transformer": "_RemainderColsList make_column_selector",
    "sklearn.dummy": "DummyClassifier DummyRegressor",
    "sklearn.ensemble._gb_losses": """
        BinomialDeviance ExponentialLoss HuberLossFunction LeastAbsoluteError LeastSquaresError MultinomialDeviance
        QuantileLossFunction""",
    "sklearn.ensemble._hist_gradient_boosting.binning": "_BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.loss": """
        BinaryCrossEntropy CategoricalCrossEntropy LeastAbsoluteDeviation LeastSquares Poisson""",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
    "sklearn.feature_selection._univariate_selection": "chi2 f_classif f_oneway f_regression r_regression",
    "sklearn.gaussian_process.kernels": """
        CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Hyperparameter Kernel Matern
        PairwiseKernel Product RBF RationalQuadratic Sum WhiteKernel""",
    "sklearn.gaussian_process._gpc": "_BinaryGaussianProcessClassifierLaplace",
    "sklearn.isotonic": "IsotonicRegression",
    "sklearn.linear_model._glm.link": "HalfLogitLink IdentityLink LogLink LogitLink",
    "sklearn.linear_model._sgd_fast": """
        EpsilonInsensitive Hinge Huber Log ModifiedHuber SquaredEpsilonInsensitive SquaredHinge SquaredLoss""",
    "sklearn.metrics._classification": "accuracy_score balanced_accuracy_score",
    "sklearn.metrics._dist_metrics sklearn.neighbors._dist_metrics": """
        ChebyshevDistance EuclideanDistance EuclideanDistance64 ManhattanDistance ManhattanDistance64
        MinkowskiDistance MinkowskiDistance64 newObj""",
    "sklearn.metrics._scorer": """
        _PassthroughScorer _PredictScorer _ProbaScorer _Scorer _ThresholdScorer _passthrough_scorer""",
    "sklearn.metrics._scorer sklearn.model_selection._classification_threshold": "_CurveScorer",
    "sklearn.model_selection._split": """
        GroupKFold KFold RepeatedKFold RepeatedStratifiedKFold ShuffleSplit StratifiedKFold StratifiedShuffleSplit
        TimeSeriesSplit""",
    "sklearn.neighbors._ball_tree": "BallTree BallTree64 newObj",
    "sklearn.neighbors._kd_tree": "KDTree KDTree64 newObj",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.tree._tree": "Tree",
    "sklearn.utils sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",
}
_ALLOWED: Final = _names(ESTIMATORS) | _names(_PARTS)

#: Modules as Python 2, joblib inside of scikit-learn before 0.21, and scikit-learn before 0.22 called them.
_MOVED: Final[Mapping[str, str]] = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "sklearn.externals.joblib.numpy_pickle": "joblib.numpy_pickle",
    "sklearn.cluster.k_means_": "sklearn.cluster._kmeans",
    "sklearn.cross_decomposition.pls_": "sklearn.cross_decomposition._pls",
    "sklearn.decomposition.incremental_pca": "sklearn.decomposition._incremental_pca",
    "sklearn.decomposition.kernel_pca": "sklearn.decomposition._kernel_pca",
    "sklearn.decomposition.pca": "sklearn.decomposition._pca",
    "sklearn.decomposition.truncated_svd": "sklearn.decomposition._truncated_svd",
    "sklearn.ensemble.bagging": "sklearn.ensemble._bagging",
    "sklearn.ensemble.forest": "sklearn.ensemble._forest",
    "sklearn.ensemble.gradient_boosting": "sklearn.ensemble._gb",
    "sklearn.ensemble.iforest": "sklearn.ensemble._iforest",
    "sklearn.ensemble.voting": "sklearn.ensemble._voting",
    "sklearn.ensemble.voting_classifier": "sklearn.ensemble._voting",
    "sklearn.ensemble.weight_boosting": "sklearn.ensemble._weight_boosting",
    "sklearn.feature_extraction.dict_vectorizer": "sklearn.feature_extraction._dict_vectorizer",
    "sklearn.feature_selection.univariate_selection": "sklearn.feature_selection._univariate_selection",
    "sklearn.feature_selection.variance_threshold": "sklearn.feature_selection._variance_threshold",
    "sklearn.gaussian_process.gpc": "sklearn.gaussian_process._gpc",
    "sklearn.gaussian_process.gpr": "sklearn.gaussian_process._gpr",
    "sklearn.linear_model.base": "sklearn.linear_model._base",
    "sklearn.linear_model.bayes": "sklearn.linear_model._bayes",
    "sklearn.linear_model.coordinate_descent": "sklearn.linear_model._coordinate_descent",
    "sklearn.linear_model.huber": "sklearn.linear_model._huber",
    "sklearn.linear_model.least_angle": "sklearn.linear_model._least_angle",
    "sklearn.linear_model.logistic": "sklearn.linear_model._logistic",
    "sklearn.linear_model.omp": "sklearn.linear_model._omp",
    "sklearn.linear_model.passive_aggressive": "sklearn.linear_model._passive_aggressive",
    "sklearn.linear_model.perceptron": "sklearn.linear_model._perceptron",
    "sklearn.linear_model.ridge": "sklearn.linear_model._ridge",
    "sklearn.linear_model.sgd_fast": "sklearn.linear_model._sgd_fast",
    "sklearn.linear_model.stochastic_gradient": "sklearn.linear_model._stochastic_gradient",
    "sklearn.mixture.bayesian_mixture": "sklearn.mixture._bayesian_mixture",
    "sklearn.mixture.gaussian_mixture": "sklearn.mixture._gaussian_mixture",
    "sklearn.neighbors.ball_tree": "sklearn.neighbors._ball_tree",
    "sklearn.neighbors.classification": "sklearn.neighbors._classification",
    "sklearn.neighbors.dist_metrics": "sklearn.neighbors._dist_metrics",
    "sklearn.neighbors.kd_tree": "sklearn.neighbors._kd_tree",
    "sklearn.neighbors.regression": "sklearn.neighbors._regression",
    "sklearn.neighbors.unsupervised": "sklearn.neighbors._unsupervised",
    "sklearn.neural_network.multilayer_perceptron": "sklearn.neural_network._multilayer_perceptron",
    "sklearn.preprocessing.data": "sklearn.preprocessing._data",
    "sklearn.preprocessing.label": "sklearn.preprocessing._label",
    "sklearn.svm.classes": "sklearn.svm._classes",
    "sklearn.tree.tree": "sklearn.tree._classes",
}


class Judged(NamedTuple):
    """The names of a file, sorted by what they mean for its conversion."""

    #: What the file calls it to what it is called now.
    allowed: Mapping[str, str]
    #: Classes that make values, but that nothing converts.
    uncovered: tuple[Global, ...]
    #: Everything else: unpickling could do anything.
    unsafe: tuple[Global, ...]


def judge_names(found: Iterable[Global]) -> Judged:
    """Sort the names of a pickle."""
    allowed: dict[str, str] = {}
    uncovered, unsafe = [], []
    for one in found:
        current = f"{_MOVED.get(one.module, one.module)}.{one.name}"
        if current in _ALLOWED:
            allowed[str(one)] = current
        elif judge(one) is Risk.KNOWN:
            uncovered.append(one)
        else:
            unsafe.append(one)
    return Judged(allowed, tuple(uncovered), tuple(unsafe))
