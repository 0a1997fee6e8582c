"""The signature of an estimator of scikit-learn: what it was fitted on, and what its methods return.

The input is one tensor ``input`` of [-1, features] float64, whose columns' names stand in ``featureNames``; the
outputs are named after the methods that give them: ``predict``, ``predict_proba``, ``transform``. What does not
belong here: joblib's encoding (`frameworks.joblib`), the table of classes (`kinds`).
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from klever.steps.encodings.pickle import Global, Object, Value
from klever.steps.errors import MalformedModelError
from klever.steps.formats.interface import Reading
from klever.steps.formats.sklearn.kinds import (
    ANY_TYPE,
    CLUSTERERS,
    DELEGATES,
    FEATURE_AXES,
    FEATURE_COUNTS,
    MEMBERS,
    PROBABILISTIC,
    SAME_WIDTH,
    TEXTS,
    Kind,
    kind_of,
)
from klever.steps.frameworks.callables import Risk, describe, judge
from klever.steps.frameworks.joblib import Array, array_of, read_joblib, scalar_of
from klever.steps.model.signature import Signature, Tensor

if TYPE_CHECKING:
    from klever.steps.files import Source
    from klever.steps.model.shapes import Shape

#: Estimators nest: a search over a pipeline of a voting of bagged trees.
_MAX_DEPTH: Final = 12
#: Names of features that are kept; more would swell the config.
_MAX_NAMES: Final = 1000


def read_estimator(source: "Source") -> Reading:
    """Read the estimator at the root of a pickle.

    Raises `MalformedModelError` where the root is no estimator, and what `read_joblib` raises.
    """
    pickle, named = read_joblib(source)
    root = pickle.root
    if not isinstance(root, Object) or (name := _class(root)) is None:
        raise MalformedModelError("the pickle's root is no estimator of scikit-learn")
    estimator = Estimator(root)
    notes = _warn(named)
    inputs = _input(estimator)
    outputs = tuple(_outputs(estimator))
    if inputs is None:
        notes.append(f"the number of features does not stand in {name}")
    if not outputs:
        notes.append(f"what {name} returns is not known")
    version = estimator.get("_sklearn_version")
    facts: dict[str, Any] = {"estimator": name}
    if isinstance(version, str):
        facts["sklearnVersion"] = version[:40]
    layers = dict(sorted(_count(root).items()))
    return Reading(
        Signature(inputs=(inputs,) if inputs else None, outputs=outputs or None, layers=layers),
        notes=tuple(notes),
        facts=facts,
    )


class Estimator:
    """A pickled estimator's class and attributes."""

    def __init__(self, value: Object) -> None:
        self.object = value
        self.name = _class(value) or ""
        self._state = value.state if isinstance(value.state, dict) else {}

    def get(self, attribute: str) -> Value:
        """Return an attribute, with NumPy's numbers as plain ones; None if it is absent."""
        return scalar_of(self._state.get(attribute))

    def array(self, attribute: str) -> Array | None:
        """Return an attribute that is an array."""
        return array_of(self._state.get(attribute))

    def below(self, attribute: str) -> "Estimator | None":
        """Return an attribute that is an estimator."""
        value = self._state.get(attribute)
        return Estimator(value) if isinstance(value, Object) and _class(value) else None

    def steps(self) -> list["Estimator"]:
        """Return the estimators of a pipeline's steps; ``passthrough`` and None are left out."""
        held = self.get("steps")
        steps = held if isinstance(held, list) else []
        pairs = (step for step in steps if isinstance(step, tuple) and len(step) == 2)
        return [Estimator(value) for _, value in pairs if isinstance(value, Object) and _class(value)]


def _class(value: Object) -> str | None:
    """Return the name of an instance's class; ``copyreg._reconstructor(class, ...)`` in protocols 0 and 1."""
    function = value.function
    if isinstance(function, Global) and function.name == "_reconstructor" and value.args:
        function = value.args[0]
    return function.name if isinstance(function, Global) else None


def _warn(named: tuple[Global, ...]) -> list[str]:
    notes = []
    for risk, text in ((Risk.DANGEROUS, "DANGEROUS: "), (Risk.UNKNOWN, "")):
        found = [one for one in named if judge(one) is risk]
        if found:
            notes.append(f"{text}loading the file would import {describe(found)}")
    return notes


