"""What both converters of Keras models share: the check of the configuration, and the export by a program.

What does not belong here: the containers, HDF5 and ZIP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from klever.steps.converters.asked import as_lists, asked_shapes
from klever.steps.converters.interface import Conversion, Options, Progress, Survey, Uncovered
from klever.steps.environments import run
from klever.steps.errors import MalformedModelError, UnsafeModelError, UnsupportedOperatorsError
from klever.steps.frameworks.keras import interpret
from klever.steps.frameworks.keras.layer import Layer
from klever.steps.frameworks.keras.ranges import by_name, embedded_ranges
from klever.steps.frameworks.keras.release import framework_of
from klever.steps.frameworks.keras.vetting import Foreign, find_foreign
from klever.steps.model.signature import Tensor

#: The environment with TensorFlow, Keras 3 and tf_keras.
ENVIRONMENT = "convert-tensorflow"


@dataclass(frozen=True)
class KerasModel:
    """A Keras model as its file describes it."""

    path: Path
    #: ``h5`` or ``keras``.
    container: str
    config: Mapping[str, Any]
    #: Who wrote it: ``keras_version``, ``backend``.
    facts: Mapping[str, str]

    @property
    def framework(self) -> str:
        """The package that loads it."""
        return framework_of(self.config, self.facts.get("keras_version"))


def survey_keras(source: KerasModel, options: Options) -> Survey:
    """List the layers that hold code or are not Keras's own, by class."""
    foreign = find_foreign(source.config, source.framework)
    notes = []
    if options.dtype is not None:
        notes.append(f"a SavedModel keeps the precision of its source; {options.dtype} is for ONNX")
    return Survey(uncovered=_uncovered(foreign), notes=tuple(notes))


def _uncovered(foreign: list[Foreign]) -> tuple[Uncovered, ...]:
    nodes: dict[tuple[str, str], dict[str, None]] = {}
    for found in foreign:
        nodes.setdefault((found.part, found.reason), {})[found.layer] = None
    return tuple(Uncovered(part, tuple(layers), reason) for (part, reason), layers in nodes.items())


def check_keras(source: KerasModel) -> None:
    """Raise `UnsafeModelError` where a layer holds code, `UnsupportedOperatorsError` where one is not Keras's own."""
    foreign = find_foreign(source.config, source.framework)
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
        "config": source.config,
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

    Raises as `check_keras` before anything is started, and a `ConversionError` where Keras cannot load the model.
    """
    check_keras(source)
    request = request_of(source, options)
    run(ENVIRONMENT, "export_keras", {**request, "directory": str(directory.absolute())}, progress)
    return Conversion(ranges=ranges_of(source))
