"""Kinds of estimators by their class: what scikit-learn's classes predict, and where they keep the sizes.

Facts from scikit-learn's own sources, 0.17 to 1.9. What does not belong here: how attributes are found in a pickle.
"""

from enum import Enum
from typing import Final


class Kind(Enum):
    """What an estimator does with its input."""

    CLASSIFIER = "classifier"
    REGRESSOR = "regressor"
    CLUSTERER = "clusterer"
    OUTLIER = "outlier detector"
    TRANSFORMER = "transformer"
    UNKNOWN = "unknown"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CLASSIFIERS: Final = _words("""
    BernoulliNB CalibratedClassifierCV CategoricalNB ClassifierChain ComplementNB FixedThresholdClassifier GaussianNB
    LabelPropagation LabelSpreading LinearDiscriminantAnalysis LinearSVC LogisticRegression LogisticRegressionCV
    MultinomialNB NearestCentroid NuSVC Perceptron QuadraticDiscriminantAnalysis RidgeClassifierCV SVC
    TunedThresholdClassifierCV LDA QDA
""")
_REGRESSORS: Final = _words("""
    ARDRegression BayesianRidge ElasticNet ElasticNetCV IsotonicRegression KernelRidge Lars LarsCV Lasso LassoCV
    LassoLars LassoLarsCV LassoLarsIC LinearSVR MultiTaskElasticNet MultiTaskElasticNetCV MultiTaskLasso
    MultiTaskLassoCV NuSVR OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV PLSCanonical CCA RegressorChain
    Ridge RidgeCV SVR
""")
#: Clusterers that can predict, and the type of their labels.
CLUSTERERS: Final = {
    "KMeans": "int32",
    "MiniBatchKMeans": "int32",
    "BisectingKMeans": "int32",
    "Birch": "int64",
    "MeanShift": "int64",
    "AffinityPropagation": "int64",
    "GaussianMixture": "int64",
    "BayesianGaussianMixture": "int64",
}
_OUTLIERS: Final = _words("EllipticEnvelope IsolationForest LocalOutlierFactor OneClassSVM SGDOneClassSVM")
_TRANSFORMERS: Final = _words("""
    ColumnTransformer FactorAnalysis FastICA FeatureUnion IncrementalPCA IterativeImputer KBinsDiscretizer KNNImputer
    KernelPCA MaxAbsScaler MiniBatchNMF MinMaxScaler NMF Normalizer Nystroem OneHotEncoder OrdinalEncoder PCA
    PolynomialFeatures PowerTransformer QuantileTransformer RBFSampler RFE RFECV RobustScaler SelectFromModel
    SelectKBest SelectPercentile SimpleImputer SplineTransformer StandardScaler TargetEncoder TfidfTransformer
    TruncatedSVD VarianceThreshold CountVectorizer TfidfVectorizer HashingVectorizer DictVectorizer Binarizer
    FunctionTransformer SparsePCA MiniBatchSparsePCA LatentDirichletAllocation
""")
#: Transformers that return as many columns as they take.
SAME_WIDTH: Final = _words("""
    Binarizer MaxAbsScaler MinMaxScaler Normalizer PowerTransformer QuantileTransformer RobustScaler StandardScaler
    TfidfTransformer
""")
#: Transformers whose input are texts, one a sample.
TEXTS: Final = _words("CountVectorizer TfidfVectorizer HashingVectorizer")
#: Steps that take columns of any type, so that the input's type does not follow.
ANY_TYPE: Final = _words("""
    ColumnTransformer DictVectorizer FeatureUnion FunctionTransformer KBinsDiscretizer OneHotEncoder OrdinalEncoder
    SimpleImputer TargetEncoder
""")
#: Searches and wrappers that predict by the estimator in an attribute.
DELEGATES: Final = {
    "GridSearchCV": "best_estimator_",
    "RandomizedSearchCV": "best_estimator_",
    "HalvingGridSearchCV": "best_estimator_",
    "HalvingRandomSearchCV": "best_estimator_",
    "RFE": "estimator_",
    "RFECV": "estimator_",
    "TunedThresholdClassifierCV": "estimator_",
    "FixedThresholdClassifier": "estimator_",
    "SelfTrainingClassifier": "base_estimator_",
    "RANSACRegressor": "estimator_",
}
#: Classifiers that give probabilities whatever their settings.
PROBABILISTIC: Final = _words("""
    AdaBoostClassifier BaggingClassifier BernoulliNB CalibratedClassifierCV CategoricalNB ComplementNB
    DecisionTreeClassifier DummyClassifier ExtraTreeClassifier ExtraTreesClassifier GaussianNB
    GaussianProcessClassifier GradientBoostingClassifier HistGradientBoostingClassifier KNeighborsClassifier
    LabelPropagation LabelSpreading LinearDiscriminantAnalysis LogisticRegression LogisticRegressionCV MLPClassifier
    MultinomialNB QuadraticDiscriminantAnalysis RadiusNeighborsClassifier RandomForestClassifier LDA QDA
""")
#: Attributes whose array tells the number of features, and the axis on which it stands.
FEATURE_AXES: Final = (
    ("coef_", -1),
    ("cluster_centers_", 1),
    ("theta_", 1),
    ("feature_log_prob_", 1),
    ("components_", 1),
    ("_fit_X", 1),
    ("means_", 1),
    ("centroids_", 1),
    ("scale_", 0),
    ("mean_", 0),
    ("X_train_", 1),
    ("X_fit_", 1),
)
#: Attributes that count features, in the order of trust; later versions renamed them.
FEATURE_COUNTS: Final = ("n_features_in_", "n_features_", "_n_features", "n_features")
#: Attributes that hold fitted estimators; templates such as ``base_estimator`` are left out.
MEMBERS: Final = (
    "steps", "transformers_", "transformer_list", "estimators_", "best_estimator_", "final_estimator_",
    "calibrated_classifiers_", "regressor_", "base_estimator_", "estimator_", "estimator", "classifiers_",
)  # fmt: skip


def kind_of(name: str) -> Kind:
    """Return the kind of a class, by its name where it is not in scikit-learn's tables."""
    if name in _CLASSIFIERS or name.endswith("Classifier"):
        return Kind.CLASSIFIER
    if name in _REGRESSORS or name.endswith(("Regressor", "Regression", "RegressorCV")):
        return Kind.REGRESSOR
    if name in CLUSTERERS:
        return Kind.CLUSTERER
    if name in _OUTLIERS:
        return Kind.OUTLIER
    return Kind.TRANSFORMER if name in _TRANSFORMERS else Kind.UNKNOWN
