"""Serve an artifact on this machine: planned, converted where its server needs that, laid out, and started.

What does not belong here: waiting for the server, and asking the model something.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from klever.api.serving.local import control
from klever.api.serving.local.record import Asked, Place
from klever.steps.artifact import load_artifact
from klever.steps.conversions import Demands
from klever.steps.convert import convert
from klever.steps.converters.interface import Options
from klever.steps.environments import environment, find_interpreter
from klever.steps.environments.create import create as create_environment
from klever.steps.environments.process import PROGRAMS
from klever.steps.errors import AlreadyExistsError, EnvironmentMissingError, ServingError
from klever.steps.oci.reference import Reference, parse_reference
from klever.steps.provision import Provision, provision
from klever.steps.serve import ServingPlan, plan_serving_artifact
from klever.steps.serving.servers.interface import Process, Tuning
from klever.steps.serving.uri import ModelUri, usual_name
from klever.steps.stores import Stores
from klever.steps.transfer import watched

#: Called with the part of the work that is done, from 0 to 1, and what is being done now.
Progress = Callable[[float, str], None]
#: Where this machine's store keeps what was converted to be served.
_CONVERTED = "servings"
#: Parts of the work that are done when the next thing begins.
_CONVERSION_ENDS, _PROVISION_ENDS = 0.8, 0.95


@dataclass(frozen=True)
class Wish:
    """What a person asks of a serving."""

    reference: Reference
    #: By default the last part of the repository.
    name: str = ""
    server: str | None = None
    tuning: Tuning = field(default_factory=Tuning)
    options: Options = field(default_factory=Options)
    demands: Demands = field(default_factory=Demands)
    #: Take the place of what is served under the name.
    replace: bool = False
    create_environments: bool = False


@dataclass(frozen=True)
class Deployed:
    """A serving that was started, and what a person should know of it."""

    place: Place
    provision: Provision


def deploy(wish: Wish, stores: Stores, *, report: Progress = lambda _done, _doing: None) -> Deployed:
    """Start a serving; it is not ready yet when this returns.

    What was served under the name before goes on until the new model is laid out. Raises `AlreadyExistsError` for a
    name that is taken, `ServingError` for a model that no server here takes, `EnvironmentMissingError`, and what
    converting and fetching raise.
    """
    name = wish.name or usual_name(wish.reference)
    place = control.place_of(name)
    if place.directory.exists() and not wish.replace:
        raise AlreadyExistsError(
            f"{name} is served already",
            stage="plan",
            next_step=f"choose another --name, or --replace it, or klever serving delete {name}",
        )
    # From here on a tag that moves changes nothing.
    pinned = load_artifact(stores.open(wish.reference), wish.reference).reference
    plan = plan_serving_artifact(pinned, stores, name=name, platform="local", server=wish.server, options=wish.options)
    if plan.lacks:
        raise ServingError(
            plan.lacks[0], stage="plan", next_step="tell it in ormbfile.yaml, and publish the model again"
        )
    bin_directory = _programs(plan, wish)
    begun = 0.0
    if plan.conversion is not None:
        pinned = _converted(pinned, plan, wish, name, stores, report)
        begun = _CONVERSION_ENDS
    uri = ModelUri(pinned, plan.server.id, name, wish.tuning)
    fresh = place.directory / f"models-{datetime.now(UTC):%Y%m%d%H%M%S%f}"
    try:
        laid_out = provision(uri, fresh, stores, watch=watched(report, begun, _PROVISION_ENDS))
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        # Not where another version is served.
        with suppress(OSError):
            place.directory.rmdir()
        raise
    report(_PROVISION_ENDS, "start")
    control.stop(place)
    process = plan.server.process(name, wish.tuning)
    place.write_asked(_asked(wish, laid_out, process, bin_directory, fresh))
    for old in place.directory.glob("models-*"):
        if old != fresh:
            shutil.rmtree(old, ignore_errors=True)
    control.start(place)
    return Deployed(place, laid_out)


def _programs(plan: ServingPlan, wish: Wish) -> Path | None:
    """Return where the programs of the server's environment are, before anything long is begun; None for the PATH."""
    wanted = plan.server.runs_in
    if wanted:
        made = environment(wanted)
        return (create_environment(made) if wish.create_environments else find_interpreter(made)).parent
    program = plan.server.process("model", wish.tuning).command[0]
    if shutil.which(program) is None:
        raise EnvironmentMissingError(
            f"the program {program}, which serves {plan.format}, is not on the PATH",
            stage="plan",
            next_step=f"run mvn -f images/{program} package, and put images/{program}/target/{program}/bin on the PATH",
        )
    return None


def _converted(
    source: Reference, plan: ServingPlan, wish: Wish, name: str, stores: Stores, report: Progress
) -> Reference:
    """Return what an artifact was converted to, pinned."""
    converted = convert(
        source,
        plan.format,
        parse_reference(f"{_CONVERTED}/{name.lower()}:{plan.format.lower()}"),
        stores,
        options=wish.options,
        demands=wish.demands,
        create_environments=wish.create_environments,
        report=lambda done, doing: report(done * _CONVERSION_ENDS, doing),
    )
    if converted.reference is None:
        raise TypeError("a conversion to a reference has one")
    return converted.reference


def _asked(wish: Wish, laid_out: Provision, process: Process, bin_directory: Path | None, models: Path) -> Asked:
    program, *arguments = process.command
    known = {"directory": str(models), "name": laid_out.name, "programs": str(PROGRAMS), "host": "127.0.0.1"}

    def filled(text: str) -> str:
        for name, value in known.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    if bin_directory is not None:
        program = str(bin_directory / program)
    return Asked(
        name=laid_out.name,
        reference=str(wish.reference),
        pinned=str(laid_out.artifact.reference),
        format=laid_out.artifact.metadata.format,
        server=laid_out.server.id,
        protocol=process.protocol.value,
        command=(program, *map(filled, arguments)),
        ports=tuple(process.ports),
        ready=process.ready,
        environment={key: filled(value) for key, value in process.environment.items()},
        signature=laid_out.signature.to_json(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
