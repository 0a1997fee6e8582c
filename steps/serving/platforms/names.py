"""Names and labels that Kubernetes accepts, and what ours are.

What does not belong here: the name of a model, which is `klever.steps.serving.uri`'s.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.interface import Predictor, Serving

#: The longest label of DNS, which names of Services and values of labels are (RFC 1123).
MAX_LENGTH: Final = 63
OURS: Final = "kleveross.io/"
#: The object that a manifest is part of, and the version that a pod serves.
SERVING: Final = f"{OURS}serving"
PREDICTOR: Final = f"{OURS}predictor"
#: Whether a pod is one of those that take every request.
TRAFFIC: Final = f"{OURS}traffic"
REFERENCE: Final = f"{OURS}reference"
URL: Final = f"{OURS}url"

#: A Service's name begins with a letter (RFC 1035), as that of an InferenceService has to.
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
_KEY: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)


def check_names(serving: Serving, made: Iterable[str]) -> None:
    """Raise `ServingError` where a name, or one of those that a platform makes of them, is none for Kubernetes."""
    _check("the serving", serving.name, _NAME)
    _check("the namespace", serving.namespace, _NAMESPACE)
    for predictor in serving.predictors:
        _check("a predictor", predictor.name, _NAME)
    for name in made:
        if len(name) > MAX_LENGTH:
            raise ServingError(
                f"the platform makes the name {name[:140]!r}, which is {len(name) - MAX_LENGTH} characters too long",
                next_step=f"shorten the name {serving.name[:80]!r} or those of its predictors",
            )


def object_labels(serving: Serving, predictor: Predictor | None = None) -> dict[str, str]:
    """Return the labels of an object, in a fixed order; those of a predictor's own objects name it."""
    labels = {
        "app.kubernetes.io/name": "klever-serving",
        "app.kubernetes.io/instance": serving.name,
        "app.kubernetes.io/component": "predictor",
        "app.kubernetes.io/part-of": "klever",
        "app.kubernetes.io/managed-by": "klever",
        SERVING: serving.name,
    }
    for key, value in sorted(serving.labels.items()):
        if not _KEY.fullmatch(key) or f"{OURS}{key}" in (SERVING, PREDICTOR, TRAFFIC):
            raise ServingError(f"{key[:80]!r} is not a name for a label")
        labels[f"{OURS}{key}"] = label_value(value)
    if predictor is not None:
        labels[PREDICTOR] = predictor.name
        labels[f"{OURS}model"] = label_value(predictor.uri.name or "")
        labels[f"{OURS}server"] = label_value(predictor.uri.server or "")
    return labels


def label_value(text: str) -> str:
    """Return what a label may hold of a text: letters, digits and ``-_.``, up to 63 of them."""
    return _UNFIT.sub("-", text)[:MAX_LENGTH].strip("-_.")


def annotations(predictors: Iterable[Predictor]) -> dict[str, str]:
    """Return which model it is in full, which no label could hold; of several the newest."""
    return {REFERENCE: str([*predictors][-1].uri.reference)}


def metadata(
    serving: Serving,
    name: str,
    predictor: Predictor | None = None,
    notes: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Return an object's metadata."""
    shown = annotations([predictor] if predictor else serving.predictors)
    return {
        "name": name,
        "namespace": serving.namespace,
        "labels": object_labels(serving, predictor),
        "annotations": {**shown, **(notes or {})},
    }


def _check(what: str, name: str, form: re.Pattern[str]) -> None:
    if len(name) > MAX_LENGTH or not form.fullmatch(name):
        raise ServingError(
            f"{name[:80]!r} is not a name for {what}",
            next_step=f"use up to {MAX_LENGTH} of a-z, 0-9 and '-', with a letter first and no '-' at the end",
        )
