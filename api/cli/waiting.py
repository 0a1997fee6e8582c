"""See a run to its end: a workflow of a cluster as it goes on, with its logs, and how a run of whatever kind ended.

What does not belong here: how runs look.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from klever.api.cli import output
from klever.api.cli.runs import exit_code, print_end, run_document
from klever.api.cli.tree import Display, display

# A run on this machine needs no cluster.
if TYPE_CHECKING:
    from klever.workflows.argo.client import Cluster
    from klever.workflows.argo.logs import Logs
    from klever.workflows.status import Run

#: The exit code of a command that Ctrl-C has ended.
INTERRUPTED: Final = 130


def wait_for(
    cluster: "Cluster",
    name: str,
    namespace: str,
    *,
    logs: bool,
    as_json: bool,
    cancel_on_interrupt: bool = False,
) -> int:
    """Show a workflow of a cluster until it is over, and return the exit code for its end."""
    from klever.workflows.argo.watch import follow

    latest: Run | None = None
    with display(quiet=as_json) as shown:
        try:
            with ExitStack() as streams:
                if logs:
                    streams.enter_context(_logs(cluster, name, namespace, shown, lambda: latest))
                for run in follow(cluster, name, namespace):
                    latest = run
                    shown.show(run)
        except KeyboardInterrupt:
            if not cancel_on_interrupt:
                shown.say(f"{name} goes on; klever workflows stop {name} -n {namespace} ends it")
                raise
            _stop(cluster, name, namespace, shown)
            raise
    assert latest is not None  # noqa: S101 - follow yields at least one run, or raises
    return end(latest, f"-n {namespace}", as_json=as_json)


def _stop(cluster: "Cluster", name: str, namespace: str, shown: Display) -> None:
    """Stop a workflow and see it to its end; a second Ctrl-C leaves it to its own."""
    from klever.workflows.argo.control import stop
    from klever.workflows.argo.errors import WrongPhaseError
    from klever.workflows.argo.watch import wait

    shown.say(f"stopping {name}; Ctrl-C again does not wait for its end")
    # It may have ended by itself in this moment.
    with suppress(WrongPhaseError):
        stop(cluster, name, namespace)
    wait(cluster, name, namespace, shown.show)


def _logs(cluster: "Cluster", name: str, namespace: str, shown: Display, latest: Callable[[], "Run | None"]) -> "Logs":
    from klever.workflows.argo.logs import Line, Logs

    def say(line: Line) -> None:
        run = latest()
        node = run.nodes.get(line.node) if run else None
        shown.say(f"{node.display_name if node else line.node_name}: {line.text}")

    return Logs(cluster, name, namespace, on_line=say, on_note=lambda text: shown.say(f"note: {text}"))


def end(run: "Run", where: str, *, as_json: bool) -> int:
    """Print how a run ended; return the exit code for it. ``where`` is the option that finds it again."""
    if as_json:
        output.print_json(run_document(run))
    else:
        print_end(run, where)
    sys.stdout.flush()
    return exit_code(run)
