"""What a Keras model's configuration says: its inputs, outputs, layers, and which of them would run code.

    >>> config = parse_config(text)                  # doctest: +SKIP
    >>> interpret(config).signature.outputs          # doctest: +SKIP

The configuration is the JSON that every file of Keras holds, as the attribute ``model_config`` of an HDF5 file or
the member ``config.json`` of a ``.keras`` archive; stand-alone Keras 1 and 2, tf.keras and Keras 3 spell it in
different ways, which are understood alike. Only JSON is looked at: the functions that Lambda layers carry are never
decoded. What does not belong here: containers, and rules of anything but Keras.
"""

from klever.steps.frameworks.keras.document import parse_config
from klever.steps.frameworks.keras.interpretation import Interpretation, interpret

__all__ = ["Interpretation", "interpret", "parse_config"]