def _first(estimator: Estimator) -> Estimator:
    """Return the estimator that sees the input: a pipeline's first step, what a search has found."""
    return _innermost(estimator, 0)


def _last(estimator: Estimator) -> Estimator:
    """Return the estimator that gives the result: a pipeline's last step, what a search has found."""
    return _innermost(estimator, -1)


def _innermost(estimator: Estimator, place: int) -> Estimator:
    for _ in range(_MAX_DEPTH):
        steps = estimator.steps()
        below = steps[place] if steps else None
        if below is None and estimator.name in DELEGATES:
            below = estimator.below(DELEGATES[estimator.name])
        if below is None:
            break
        estimator = below
    return estimator


def _input(estimator: Estimator) -> Tensor | None:
    first = _first(estimator)
    if first.name in TEXTS:
        return Tensor(name="input", dtype="object", shape=(-1,))
    features = _features(estimator, 0)
    if features is None:
        return None
    names = first.array("feature_names_in_") or estimator.array("feature_names_in_")
    texts = names.texts() if names is not None else None
    extra = {"featureNames": texts} if texts is not None and len(texts) == features <= _MAX_NAMES else {}
    dtype = None if first.name in ANY_TYPE else "float64"
    return Tensor(name="input", dtype=dtype, shape=(-1, features), **extra)


def _features(estimator: Estimator, depth: int) -> int | None:
    """Return the number of features, by the attribute that the estimator's version keeps it in."""
    for attribute in FEATURE_COUNTS:
        count = estimator.get(attribute)
        if type(count) is int and 0 < count < 1 << 48:
            return count
    fitted = estimator.get("shape_fit_")
    if isinstance(fitted, tuple) and len(fitted) == 2 and type(count := scalar_of(fitted[1])) is int:
        return count
    for attribute, axis in FEATURE_AXES:
        array = estimator.array(attribute)
        if array is not None and array.shape and -len(array.shape) <= axis < len(array.shape):
            return array.shape[axis]
    weights = estimator.get("coefs_")
    first = array_of(weights[0]) if isinstance(weights, list) and weights else None
    if first is not None and first.shape:
        return first.shape[0]
    if depth >= _MAX_DEPTH:
        return None
    for below in _members(estimator.object):
        found = _features(Estimator(below), depth + 1)
        if found is not None:
            return found
    return None


def _outputs(estimator: Estimator) -> Iterator[Tensor]:
    last = _last(estimator)
    kind = kind_of(last.name)
    if kind is Kind.CLASSIFIER:
        yield from _classes(last, estimator)
    elif kind is Kind.REGRESSOR:
        yield Tensor(name="predict", dtype="float64", shape=_regression_shape(last))
    elif kind is Kind.CLUSTERER:
        yield Tensor(name="predict", dtype=CLUSTERERS[last.name], shape=(-1,))
        if last.name.endswith("GaussianMixture"):
            parts = last.get("n_components")
            yield Tensor(name="predict_proba", dtype="float64", shape=(-1, parts if type(parts) is int else -1))
    elif kind is Kind.OUTLIER:
        yield Tensor(name="predict", dtype="int64", shape=(-1,))
    elif kind is Kind.TRANSFORMER:
        yield Tensor(name="transform", dtype=_transformed_type(estimator), shape=(-1, _width(last)))


def _classes(last: Estimator, whole: Estimator) -> Iterator[Tensor]:
    labels = last.below("_label_binarizer")
    classes = last.array("classes_") or whole.array("classes_") or (labels.array("classes_") if labels else None)
    several = last.get("classes_")
    targets = len(several) if isinstance(several, list) else None
    members = last.get("estimators_")
    if last.name in ("MultiOutputClassifier", "ClassifierChain") and isinstance(members, list):
        targets = len(members)
    if targets is not None:
        first = array_of(several[0]) if isinstance(several, list) and several else None
        yield Tensor(name="predict", dtype=first.dtype.name if first else None, shape=(-1, targets))
        return
    dtype, count = None, -1
    if classes is not None and len(classes.shape) == 1:
        dtype, count = classes.dtype.name, classes.shape[0]
    yield Tensor(name="predict", dtype=dtype, shape=(-1,))
    if _gives_probabilities(last, 0):
        yield Tensor(name="predict_proba", dtype="float64", shape=(-1, count))


