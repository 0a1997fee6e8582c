"""``klever workflows``."""

from typing import Any, Final

import click

from klever.api.cli import options, output
from klever.api.cli.runs import print_summary, run_document
from klever.api.cli.tree import by_time, human_duration
from klever.api.cli.waiting import wait_for
from klever.workflows.status import Phase, Run

_name = click.argument("name")
_on = click.option(
    "--on",
    type=click.Choice(["argo", "local"]),
    default="argo",
    show_default=True,
    help="Whose: a cluster's, or those that klever run kept on this machine.",
)
_wait = click.option("--wait", is_flag=True, help="Wait for its end.")
_logs = click.option("--logs", is_flag=True, help="Show what the steps print, on standard error; waits.")
_LISTED: Final = [phase.value for phase in (Phase.PENDING, Phase.RUNNING, Phase.SUCCEEDED, Phase.FAILED, Phase.ERROR)]
#: The most of a message that a list shows.
_MESSAGE_COLUMNS: Final = 60


@click.group("workflows")
def command() -> None:
    """List, watch, stop and repeat runs of pipelines, on Argo or on this machine.

    \b
    Example:
      klever workflows list -n models
      klever workflows get klever-release-x7f2k
      klever workflows logs klever-release-x7f2k --follow
      klever workflows retry klever-release-x7f2k --wait
    """


@command.command("list")
@_on
@click.option("-l", "--selector", metavar="SELECTOR", default="", help="Labels as kubectl takes them: k=v,k2=v2.")
@click.option("--phase", type=click.Choice(_LISTED), help="Only those in this phase.")
@options.cluster
@options.as_json
def list_workflows(
    on: str, selector: str, phase: str | None, namespace: str | None, context: str | None, as_json: bool
) -> None:
    """List workflows, the newest first.

    \b
    Example:
      klever workflows list --phase Failed
      klever workflows list -l kleveross.io/stage=convert
      klever workflows list --on local
    """
    if on == "local":
        from klever.workflows.local import list_records

        runs = [run for run in (record.read() for record in list_records()) if phase in (None, run.phase.value)]
        documents: list[dict[str, Any]] = [
            {"name": run.name, "phase": run.phase.value, "message": run.message} for run in runs
        ]
        times = [(run.started, run.finished) for run in runs]
    else:
        from klever.workflows.argo import control
        from klever.workflows.argo.client import connect

        with connect(context=context, namespace=namespace) as cluster:
            listed = control.list_workflows(cluster, labels=selector, phase=phase or "")
        documents = [
            {
                "name": each.name,
                "namespace": each.namespace,
                "phase": each.phase.value,
                "message": each.message,
                "title": each.title,
                "template": each.template,
                "progress": each.progress,
                "labels": dict(each.labels),
            }
            for each in listed
        ]
        times = [(each.started or each.created, each.finished) for each in listed]
    if as_json:
        output.print_json(
            [
                document | {"started": output.time_text(started), "finished": output.time_text(finished)}
                for document, (started, finished) in zip(documents, times, strict=True)
            ]
        )
        return
    rows = [
        (
            str(document["name"]),
            str(document["phase"]),
            human_duration(started, None),
            human_duration(started, finished),
            _short(str(document["message"])),
        )
        for document, (started, finished) in zip(documents, times, strict=True)
    ]
    output.print_table(("NAME", "PHASE", "AGE", "DURATION", "MESSAGE"), rows)


@command.command("get")
@_name
@_on
@click.option("--watch", is_flag=True, help="Show it until it is over; on Argo.")
@options.cluster
@options.as_json
def get_workflow(
    name: str, on: str, watch: bool, namespace: str | None, context: str | None, as_json: bool
) -> int | None:
    """Show a workflow: its nodes as a tree, its outputs, or why it failed.

    \b
    Example:
      klever workflows get klever-release-x7f2k
      klever workflows get klever-release-x7f2k --watch
      klever workflows get --json klever-release-x7f2k
    """
    if on == "local":
        from klever.workflows.local import find_record

        run = find_record(name).read()
    else:
        from klever.workflows.argo.client import connect
        from klever.workflows.argo.watch import get_run as get_from

        with connect(context=context, namespace=namespace) as cluster:
            if watch:
                return wait_for(cluster, name, cluster.namespace, logs=False, as_json=as_json)
            run = get_from(cluster, name)
    if as_json:
        output.print_json(run_document(run))
    else:
        print_summary(run)
    return None


