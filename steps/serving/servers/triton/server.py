"""Triton as a `Server`: one release of it, so that what it takes is known beforehand.

What does not belong here: the parts of a configuration, which have modules of their own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from klever.steps.errors import ServingError
from klever.steps.model.signature import Signature
from klever.steps.serving.servers.interface import Layout, Process, Protocol, ServedModel, Server, Tuning
from klever.steps.serving.servers.triton.backends import BACKENDS, Backend, formats_of
from klever.steps.serving.servers.triton.batching import Batching, decide
from klever.steps.serving.servers.triton.check import check_config
from klever.steps.serving.servers.triton.config import LONGEST_DELAY, MOST_INSTANCES, Settings, build_config
from klever.steps.serving.servers.triton.labels import label_lines
from klever.steps.serving.servers.triton.release import COMPLETES_CONFIGURATIONS, CURRENT, LISTENS_WHERE_TOLD, Release
from klever.steps.serving.servers.triton.repository import place_files
from klever.steps.serving.servers.triton.schema import write_text
from klever.steps.serving.servers.triton.tensors import as_clients_see, lacks_of, place, renamed
from klever.steps.serving.uri import check_name

_CONFIG: Final = "config.pbtxt"
#: Metrics are where HTTP is.
_LISTEN: Final = ("--http-address={host}", "--grpc-address={host}")
_CONVERT: Final = "convert the model to ONNX, which every release of Triton takes"
#: The signature that TensorFlow serves unless told.
_USUAL_SIGNATURE: Final = "serving_default"


class Triton(Server):
    """A release of Triton."""

    id = "triton"

    def __init__(self, release: Release = CURRENT) -> None:
        self.release = release
        self.formats = formats_of(release)

    def lacks(self, model: ServedModel) -> tuple[str, ...]:
        """Return why this release cannot serve the model: its backend, types and shapes that are unknown or nowhere."""
        if lack := self._lacks_backend(model.format):
            return (lack,)
        backend = BACKENDS[model.format]
        batching = decide(model.signature, Tuning(), backend)
        return lacks_of(model.signature, backend, batched=batching.max_batch > 0)

    def layout(self, model: ServedModel, tuning: Tuning) -> Layout:
        """Return ``1/``, ``config.pbtxt`` and files of labels; raises `ServingError` and `EnvironmentMissingError`."""
        check_name(model.name)
        if lack := self._lacks_backend(model.format):
            raise ServingError(lack, next_step=_CONVERT)
        backend = BACKENDS[model.format]
        signature = renamed(model.signature, model.format)
        batching = decide(signature, tuning, backend)
        batched = batching.max_batch > 0
        if lacks := lacks_of(signature, backend, batched=batched):
            raise ServingError(f"triton cannot serve {model.name}: {lacks[0]}")
        files = place_files(model)
        labels, texts = _labels(signature, batched=batched)
        settings = Settings(
            model.name,
            backend,
            self.release,
            batching.max_batch,
            tuning,
            file_name=files.file_name,
            labels=labels,
            parameters=_parameters(model),
        )
        config = build_config(settings, signature)
        check_config(config, model.name, backend, signature)
        texts[_CONFIG] = write_text(config)
        seen = as_clients_see(signature, batched=batched)
        return Layout(
            files.places,
            texts,
            _notes(model.signature, signature, seen, backend, batching, tuning),
            seen=None if seen == model.signature else seen,
        )

    def process(self, name: str, tuning: Tuning) -> Process:
        """Return how Triton is started for the one model, so that it ends where that does not load."""
        del tuning
        complete = self.release < COMPLETES_CONFIGURATIONS
        return Process(
            image=self.release.image,
            command=(
                "tritonserver",
                "--model-repository={directory}",
                "--model-control-mode=explicit",
                f"--load-model={name}",
                "--strict-model-config=true" if complete else "--disable-auto-complete-config",
                *(_LISTEN if self.release >= LISTENS_WHERE_TOLD else ()),
                "--http-port={http}",
                "--grpc-port={grpc}",
                "--metrics-port={metrics}",
            ),
            ports=MappingProxyType({"http": 8000, "grpc": 8001, "metrics": 8002}),
            live="/v2/health/live",
            ready="/v2/health/ready",
            protocol=Protocol.V2,
        )

    def _lacks_backend(self, format_id: str) -> str:
        backend = BACKENDS.get(format_id)
        if backend is None:
            return f"triton does not take {format_id}"
        if not backend.is_in(self.release):
            return (
                f"Triton {self.release} has no backend for {format_id}, which left with {backend.gone}: "
                "convert the model to ONNX or use an older release"
            )
        return ""


def _labels(signature: Signature, *, batched: bool) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return output to the name of its file of labels, and these files."""
    names: dict[str, str] = {}
    texts: dict[str, bytes] = {}
    for index, tensor in enumerate(signature.outputs or ()):
        if lines := label_lines(tensor, place(tensor, batched=batched).dims):
            names[tensor.name] = f"labels-{index}.txt"
            texts[names[tensor.name]] = lines
    return names, texts


def _parameters(model: ServedModel) -> Mapping[str, str]:
    """Return what TensorFlow's backend is told about a SavedModel of unusual names (its README, "Parameters")."""
    facts: Mapping[str, Any] = model.metadata.facts or {}
    served = facts.get("signatureName")
    if model.format == "SavedModel" and isinstance(served, str) and served != _USUAL_SIGNATURE:
        return {"TF_SIGNATURE_DEF": served}
    return {}


def _notes(
    own: Signature, named: Signature, seen: Signature, backend: Backend, batching: Batching, tuning: Tuning
) -> tuple[str, ...]:
    notes = list(batching.notes)
    if named != own:
        notes.append("the outputs are called output__0 and so on: PyTorch's backend finds them by position")
    if seen != named:
        notes.append("Triton has no tensors without dimensions, so clients send and get a dimension of 1 instead")
    if backend.needs_gpu and not tuning.gpu:
        notes.append("TensorRT needs a graphics card of the kind that the engine was built on")
    if tuning.queue_delay > LONGEST_DELAY:
        notes.append(f"requests wait for others at most {LONGEST_DELAY} microseconds")
    if tuning.instances > MOST_INSTANCES:
        notes.append(f"there are at most {MOST_INSTANCES} copies of the model")
    return tuple(notes)
