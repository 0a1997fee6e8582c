"""What every platform's module provides: one `Platform` named ``PLATFORM``, and the data that it builds of.

What does not belong here: what a server is started with, which `klever.steps.serving.servers` says.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.resources import Resources
from klever.steps.serving.servers.interface import Process
from klever.steps.serving.uri import ModelUri

#: An object of Kubernetes, as JSON has it.
Manifest = dict[str, Any]

_WHOLE = 100


@dataclass(frozen=True)
class Header:
    """A request's header, and the value by which it is meant for one predictor."""

    name: str
    value: str


@dataclass(frozen=True)
class Predictor:
    """One version of a model, and the pods that serve it.

    Its name stays with the version, so that a promotion moves traffic and starts nothing again.
    """

    name: str
    #: The model, pinned to a digest, with its server and its name.
    uri: ModelUri
    process: Process
    resources: Resources
    #: Pods, where nothing else scales them.
    replicas: int = 1
    #: Percent of the requests that no header claims.
    traffic: int = _WHOLE
    #: The requests that it gets instead of a share.
    header: Header | None = None
    #: Graphics cards of one pod.
    gpus: int = 0


@dataclass(frozen=True)
class Autoscaling:
    """Between how many pods a platform may choose, and by which load."""

    minimum: int
    maximum: int
    #: Percent of the processors that were asked for.
    cpu: int = 80


@dataclass(frozen=True)
class Settings:
    """What an installation decides; everything has a value that works without a registry's credentials."""

    #: What stands before the short name of an image of ours, with its last slash, and the tag behind it.
    image_prefix: str = "docker.io/klever/"
    image_tag: str = "1.0.0"
    image_pull_policy: str = "IfNotPresent"
    #: A secret by which nodes pull images; empty for none.
    image_pull_secret: str = ""
    #: Short name or whole reference of the image whose entry point is ``klever-initializer``.
    initializer: str = "initializer"
    #: A secret of the type kubernetes.io/dockerconfigjson for the registry of models; empty for none.
    registry_secret: str = ""
    #: A secret whose keys are variables (``ORMB_USERNAME``, ``ORMB_PASSWORD``), for platforms that bring their own init
    #: container; empty for none.
    environment_secret: str = ""
    #: Whether the registry speaks HTTP, not HTTPS.
    plain_http: bool = False
    #: A ConfigMap with the registry's certificate authorities in ``ca.crt``; empty for the usual ones.
    ca_config_map: str = ""
    #: The account of the pods, whose token is not mounted; empty for the namespace's own.
    service_account: str = ""
    #: Seconds until a rollout that does not get on counts as failed: a pull and a start.
    progress_deadline: int = 1_200


@dataclass(frozen=True)
class Serving:
    """A model under one name, in one or several versions."""

    name: str
    namespace: str
    #: The oldest version first.
    predictors: tuple[Predictor, ...]
    settings: Settings = field(default_factory=Settings)
    #: What is known of the model, to find it by: bare names to values (``format`` to ``ONNX``).
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    #: Empty for the cluster's own.
    scheduler: str = ""
    autoscaling: Autoscaling | None = None

    def __post_init__(self) -> None:
        """Raise `ServingError` for what no platform can serve."""
        names = [predictor.name for predictor in self.predictors]
        if not names or len(set(names)) != len(names):
            told = ", ".join(names) or "none"
            raise ServingError(f"{self.name[:80]!r} needs predictors with a name each, got {told}")
        for predictor in self.predictors:
            _check_predictor(predictor)
        if not (shared := [each for each in self.predictors if each.header is None]):
            raise ServingError(f"every predictor of {self.name[:80]!r} waits for a header, so most requests reach none")
        if (total := sum(each.traffic for each in shared)) != _WHOLE:
            raise ServingError(f"the traffic of {self.name[:80]!r} adds up to {total} %, expected 100 %")
        if (scaling := self.autoscaling) and not 1 <= scaling.minimum <= scaling.maximum:
            limits = f"{scaling.minimum} to {scaling.maximum}"
            raise ServingError(f"got {limits} replicas, expected 1 or more, the fewer first")


class Platform(ABC):
    """One way to have a model served by Kubernetes."""

    #: Its name on the command line.
    id: ClassVar[str]
    #: The kind of the object that says how the serving stands.
    kind: ClassVar[str]

    @abstractmethod
    def build(self, serving: Serving) -> tuple[Manifest, ...]:
        """Return the objects, in the order to apply them; raises `ServingError` for what the platform cannot do."""


def _check_predictor(predictor: Predictor) -> None:
    uri = predictor.uri
    if uri.reference.digest is None:
        raise ServingError(
            f"{uri.reference} has no digest, so pods that start later could serve another model",
            next_step="name the digest that the tag has now",
        )
    if not uri.reference.host:
        raise ServingError(f"{uri.reference} lies in this machine's store, which a cluster cannot pull from")
    if not uri.name or not uri.server:
        raise ServingError(f"{uri} has to name the server and the model, or the initializer would choose them")
    if not 0 <= predictor.traffic <= _WHOLE:
        raise ServingError(f"got {predictor.traffic} % of the traffic for {predictor.name[:80]!r}, expected 0 to 100")
    if predictor.replicas < 1 or predictor.gpus < 0:
        raise ServingError(
            f"got {predictor.replicas} replicas with {predictor.gpus} graphics cards, expected 1 or more with 0 or more"
        )
