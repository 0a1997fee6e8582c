"""TorchScript to ONNX by torch's own exporter of scripts, in an environment of its own.

An archive is code: what it calls is listed from its text before anything loads it. What does not belong here: the
exporter, which is the program ``export_torchscript``.
"""

from pathlib import Path

from klever.steps.converters.interface import (
    Conversion,
    Converter,
    Options,
    Progress,
    Question,
    SourceModel,
    Survey,
    Uncovered,
    check_survey,
    no_progress,
)
from klever.steps.converters.torchscript_to_onnx.arguments import Argument, arguments
from klever.steps.converters.torchscript_to_onnx.operators import survey_code
from klever.steps.files import opened


class TorchScriptToONNX(Converter):
    """Scripted and traced modules to an ONNX model."""

    version = "1"
    environment = "convert-torch"

    def survey(self, model: SourceModel, options: Options) -> Survey:
        """Judge the code's operators and the arguments of ``forward``; raises `UnsafeModelError` too."""
        from klever.steps.formats.torchscript.reader import read_code

        with opened(model.files, model.claim.files[0]) as source:
            found = survey_code(read_code(source))
        given = arguments(model.signature, options)
        unusable = tuple(
            Uncovered(f"an argument of type {one.kind}", (one.name,), "inputs of ONNX are tensors")
            for one in given
            if one.is_unusable
        )
        questions = tuple(_question(one) for one in given if one.is_given and one.shape is None)
        return Survey((*found.uncovered, *unusable), questions, (*found.notes, *_notes(given)))

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Write ``model.onnx``."""
        progress(0.0, "reading the code")
        check_survey(self.survey(model, options))
        from klever.steps.converters.torchscript_to_onnx.export import export

        return export(model, arguments(model.signature, options), options, directory, progress, self.environment)


def _question(argument: Argument) -> Question:
    return Question(
        f"the shape of input {argument.name!r} is not in the archive", f"--shape {argument.name}=1,3,224,224"
    )


def _notes(given: tuple[Argument, ...]) -> tuple[str, ...]:
    notes = [
        f"{one.name} ({one.own_name}) is left to its default, and is no input of the result"
        for one in given
        if not one.is_given and not one.is_unusable
    ]
    notes += [
        f"the type of {one.name} is not in the archive: the first of float32 and int64 with which it runs is taken"
        for one in given
        if one.is_given and one.dtype is None
    ]
    return tuple(notes)


CONVERTER = TorchScriptToONNX()
