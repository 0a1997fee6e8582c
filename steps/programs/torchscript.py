"""What the programs that load a TorchScript archive share: its arguments, its results, values to run it with.

What does not belong here: ONNX.
"""

import contextlib
import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch

#: Sizes that are tried for a dynamic dimension, the first one (the batch) apart; networks on images want the larger.
_BATCH = 2
_SIZES = (8, 32, 64, 224, 16, 3, 1, 128, 256, 299, 512)
#: Tokens, classes and lengths: zero is a row of every table, one a length that is not empty.
_INTEGERS = (0, 1)
#: Types that are tried where nothing tells it.
_TYPES = ("float32", "int64")


class RefusalError(Exception):
    """What is asked for cannot be done with this archive."""


def load(path: str) -> Any:
    """Load an archive for the CPU, as it computes after training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(path, map_location="cpu")
    module.eval()
    if not hasattr(module, "forward"):
        raise RefusalError("the main module has no forward")
    # Fusion compiles kernels at run time, whose last bits differ from those of the plain operators.
    torch.jit.set_fusion_strategy([])
    torch._C._jit_set_profiling_executor(False)
    return module


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf of a result, and the expression that leads to it: ``[1]["boxes"]``; None is a leaf too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flatten(inner, f"{path}[{key!r}]")
    elif isinstance(value, (tuple, list)):
        for position, inner in enumerate(value):
            yield from flatten(inner, f"{path}[{position}]")
    else:
        yield path, value


def name_results(leaves: list[tuple[str, Any]], names: list[str]) -> list[tuple[str, str, Any]]:
    """Return name, path and tensor of each result that is there.

    ``names`` are those that the signature lists; one for every leaf, or for every leaf that is not None. Where their
    number is another the results are numbered.
    """
    there = [(path, value) for path, value in leaves if value is not None]
    if len(names) == len(leaves):
        named = [(name, path, value) for name, (path, value) in zip(names, leaves, strict=True) if value is not None]
    elif len(names) == len(there):
        named = [(name, path, value) for name, (path, value) in zip(names, there, strict=True)]
    else:
        stem = "OUTPUT" if names and names[0].isupper() else "output"
        named = [(f"{stem}__{position}", path, value) for position, (path, value) in enumerate(there)]
    return [row for row in named if isinstance(row[2], torch.Tensor)]


def dtype_of(name: str) -> torch.dtype:
    """Return torch's type for numpy's name of it."""
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise RefusalError(f"there is no tensor of type {name}")
    return found


def examples(module: Any, specifications: list[dict[str, Any]], seed: int) -> tuple[torch.Tensor, ...]:
    """Return inputs that the module runs with; ``specifications`` have ``shape`` (-1 for any size) and ``dtype``.

    Those with which it was traced, where the archive holds them and the shapes agree; else seeded ones, in the types
    (where ``dtype`` is None) and sizes that are tried in turn. Raises `RefusalError` with what the module said first.
    """
    kept = _kept(module, specifications)
    if kept is not None:
        return kept
    error: Exception | None = None
    typed = [specifications]
    if any(one["dtype"] is None for one in specifications):
        typed = [[{**one, "dtype": one["dtype"] or dtype} for one in specifications] for dtype in _TYPES]
    for arguments in itertools.chain.from_iterable(_candidates(one, seed) for one in typed):
        try:
            with torch.no_grad():
                module(*(argument.clone() for argument in arguments))
        except RuntimeError as raised:  # of shapes and types that do not fit, torch raises nothing closer
            error = error or raised
        else:
            return arguments
    sizes = ", ".join(f"{one['name']} of {one['shape']}" for one in specifications)
    raise RefusalError(f"the model runs with no example that was tried for {sizes}: {_reason(error)}")


def _kept(module: Any, specifications: list[dict[str, Any]]) -> tuple[torch.Tensor, ...] | None:
    try:
        values = module._c._retrieve_traced_inputs()["forward"]
    except (AttributeError, KeyError, RuntimeError):
        return None
    if len(values) < len(specifications):
        return None
    values = values[: len(specifications)]
    for value, wanted in zip(values, specifications, strict=True):
        if not isinstance(value, torch.Tensor) or wanted["dtype"] not in (None, str(value.dtype).partition(".")[2]):
            return None
        shape = wanted["shape"]
        sizes = list(value.shape)
        if len(shape) != len(sizes) or any(size not in (-1, own) for size, own in zip(shape, sizes, strict=True)):
            return None
    # A batch of one hides whether the first size is carried on or fixed.
    grown = [
        value.repeat(_BATCH, *[1] * (value.dim() - 1)) if wanted["shape"][:1] == [-1] and len(value) == 1 else value
        for value, wanted in zip(values, specifications, strict=True)
    ]
    for candidate in (grown, values):
        with contextlib.suppress(RuntimeError), torch.no_grad():
            module(*(one.clone() for one in candidate))
            return tuple(candidate)
    return None


def _candidates(specifications: list[dict[str, Any]], seed: int) -> Iterator[tuple[torch.Tensor, ...]]:
    is_open = any(-1 in one["shape"][1:] for one in specifications)
    for size in _SIZES if is_open else _SIZES[:1]:
        for integer in _INTEGERS if any("int" in one["dtype"] for one in specifications) else (0,):
            for batch in (_BATCH, 1) if any(one["shape"][:1] == [-1] for one in specifications) else (1,):
                generator = torch.Generator().manual_seed(seed)
                yield tuple(_example(one, batch, size, integer, generator) for one in specifications)


def _example(wanted: dict[str, Any], batch: int, size: int, integer: int, generator: torch.Generator) -> torch.Tensor:
    shape = [size if one == -1 else one for one in wanted["shape"]]
    if wanted["shape"][:1] == [-1]:
        shape[0] = batch
    dtype = dtype_of(wanted["dtype"])
    if math.prod(shape) > 1 << 28:
        raise RefusalError(f"an example of {shape} for {wanted['name']} is too large")
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.full(shape, bool(integer) if dtype == torch.bool else integer, dtype=dtype)


def _reason(error: Exception | None) -> str:
    """Return what matters of torch's message, which ends in it after a traceback through the model's code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason was given"
