"""Print the operators of PyTorch that its ONNX exporter has no counterpart of, for `torchscript_to_onnx.operators`.

    python tests/oracles/torchscript_operators.py     # torch 2.15.0, onnx 1.23.2

Those that ``steps/programs/symbolics.py`` adds count as known. Every operator of ATen that takes and gives tensors is called with plain arguments, then exported: those that run but
stop the exporter, by their own name, at the highest opset, are printed. What cannot be called like this is left out, so
that no model is refused by mistake; the exporter finds it all the same.
"""

import io
import os
import sys
import textwrap
import warnings
from pathlib import Path

import torch
from torch.onnx import errors

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "steps" / "programs"))

VALUES = {
    "Tensor": "x", "Optional[Tensor]": "None", "List[Tensor]": "[x, x]", "int": "1", "float": "0.5", "bool": "False",
    "number": "2", "List[int]": "[1, 1]", "Optional[int]": "None", "Optional[float]": "None", "str": "'sum'",
    "Optional[bool]": "None", "Optional[List[int]]": "None", "Optional[number]": "None", "Optional[str]": "None",
    "List[float]": "[0.5, 0.5]", "Optional[List[float]]": "None",
}  # fmt: skip


def calls(schema: torch._C.FunctionSchema) -> str | None:
    """Return the text of a call, None where an argument has no plain value."""
    texts = []
    for argument in schema.arguments:
        if argument.has_default_value() and argument.type.annotation_str != "Tensor":
            continue
        if argument.type.annotation_str not in VALUES or argument.is_out:
            return None
        value = VALUES[argument.type.annotation_str]
        texts.append(f"{argument.name}={value}" if argument.kwarg_only else value)
    return f"torch.ops.aten.{schema.name.partition('::')[2]}({', '.join(texts)})"


def uncovered(schema: torch._C.FunctionSchema) -> bool:
    """Say whether the call runs and its operator stops the exporter."""
    call = calls(schema)
    if call is None or not any("Tensor" in argument.type.annotation_str for argument in schema.arguments):
        return False
    results = schema.returns
    if not results or any(result.type.annotation_str != "Tensor" for result in results):
        return False
    taken = call if len(results) == 1 else f"{call}[0]"
    for x in (torch.rand(4, 4) + 1, torch.rand(1, 4, 8, 8), torch.randint(1, 3, (4, 4)), torch.rand(4)):
        unit = torch.jit.CompilationUnit()
        try:
            unit.define(f"def forward(x: Tensor):\n    return {taken}\n")
            unit.forward(x)
        except Exception:  # noqa: BLE001 - whatever a call that makes no sense raises
            continue
        try:
            torch.onnx.export(unit.forward, (x,), io.BytesIO(), dynamo=False, opset_version=20)
        except errors.UnsupportedOperatorError as error:
            return f"'{schema.name.rstrip('_')}'" in str(error) or f"'{schema.name}'" in str(error)
        except Exception:  # noqa: BLE001 - whatever a call that makes no sense raises
            return False
        return False
    return False


def uncovered_apart(schema: torch._C.FunctionSchema) -> bool:
    """Judge in a process of its own: some operators crash on plain arguments."""
    child = os.fork()
    if not child:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(42 if uncovered(schema) else 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def main() -> None:
    warnings.simplefilter("ignore")
    from symbolics import register

    register()
    torch.set_num_threads(1)  # threads do not survive a fork
    found = set()
    for schema in torch._C._jit_get_all_schemas():
        namespace, _, name = schema.name.partition("::")
        is_wanted = namespace == "aten" and "backward" not in name and not name.endswith("_") and name not in found
        is_wanted = is_wanted and not name.startswith(("_test", "_foobar", "_functional"))
        if is_wanted and uncovered_apart(schema):
            found.add(name)
    print("\n".join(textwrap.wrap(" ".join(sorted(found)), 116)))


if __name__ == "__main__":
    main()
