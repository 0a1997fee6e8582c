"""What the converters of Keras models share: all but the container that holds the model.

What does not belong here: the containers, HDF5 and ZIP.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from klever.steps.converters.asked import as_lists, asked_shapes
from klever.steps.converters.interface import (
    Conversion,
    Converter,
    Options,
    Progress,
    SourceModel,
    Survey,
    Uncovered,
    no_progress,
)
from klever.steps.converters.tensorflow_graphs import ENVIRONMENT, run_export
from klever.steps.environments import run
from klever.steps.errors import MalformedModelError, UnsafeModelError, UnsupportedOperatorsError
from klever.steps.frameworks.keras import interpret
from klever.steps.frameworks.keras.layer import Layer
from klever.steps.frameworks.keras.ranges import by_name, embedded_ranges
from klever.steps.frameworks.keras.release import TF_KERAS, framework_of, major_version
from klever.steps.frameworks.keras.translation import translate
from klever.steps.frameworks.keras.vetting import Foreign, find_foreign
from klever.steps.model.signature import Tensor


@dataclass(frozen=True)
class KerasModel:
    """A Keras model as its file describes it."""

    #: None where the file lies in a registry: a survey needs no more than the configuration.
    path: Path | None
    #: ``h5`` or ``keras``.
    container: str
    config: Mapping[str, Any]
    #: Who wrote it: ``keras_version``, ``backend``.
    facts: Mapping[str, str]

    @property
    def framework(self) -> str:
        """The package that loads it."""
        return framework_of(self.config, self.facts.get("keras_version"))

    @cached_property
    def loaded(self) -> Mapping[str, Any]:
        """The configuration as that package takes it; archives are as new as the packages."""
        if self.framework == TF_KERAS and self.container == "h5":
            return translate(self.config, self.facts.get("keras_version"))
        return self.config


def survey_keras(source: KerasModel, options: Options) -> Survey:
    """List the layers that hold code or are not Keras's own, by class; raises as `asked_shapes`."""
    asked_shapes(interpret(source.config).signature.inputs or (), options)
    foreign = find_foreign(source.loaded, source.framework)
    return Survey(uncovered=_uncovered(foreign), notes=_notes(source))


def _notes(source: KerasModel) -> tuple[str, ...]:
    first = major_version(source.facts.get("keras_version")) == 1
    if first and "backend" not in source.facts and '"dim_ordering": "th"' in json.dumps(source.config):
        return ("Keras 1 does not save its backend: the kernels are taken as TensorFlow's, Theano's would be mirrored",)
    return ()


def _uncovered(foreign: list[Foreign]) -> tuple[Uncovered, ...]:
    nodes: dict[tuple[str, str], dict[str, None]] = {}
    for found in foreign:
        nodes.setdefault((found.part, found.reason), {})[found.layer] = None
    return tuple(Uncovered(part, tuple(layers), reason) for (part, reason), layers in nodes.items())


def check_keras(source: KerasModel) -> None:
    """Raise `UnsafeModelError` where a layer holds code, `UnsupportedOperatorsError` where one is not Keras's own."""
    foreign = find_foreign(source.loaded, source.framework)
    if not foreign:
        return
    told = "; ".join(
        f"{each.operator} {each.reason} (layers {', '.join(each.nodes[:8])}{', ...' if len(each.nodes) > 8 else ''})"
        for each in _uncovered(foreign)[:16]
    )
    if any(found.runs for found in foreign):
        raise UnsafeModelError(f"the Keras model is not loaded: {told}")
    operators: dict[str, tuple[str, ...]] = {}
    for each in _uncovered(foreign):
        operators[each.operator] = operators.get(each.operator, ()) + each.nodes
    raise UnsupportedOperatorsError(
        f"the Keras model is not loaded: {told}",
        operators=operators,
        next_step="export the model as a SavedModel where the code of these layers is",
    )


def request_of(source: KerasModel, options: Options) -> dict[str, Any]:
    """Return what a program needs to build the model; raises `MalformedModelError` where it is no graph of layers."""
    if source.path is None:
        raise TypeError("the file of this Keras model is not on the local disk")
    signature = interpret(source.config).signature
    inputs, outputs = signature.inputs or (), signature.outputs or ()
    if not outputs:
        raise MalformedModelError(
            "the Keras model builds its layers in code, which is not in the file",
            next_step="export the model as a SavedModel where its code is",
        )
    return {
        "framework": source.framework,
        "path": str(source.path.absolute()),
        "container": source.container,
        "config": source.loaded,
        "inputs": _names(inputs),
        "outputs": _names(outputs),
        "shapes": as_lists(asked_shapes(inputs, options)),
        "mirror_kernels": source.facts.get("backend") == "theano",
    }


def ranges_of(source: KerasModel) -> Mapping[str, tuple[int, int]]:
    """Return the range of values that make sense for each input that is looked up in an embedding."""
    signature = interpret(source.config).signature
    return by_name(_names(signature.inputs or ()), embedded_ranges(Layer(source.config)))


def _names(tensors: tuple[Tensor, ...]) -> list[str]:
    return [tensor.name for tensor in tensors]


def export(source: KerasModel, options: Options, directory: Path, progress: Progress) -> Conversion:
    """Save the model's inference as a SavedModel in ``directory``, in a process of its own.

    Raises as `request_of` before anything is started, and a `ConversionError` where Keras cannot load the model.
    """
    request = request_of(source, options)
    run(ENVIRONMENT, "export_keras", {**request, "directory": str(directory.absolute())}, progress)
    return Conversion(ranges=ranges_of(source))


def export_onnx(source: KerasModel, options: Options, directory: Path, progress: Progress) -> Conversion:
    """Write the model as ``model.onnx`` into ``directory``.

    Raises as `export`, and `UnsupportedOperatorsError` with all operators that tf2onnx lacks: which ones the layers
    become is known when they are traced.
    """
    request = {"source": "keras", "model": request_of(source, options)}
    made = run_export(request, options, directory, progress)
    return Conversion(notes=made.notes, ranges={**made.ranges, **ranges_of(source)})


class KerasConverter(Converter):
    """A converter of the Keras models in one kind of container."""

    environment = ENVIRONMENT

    def __init__(
        self,
        open_model: Callable[[SourceModel], KerasModel],
        check_weights: Callable[[SourceModel], None],
        export: Callable[[KerasModel, Options, Path, Progress], Conversion],
    ) -> None:
        self._open_model = open_model
        self._check_weights = check_weights
        self._export = export

    def survey(self, model: SourceModel, options: Options) -> Survey:
        """List the layers that are not Keras's own, from the configuration alone."""
        return survey_keras(self._open_model(model), options)

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Check configuration and weights, then let the model's own Keras load it."""
        source = self._open_model(model)
        check_keras(source)
        self._check_weights(model)
        return self._export(source, options, directory, progress)
