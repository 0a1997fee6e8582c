"""The rules of Caffe2's operators: what each is in ONNX, by family.

A rule takes a `Call`, draws nodes and returns the names of the outputs' values. Sources: the schemas (``.cc``) and
``RunOnDevice`` (``.h``) of ``caffe2/operators``, where every default was looked up.
"""

from typing import Final

from klever.steps.converters.netdef_to_onnx.call import Rules
from klever.steps.converters.netdef_to_onnx.rules import (
    arrangement,
    control,
    creation,
    dense,
    detection,
    elementwise,
    losses,
    normalisation,
    quantized,
    recurrent,
    reduction,
    segments,
    windows,
)

#: Operator type to its rule.
RULES: Final[Rules] = {
    **arrangement.RULES,
    **control.RULES,
    **creation.RULES,
    **dense.RULES,
    **detection.RULES,
    **elementwise.RULES,
    **losses.RULES,
    **normalisation.RULES,
    **quantized.RULES,
    **recurrent.RULES,
    **reduction.RULES,
    **segments.RULES,
    **windows.RULES,
}