@command.command("logs")
@_name
@_on
@click.option("--node", metavar="NAME", default="", help="Only this node's, by its display name or whole name.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the workflow is over; on Argo.")
@options.cluster
def logs(name: str, on: str, node: str, follow: bool, namespace: str | None, context: str | None) -> None:
    """Print what the steps of a workflow have printed, each line with its node's name before it.

    On Argo a pod that was cleaned up has no log any more.

    \b
    Example:
      klever workflows logs klever-release-x7f2k
      klever workflows logs klever-release-x7f2k --follow --node "convert to ONNX"
    """
    if on == "local":
        _print_local_logs(name, node)
        return
    from klever.workflows.argo.client import connect
    from klever.workflows.argo.logs import Line, Logs
    from klever.workflows.argo.watch import follow as follow_runs
    from klever.workflows.argo.watch import get_run as get_from

    with connect(context=context, namespace=namespace) as cluster:
        latest = get_from(cluster, name)

        def show(line: Line) -> None:
            if _is_meant(latest, line.node, node, line.node_name):
                shown = _display_name(latest, line.node) or line.node_name
                click.echo(f"{output.visible(shown)}: {output.visible(line.text)}")

        with Logs(cluster, name, on_line=show, on_note=lambda text: output.print_notes([text])):
            for run in follow_runs(cluster, name) if follow else ():
                latest = run


@command.command("stop")
@_name
@click.option("--terminate", is_flag=True, help="Do not run its exit handler.")
@_wait
@options.cluster
def stop(name: str, terminate: bool, wait: bool, namespace: str | None, context: str | None) -> None:
    """End a workflow that runs: its pods are stopped, then its exit handler runs.

    \b
    Example:
      klever workflows stop klever-release-x7f2k --wait
    """
    from klever.workflows.argo import control
    from klever.workflows.argo.client import connect

    with connect(context=context, namespace=namespace) as cluster:
        control.stop(cluster, name, terminate=terminate)
        click.echo(f"stopping {name}")
        if wait:
            # That it then has failed is what was asked for.
            wait_for(cluster, name, cluster.namespace, logs=False, as_json=False)


@command.command("retry")
@_name
@_wait
@_logs
@options.cluster
@options.as_json
def retry(name: str, wait: bool, logs: bool, namespace: str | None, context: str | None, as_json: bool) -> int | None:
    """Run a failed workflow again in place: what succeeded is kept, what failed and all after it runs once more.

    \b
    Example:
      klever workflows retry klever-release-x7f2k --wait
    """
    from klever.workflows.argo import control
    from klever.workflows.argo.client import connect

    with connect(context=context, namespace=namespace) as cluster:
        control.retry(cluster, name)
        if wait or logs:
            return wait_for(cluster, name, cluster.namespace, logs=logs, as_json=as_json)
        _print_name(name, cluster.namespace, as_json=as_json)
    return None


@command.command("resubmit")
@_name
@options.parameters("An argument that differs from the first time; repeatable.")
@_wait
@_logs
@options.cluster
@options.as_json
def resubmit(
    name: str,
    parameters: dict[str, str],
    wait: bool,
    logs: bool,
    namespace: str | None,
    context: str | None,
    as_json: bool,
) -> int | None:
    """Submit a workflow anew, under another name, with the same arguments or others.

    \b
    Example:
      klever workflows resubmit klever-release-x7f2k -p formats=SavedModel
    """
    from klever.workflows.argo import control
    from klever.workflows.argo.client import connect

    with connect(context=context, namespace=namespace) as cluster:
        submitted = control.resubmit(cluster, name, arguments=parameters)
        if wait or logs:
            return wait_for(cluster, submitted.name, submitted.namespace, logs=logs, as_json=as_json)
        _print_name(submitted.name, submitted.namespace, as_json=as_json)
    return None


@command.command("delete")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@options.cluster
def delete(names: tuple[str, ...], namespace: str | None, context: str | None) -> None:
    """Delete workflows and their pods; one that runs is ended by it.

    \b
    Example:
      klever workflows delete klever-release-x7f2k
    """
    from klever.workflows.argo import control
    from klever.workflows.argo.client import connect

    with connect(context=context, namespace=namespace) as cluster:
        for name in names:
            control.delete(cluster, name)
            click.echo(f"deleted {name}")


def _print_name(name: str, namespace: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json({"name": name, "namespace": namespace})
    else:
        click.echo(name)


def _print_local_logs(name: str, asked: str) -> None:
    from klever.workflows.local import find_record

    record = find_record(name)
    run = record.read()
    for each in sorted(run.nodes.values(), key=by_time):
        path = record.log_of(each)
        if not path.is_file() or not _is_meant(run, each.id, asked):
            continue
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                click.echo(f"{output.visible(each.display_name)}: {output.visible(line.rstrip())}")


def _is_meant(run: Run, node_id: str, asked: str, name: str = "") -> bool:
    node = run.nodes.get(node_id)
    return not asked or asked == name or (node is not None and asked in (node.display_name, node.name))


def _display_name(run: Run, node_id: str) -> str:
    node = run.nodes.get(node_id)
    return output.visible(node.display_name) if node else ""


def _short(message: str) -> str:
    return message if len(message) <= _MESSAGE_COLUMNS else f"{message[: _MESSAGE_COLUMNS - 3]}..."