def _gives_probabilities(estimator: Estimator, depth: int) -> bool:
    name = estimator.name
    if name in ("SVC", "NuSVC"):
        return estimator.get("probability") is True
    if name == "SGDClassifier":
        loss = estimator.get("loss")
        return isinstance(loss, str) and loss in ("log_loss", "log", "modified_huber")
    if name == "NearestCentroid":
        return _version(estimator) >= (1, 6)
    if name == "VotingClassifier":
        return bool(estimator.get("voting") == "soft")
    if name in ("StackingClassifier", "OneVsRestClassifier") and depth < _MAX_DEPTH:
        inner = estimator.below("final_estimator_") or estimator.below("estimator")
        return inner is not None and _gives_probabilities(_last(inner), depth + 1)
    return name in PROBABILISTIC


def _version(estimator: Estimator) -> tuple[int, ...]:
    text = estimator.get("_sklearn_version")
    parts = text.split(".")[:2] if isinstance(text, str) else []
    return tuple(int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 5)


def _regression_shape(estimator: Estimator) -> "Shape":
    """Return (-1,) for one target, (-1, targets) for several; some estimators keep a column a column."""
    outputs = estimator.get("n_outputs_")
    if type(outputs) is int and outputs > 0:
        return (-1,) if outputs == 1 else (-1, outputs)
    members = estimator.get("estimators_")
    if estimator.name in ("MultiOutputRegressor", "RegressorChain") and isinstance(members, list):
        return (-1, len(members))
    if estimator.name in ("PLSRegression", "PLSCanonical", "CCA"):
        targets = estimator.array("_y_mean") or estimator.array("y_mean_")
        is_flat = estimator.get("_predict_1d") is True
        return (-1,) if is_flat else (-1, targets.shape[0] if targets is not None and targets.shape else -1)
    if estimator.name == "TransformedTargetRegressor":
        return (-1,) if estimator.get("_training_dim") == 1 else None
    for attribute in ("_y", "y_train_", "dual_coef_" if estimator.name == "KernelRidge" else "coef_"):
        array = estimator.array(attribute)
        if array is not None and len(array.shape) == 2 and not estimator.name.endswith("SVR"):
            return (-1, array.shape[0 if attribute == "coef_" else 1])
    return (-1,)


def _transformed_type(estimator: Estimator) -> str | None:
    steps = [*estimator.steps(), estimator]
    return None if any(step.name in ANY_TYPE or step.name in TEXTS for step in steps) else "float64"


def _width(estimator: Estimator) -> int:
    """Return the number of columns that a transformer returns, -1 where it does not stand in the file."""
    if estimator.name in SAME_WIDTH:
        return _features(estimator, 0) or -1
    for attribute in ("n_components_", "n_output_features_"):
        count = estimator.get(attribute)
        if type(count) is int and count > 0:
            return count
    components = estimator.array("components_")
    return components.shape[0] if components is not None and len(components.shape) == 2 else -1


def _members(value: Object) -> Iterator[Object]:
    """Yield the fitted estimators that one holds, each however it is held: alone, named, in lists or arrays."""
    state = value.state if isinstance(value.state, dict) else {}
    for attribute in MEMBERS:
        is_template = attribute in ("estimator", "estimator_", "base_estimator_")
        if (
            is_template
            and ("estimators_" in state or "best_estimator_" in state or "estimator_" in state)
            and (attribute == "estimator" or "estimators_" in state)
        ):
            continue
        yield from _estimators_in(state.get(attribute))


def _estimators_in(held: Value) -> Iterator[Object]:
    array = array_of(held)
    values = array.content if array is not None else held
    for one in values if isinstance(values, list) else [values]:
        for part in one if isinstance(one, tuple | list) else [one]:
            if isinstance(part, Object) and isinstance(part.state, dict) and array_of(part) is None:
                yield part


def _count(root: Object) -> Counter[str]:
    """Count the classes of the fitted estimators, each instance once."""
    counts: Counter[str] = Counter()
    seen = {id(root)}
    pending = [root]
    while pending:
        value = pending.pop()
        name = _class(value)
        if name is not None:
            counts[name] += 1
        for member in _members(value):
            if id(member) not in seen:
                seen.add(id(member))
                pending.append(member)
    return counts
