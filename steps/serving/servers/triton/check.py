"""Hold a ``config.pbtxt`` against the model that it is for, before a server does when it starts.

Triton says what is wrong in a log, after the pod was scheduled and the model fetched. What is checked is what
``ValidateModelConfig`` and the backends check. What does not belong here: how a configuration is made.
"""

import math
from collections.abc import Sequence

from klever.steps.errors import ServingError
from klever.steps.model.signature import Signature, Tensor
from klever.steps.serving.datatypes import datatype_of
from klever.steps.serving.servers.triton.backends import Backend
from klever.steps.serving.servers.triton.schema import Message, parse_text
from klever.steps.serving.servers.triton.tensors import quoted, triton_type


class ConfigurationError(ServingError):
    """A ``config.pbtxt`` that Triton would refuse, or that is for another model."""

    usual_step = "correct config.pbtxt, or leave it out to have it written"


def check_text(text: bytes, name: str, backend: Backend, signature: Signature) -> None:
    """Raise `ConfigurationError` for the first thing that is wrong with the text of a configuration."""
    try:
        config = parse_text(text)
    except ValueError as error:
        raise ConfigurationError(f"config.pbtxt is no configuration of Triton: {error}") from None
    check_config(config, name, backend, signature)


def check_config(config: Message, name: str, backend: Backend, signature: Signature) -> None:
    """Raise `ConfigurationError` with one sentence for the first thing that is wrong with a configuration.

    ``signature`` has the names that the backend knows the tensors by (`tensors.renamed`); what it does not tell is not
    held against the configuration.
    """
    if config.name not in ("", name):
        raise ConfigurationError(f"config.pbtxt is for {quoted(config.name)}, but its directory is {name}")
    _check_backend(config, backend)
    if config.max_batch_size < 0:
        raise ConfigurationError(f"max_batch_size is {config.max_batch_size}, expected 0 or more")
    _check_tensors("input", config.input, signature.inputs, config.max_batch_size)
    _check_tensors("output", config.output, signature.outputs, config.max_batch_size)
    if any(size <= 0 or size > config.max_batch_size for size in config.dynamic_batching.preferred_batch_size):
        raise ConfigurationError("a preferred batch size lies beyond max_batch_size")


def _check_backend(config: Message, backend: Backend) -> None:
    if not config.backend and not config.platform:
        raise ConfigurationError("config.pbtxt names neither backend nor platform")
    if config.backend not in ("", backend.name):
        raise ConfigurationError(f"the backend is {quoted(config.backend)}, expected {backend.name or 'none'}")
    if config.platform not in ("", backend.platform):
        raise ConfigurationError(f"the platform is {quoted(config.platform)}, expected {backend.platform}")


def _check_tensors(kind: str, got: Sequence[Message], expected: Sequence[Tensor] | None, max_batch: int) -> None:
    if expected is None:
        return
    known = {tensor.name: tensor for tensor in expected}
    seen: set[str] = set()
    for each in got:
        if each.name in seen:
            raise ConfigurationError(f"the {kind} {quoted(each.name)} is there twice")
        if each.name not in known:
            raise ConfigurationError(f"there is no {kind} {quoted(each.name)}, the model has {_names(known)}")
        seen.add(each.name)
        _check_tensor(f"{kind} {quoted(each.name)}", each, known[each.name], max_batch)
    if lacking := next((name for name in known if name not in seen), None):
        raise ConfigurationError(f"the {kind} {quoted(lacking)} is lacking")


def _check_tensor(what: str, got: Message, expected: Tensor, max_batch: int) -> None:
    type_name = got.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[got.data_type].name
    if got.data_type == 0:
        raise ConfigurationError(f"the {what} has no data_type")
    datatype = datatype_of(expected.dtype)
    if datatype and type_name != triton_type(datatype):
        raise ConfigurationError(f"the {what} is {type_name}, expected {triton_type(datatype)}")
    _check_numbers(what, got, max_batch)
    if expected.shape is None:
        return
    own = list(got.reshape.shape if got.HasField("reshape") else got.dims)
    full = [-1, *own] if max_batch else own
    # The one way to write a tensor without dimensions where requests are not batched.
    wanted = list(expected.shape) or [1]
    if len(full) != len(wanted) or any(a not in (-1, b) and b != -1 for a, b in zip(full, wanted, strict=True)):
        batch = " with the batch" if max_batch else ""
        raise ConfigurationError(f"the {what} has the shape {full}{batch}, expected {list(expected.shape)}")
    if max_batch and wanted[0] != -1:
        raise ConfigurationError(f"the first dimension of the {what} is {wanted[0]}, so max_batch_size has to be 0")


def _check_numbers(what: str, got: Message, max_batch: int) -> None:
    """Check what ``ValidateIOShape`` does, whatever the model is."""
    if not got.dims:
        raise ConfigurationError(f"the {what} has no dims, expected [1] with an empty reshape for no dimensions")
    if any(size < 1 and size != -1 for size in (*got.dims, *got.reshape.shape)):
        raise ConfigurationError(f"a dimension of the {what} is neither -1 nor at least 1")
    if not got.HasField("reshape"):
        return
    shape = got.reshape.shape
    if not shape and not max_batch:
        raise ConfigurationError(f"the {what} has an empty reshape, which needs a batch")
    if _runs(got.dims) != _runs(shape):
        raise ConfigurationError(f"dims and reshape of the {what} differ in size")


def _runs(dims: Sequence[int]) -> list[int]:
    """Return the sizes between dynamic dimensions, which a reshape leaves as they are."""
    dynamic = [index for index, size in enumerate(dims) if size == -1]
    bounds = zip([-1, *dynamic], [*dynamic, len(dims)], strict=True)
    return [math.prod(dims[begin + 1 : end]) for begin, end in bounds]


def _names(known: dict[str, Tensor]) -> str:
    shown = ", ".join(quoted(name) for name in list(known)[:5]) or "none"
    return f"{shown} and {len(known) - 5} more" if len(known) > 5 else shown
