"""Keras models in HDF5 become ONNX in one start of TensorFlow: traced by their own Keras, then by tf2onnx.

Inputs and outputs have the names of the layers. What does not belong here: Keras and TensorFlow, which the program
`export_tensorflow_onnx` runs.
"""

from klever.steps.converters.h5_to_savedmodel import check_weights_of, open_model
from klever.steps.converters.keras_models import KerasConverter, export_onnx


class H5ToONNX(KerasConverter):
    """Keras in HDF5 to ONNX."""

    version = "2"


CONVERTER = H5ToONNX(open_model, check_weights_of, export_onnx)
