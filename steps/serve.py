"""Say how a model would be served, without doing it: by which server, and as what.

    plan_serving(recognise(Path("resnet-symbol.json"))).to_json()["conversion"]["target"]   # 'ONNX'

A server that does not take the model's format gets it converted. What does not belong here: where a server runs, which
is a platform's matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.interface import Options
from klever.steps.converters.paths import reachable
from klever.steps.converters.table import PAIRS
from klever.steps.errors import ServingError, at_stage
from klever.steps.extract import extract
from klever.steps.files import ModelFiles
from klever.steps.plan import Plan, plan
from klever.steps.recognise import Model
from klever.steps.serving.platforms.resources import Resources, estimate_resources
from klever.steps.serving.servers.interface import ServedModel, Server
from klever.steps.serving.servers.table import all_servers, load_server
from klever.steps.serving.uri import check_name

if TYPE_CHECKING:
    from klever.steps.oci.reference import Reference
    from klever.steps.stores import Stores

#: Where a model can be served, and the servers that there are, the preferred one first. Nobody runs Triton without its
#: image, so a laptop has none.
PLATFORMS: Final = {
    "local": ("mlserver", "openscoring"),
    "kubernetes": ("triton", "mlserver", "openscoring"),
    "seldon": ("triton", "mlserver", "openscoring"),
    "kserve": ("triton", "mlserver", "openscoring"),
}
#: Of the formats that a server takes, what a model is converted to: what every converter leads to.
_TARGET: Final = "ONNX"


@dataclass(frozen=True)
class ServingPlan:
    """A server for a model, and what stands between them."""

    #: The model's format, and the one that is served.
    source: str
    format: str
    platform: str
    server: Server
    #: How the one becomes the other; None where the server takes the model as it is.
    conversion: Plan | None
    #: What the server cannot do without and the model does not tell, a sentence each.
    lacks: tuple[str, ...]
    notes: tuple[str, ...]
    #: What one pod, or the process on a laptop, is estimated to take.
    resources: Resources

    @property
    def is_feasible(self) -> bool:
        """Whether nothing is missing; environments can be made."""
        return not self.lacks and (self.conversion is None or self.conversion.is_feasible)

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object."""
        return {
            "source": self.source,
            "format": self.format,
            "platform": self.platform,
            "server": self.server.id,
            "feasible": self.is_feasible,
            "conversion": self.conversion.to_json() if self.conversion else None,
            "lacks": list(self.lacks),
            "notes": list(self.notes),
            "resources": {**self.resources.quantities, "storage": self.resources.storage_quantity},
        }


def plan_serving(
    model: Model[ModelFiles],
    *,
    name: str = "model",
    platform: str = "kubernetes",
    server: str | None = None,
    options: Options | None = None,
) -> ServingPlan:
    """Plan how a recognised model is served.

    The first server of the platform that takes the format is chosen, else the first that takes what the format can be
    converted to. Raises `ServingError` where there is none, and what `klever.steps.plan.plan` raises.
    """
    with at_stage("plan"):
        check_name(name)
        if platform not in PLATFORMS:
            raise ServingError(
                f"there is no platform {platform[:40]!r}", next_step=f"use one of {', '.join(PLATFORMS)}"
            )
        candidates = list(_candidates(platform, server))
        source = model.format.id
        size = sum(model.files.sizes.values())
        taking = next((each for each in candidates if source in each.formats), None)
        if taking is not None:
            extraction = extract(model)
            signature = extraction.metadata.signature
            if signature is None:
                raise ServingError(f"the signature of this {source} model cannot be read")
            served = ServedModel(name, source, model.files, model.claim, signature, extraction.metadata)
            lacks = taking.lacks(served)
            resources = estimate_resources(taking.id, size, signature.layers)
            return ServingPlan(source, source, platform, taking, None, lacks, extraction.notes, resources)
    taking = next((each for each in candidates if _TARGET in each.formats), None)
    if taking is None or _TARGET not in reachable(PAIRS, source):
        where = f"{server} does not take" if server else f"no server on {platform} takes"
        raise ServingError(
            f"{where} {source}, and nothing converts it to what {'it' if server else 'one'} does",
            stage="plan",
            next_step=_elsewhere(source, platform),
        )
    conversion = plan(model, _TARGET, options)
    # The plan has read the signature already.
    resources = estimate_resources(taking.id, size, conversion.model.signature.layers)
    return ServingPlan(source, _TARGET, platform, taking, conversion, (), (), resources)


def plan_serving_artifact(
    reference: "Reference",
    stores: "Stores",
    *,
    name: str = "model",
    platform: str = "kubernetes",
    server: str | None = None,
    options: Options | None = None,
    format_id: str | None = None,
) -> ServingPlan:
    """Plan how an artifact is served; of its layer no more is transferred than the plan reads."""
    from klever.steps.artifact import load_artifact
    from klever.steps.oci.layer import LayerFiles
    from klever.steps.recognise import choose

    store = stores.open(reference)
    artifact = load_artifact(store, reference, format_id=format_id)
    with at_stage("plan"), LayerFiles(store, artifact.reference.repository, artifact.manifest.layer) as files:
        form, claim = choose(files, format_id or artifact.metadata.format)
        model = Model[ModelFiles](files, form, claim, artifact.metadata)
        return plan_serving(model, name=name, platform=platform, server=server, options=options)


def _candidates(platform: str, server: str | None) -> Iterator[Server]:
    there = PLATFORMS[platform]
    if server is None:
        yield from map(load_server, there)
        return
    chosen = load_server(server)
    if chosen.id not in there:
        raise ServingError(
            f"{chosen.id} does not run on {platform}", next_step=f"use {' or '.join(there)}, or another platform"
        )
    yield chosen


def _elsewhere(source: str, platform: str) -> str:
    """Say which server would take a format."""
    taking = [each.id for each in all_servers() if source in each.formats and each.id not in PLATFORMS[platform]]
    if taking:
        return f"{taking[0]} takes {source}, on another platform"
    targets = reachable(PAIRS, source)
    return f"convert it: {source} can become {', '.join(targets)}" if targets else "publish the model in another format"
