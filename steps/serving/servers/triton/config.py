"""``config.pbtxt``: a message of Triton's schema, filled in and written as text by protobuf.

Sources are model_config.proto and ``ValidateModelConfig`` of triton-inference-server/core. What does not belong here:
what the model's files say; that is in the signature.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from klever.steps.model.signature import Signature, Tensor
from klever.steps.serving.servers.interface import Tuning
from klever.steps.serving.servers.triton.backends import Backend
from klever.steps.serving.servers.triton.release import NAMES_BACKENDS, Release
from klever.steps.serving.servers.triton.schema import Message, load_schema
from klever.steps.serving.servers.triton.tensors import Place, place, triton_type

#: Types for which zeros are a usual input. A zero among whole numbers may be a length or a size, a text may have to
#: parse; a warm-up that fails keeps the model from loading.
_HARMLESS_ZEROS: Final = frozenset({"FP16", "BF16", "FP32", "FP64", "UINT8"})
#: Values in a request that warms up.
_MOST_WARMUP_VALUES: Final = 64 << 20
#: Copies of a model, each with its memory.
MOST_INSTANCES: Final = 1024
#: A delay longer than any client waits, in microseconds: a minute.
LONGEST_DELAY: Final = 60_000_000


@dataclass(frozen=True)
class Settings:
    """What stands in a configuration beside the tensors."""

    name: str
    backend: Backend
    release: Release
    max_batch: int
    tuning: Tuning
    #: The model's file, where it is not the usual one.
    file_name: str = ""
    #: Output to the file of its labels.
    labels: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


def build_config(settings: Settings, signature: Signature) -> Message:
    """Return the message ``ModelConfig`` for tensors of which nothing is unknown."""
    schema = load_schema()
    backend = settings.backend
    config = schema.ModelConfig(name=settings.name, max_batch_size=settings.max_batch)
    if settings.release < NAMES_BACKENDS or backend.tells_platform or not backend.name:
        config.platform = backend.platform
    if settings.release >= NAMES_BACKENDS and backend.name:
        config.backend = backend.name
    config.default_model_filename = settings.file_name
    config.version_policy.latest.num_versions = 1
    batched = settings.max_batch > 0
    inputs = _add(config.input, signature.inputs or (), batched=batched)
    _add(config.output, signature.outputs or (), batched=batched)
    for output in config.output:
        output.label_filename = settings.labels.get(output.name, "")
    _add_instances(config, settings)
    if settings.max_batch > 1:
        config.dynamic_batching.SetInParent()
        if settings.tuning.queue_delay:
            config.dynamic_batching.max_queue_delay_microseconds = min(settings.tuning.queue_delay, LONGEST_DELAY)
    for key, value in settings.parameters.items():
        config.parameters[key].string_value = value
    _add_warmup(config, inputs)
    return config


def _add(fields: Message, tensors: Iterable[Tensor], *, batched: bool) -> list[Place]:
    schema = load_schema()
    places = [place(tensor, batched=batched) for tensor in tensors]
    for each in places:
        added = fields.add(name=each.name, data_type=schema.DataType.Value(triton_type(each.datatype)), dims=each.dims)
        if each.reshape is not None:
            added.reshape.SetInParent()
            added.reshape.shape.extend(each.reshape)
    return places


def _add_instances(config: Message, settings: Settings) -> None:
    schema = load_schema()
    on_gpu = settings.tuning.gpu or settings.backend.needs_gpu
    kind = schema.ModelInstanceGroup.KIND_GPU if on_gpu else schema.ModelInstanceGroup.KIND_CPU
    config.instance_group.add(count=min(max(settings.tuning.instances, 1), MOST_INSTANCES), kind=kind)


def _add_warmup(config: Message, inputs: list[Place]) -> None:
    """Ask for one request of zeros before the model counts as ready, where nothing about it has to be guessed."""
    values = sum(math.prod(each.dims) for each in inputs)
    if not inputs or any(-1 in each.dims or each.datatype not in _HARMLESS_ZEROS for each in inputs):
        return
    if values > _MOST_WARMUP_VALUES:
        return
    schema = load_schema()
    warmup = config.model_warmup.add(name="zeros", batch_size=1)
    for each in inputs:
        value = warmup.inputs[each.name]
        value.data_type = schema.DataType.Value(triton_type(each.datatype))
        value.dims.extend(each.dims)
        value.zero_data = True
