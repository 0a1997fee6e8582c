"""Keras models in HDF5 become ONNX in one start of TensorFlow: traced by their own Keras, then by tf2onnx.

Inputs and outputs have the names of the layers. What does not belong here: Keras and TensorFlow, which the program
`export_tensorflow_onnx` runs.
"""

from pathlib import Path

from klever.steps.converters.h5_to_savedmodel import check_weights_of, open_model
from klever.steps.converters.interface import (
    Conversion,
    Converter,
    Options,
    Progress,
    SourceModel,
    Survey,
    no_progress,
)
from klever.steps.converters.keras_models import ENVIRONMENT, check_keras, export_onnx, survey_keras


class H5ToONNX(Converter):
    """Keras in HDF5 to ONNX."""

    version = "1"
    environment = ENVIRONMENT

    def survey(self, model: SourceModel, options: Options) -> Survey:
        """List the layers that are not Keras's own; which operators they become is known when they are traced."""
        return survey_keras(open_model(model), options)

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Write ``model.onnx``; raises `UnsupportedOperatorsError` with all operators that tf2onnx lacks, too."""
        source = open_model(model)
        check_keras(source)
        check_weights_of(model)
        return export_onnx(source, options, directory, progress)


CONVERTER = H5ToONNX()
