"""The shapes that a person asks for, held against the inputs that a model has."""

from collections.abc import Mapping, Sequence

from klever.steps.converters.interface import Options
from klever.steps.errors import ConversionError, UnansweredError
from klever.steps.model.signature import Tensor


def asked_shapes(inputs: Sequence[Tensor], options: Options) -> dict[str, tuple[int, ...]]:
    """Return input name to the shape that ``options`` ask for, -1 for a dynamic size; other inputs are left out.

    Raises `ConversionError` for an input that the model does not have or a shape that contradicts its own, and
    `UnansweredError` where a batch size is asked of an input of unknown rank.
    """
    known = {tensor.name: tensor for tensor in inputs}
    check_names(list(known), options)
    result = {name: tuple(shape) for name, shape in options.shapes.items()}
    if options.batch is not None:
        for name, tensor in known.items():
            shape = result.get(name, tensor.shape)
            if shape is None:
                raise UnansweredError(
                    f"the rank of input {name!r} is not in the files", next_step=f"--shape {name}=..."
                )
            if shape:
                result[name] = (options.batch, *shape[1:])
    for name, shape in result.items():
        _check(name, known[name].shape, shape)
    return result


def check_names(inputs: Sequence[str], options: Options) -> None:
    """Raise `ConversionError` where a shape is asked for an input that is not among ``inputs``."""
    if unknown := sorted(options.shapes.keys() - set(inputs)):
        raise ConversionError(
            f"the model has no input {unknown[0]!r}", next_step=f"its inputs are {', '.join(inputs) or 'none'}"
        )


def _check(name: str, own: Sequence[int] | None, asked: Sequence[int]) -> None:
    """Let a size be fixed that the model leaves open; one that it fixes is part of its weights or of its graph."""
    if own is None:
        return
    if len(own) != len(asked) or any(old not in (-1, new) for old, new in zip(own, asked, strict=True)):
        raise ConversionError(
            f"input {name!r} has the shape {_text(own)} in the model, which cannot become {_text(asked)}",
            next_step="ask only for sizes that the model leaves open",
        )


def _text(shape: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def as_lists(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[int]]:
    """Return shapes as JSON has them."""
    return {name: list(shape) for name, shape in shapes.items()}
