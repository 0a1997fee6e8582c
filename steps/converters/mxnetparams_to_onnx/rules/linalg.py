"""Linear algebra."""

from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Rule

RULES: Final[dict[str, Rule]] = {}
