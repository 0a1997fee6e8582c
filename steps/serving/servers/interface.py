"""What every server's module provides: one `Server` named ``SERVER``.

What does not belong here: platforms, which run what a `Process` says in a container of their own kind.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim
from klever.steps.model.metadata import Metadata
from klever.steps.model.signature import Signature


class Protocol(StrEnum):
    """How a server is asked for predictions."""

    #: The Open Inference Protocol over HTTP: ``POST /v2/models/NAME/infer``.
    V2 = "v2"
    #: ``POST /openscoring/model/NAME``.
    OPENSCORING = "openscoring"


@dataclass(frozen=True)
class ServedModel:
    """A model as a server gets it."""

    #: What clients call it: letters, digits, ``-``, ``_`` and ``.``.
    name: str
    #: The format's id.
    format: str
    #: The files below ``model/``, which may lie in a registry: heads are cheap to read, bodies are not.
    files: ModelFiles
    claim: Claim
    signature: Signature
    metadata: Metadata


@dataclass(frozen=True)
class Tuning:
    """What a person may ask of a server; None and 0 leave it to the server's module."""

    #: The largest batch: 0 for none at all, None to decide by the first dimensions.
    max_batch: int | None = None
    #: Copies of the model in one process.
    instances: int = 1
    #: How long a request may wait for others to make a batch with, in microseconds.
    queue_delay: int = 0
    #: Whether a graphics card is there.
    gpu: bool = False


@dataclass(frozen=True)
class Layout:
    """What the model's own directory holds, ``DIRECTORY/NAME`` of the server's; paths are relative, with ``/``."""

    #: Path in the model's directory to the path below ``model/`` of the file that lies there.
    files: Mapping[str, str]
    #: Path in the model's directory to what is generated for it.
    texts: Mapping[str, bytes] = field(default_factory=dict)
    #: What a person should know: ``the first dimension of 'x' is fixed, so requests are not batched``.
    notes: tuple[str, ...] = ()
    #: What clients see, where that is not the model's own signature: other names, a dimension of 1 for none.
    seen: Signature | None = None


@dataclass(frozen=True)
class Process:
    """How a server is started, and where it answers.

    In ``command`` and ``environment`` stand ``{directory}`` for where the models lie, ``{name}`` for the model's name,
    ``{programs}`` for our own programs, ``{host}`` for the address to listen at and the name of a port for its number.
    """

    #: The image: a whole reference of a public one, or the short name of one of ours (``serve-mlserver``).
    image: str
    #: Program and arguments.
    command: tuple[str, ...]
    #: Name of a port (``http``, ``grpc``, ``metrics``) to its usual number.
    ports: Mapping[str, int]
    #: Paths of ``GET`` at the port ``http``: the process lives; the model answers.
    live: str
    ready: str
    protocol: Protocol
    environment: Mapping[str, str] = field(default_factory=dict)


class Server(ABC):
    """One inference server."""

    #: Its name on the command line.
    id: ClassVar[str]
    #: The ids of the formats that it takes as they are.
    formats: frozenset[str]
    #: The environment of `klever.steps.environments` that its programs are of, on a machine without images; empty where
    #: it needs its image.
    runs_in: ClassVar[str] = ""

    @abstractmethod
    def lacks(self, model: ServedModel) -> tuple[str, ...]:
        """Return what the server cannot do without and the model does not tell, a sentence each."""

    @abstractmethod
    def layout(self, model: ServedModel, tuning: Tuning) -> Layout:
        """Return what the server's directory holds for a model; raises `ServingError` for one that it cannot take."""

    @abstractmethod
    def process(self, name: str, tuning: Tuning) -> Process:
        """Return how the server is started for a model of that name."""
