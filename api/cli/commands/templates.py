"""``klever templates``."""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from klever.api.cli import options, output
from klever.steps.errors import storage_error
from klever.workflows.templates.settings import Settings
from klever.workflows.templates.table import ACCESS, TEMPLATES

if TYPE_CHECKING:
    from klever.workflows.argo.apply import Change
    from klever.workflows.argo.client import Cluster
    from klever.workflows.manifest import Document

_Command = TypeVar("_Command", bound=Callable[..., Any])

_HELP: Final = {
    "image_prefix": "What stands before an image's name, with a slash at its end.",
    "image_tag": "The tag of the images.",
    "image_pull_policy": "Always, IfNotPresent or Never.",
    "registry_secret": "The secret with the registry's credentials, of type kubernetes.io/dockerconfigjson; it may"
    " be absent.",
    "plain_http": "The registry speaks HTTP, not HTTPS.",
    "ca_config_map": "A ConfigMap with the registry's certificate authorities in ca.crt.",
    "service_account": "The account of the pods, which needs no rights.",
    "executor_service_account": "The account by which Argo reports the outputs of pods.",
    "controller_service_account": "The account of Argo's controller.",
    "controller_namespace": "The namespace of Argo's controller.",
    "allowed_urls": "A prefix of URLs that klever-publish may read; repeatable.",
    "allowed_claims": "A volume claim that klever-publish may read, as /sources/NAME; repeatable.",
    "remember": "How long the same step with the same inputs is not done again; '' for always.",
    "step_deadline": "Seconds that a step may take.",
    "convert_deadline": "Seconds that a conversion may take.",
    "workflow_deadline": "Seconds that a whole workflow may take.",
    "keep_succeeded": "Seconds that a workflow stays that succeeded.",
    "keep_failed": "Seconds that a workflow stays that failed.",
    "keep_logs": "How long the pod of a step that succeeded stays.",
    "reserve_storage": "Ask the scheduler for a conversion's disk; not every cluster accounts for disks.",
    "retries": "How often a temporary failure is tried again.",
}
#: Options whose names are not their setting's.
_NAMES: Final = {"allowed_urls": "--allow-url", "allowed_claims": "--allow-claim", "image_pull_policy": "--pull-policy"}


def _settings(command: _Command) -> _Command:
    """Add an option for each setting; the command gets them as ``settings``, a mapping of those that were given."""

    @wraps(command)
    def collected(**values: Any) -> Any:
        given = {name: values.pop(name) for name in (*_HELP, "argo")}
        return command(
            settings={name: value for name, value in given.items() if value not in (None, (), False)}, **values
        )

    made: Any = collected
    for setting in reversed([each for each in fields(Settings) if each.name in _HELP]):
        name = _NAMES.get(setting.name, "--" + setting.name.replace("_", "-"))
        about = _HELP[setting.name]
        if isinstance(setting.default, bool):
            made = click.option(name, setting.name, is_flag=True, help=about)(made)
        elif isinstance(setting.default, tuple):
            made = click.option(name, setting.name, multiple=True, metavar="TEXT", help=about)(made)
        else:
            default = f" [default: {setting.default}]" if setting.default != "" else ""
            made = click.option(name, setting.name, type=type(setting.default), help=about + default)(made)
    versions = click.Choice(["3", "4"])
    about = "The major version of Argo Workflows. [default: the cluster's; 3 for render]"
    command_with_all: _Command = click.option("--argo", type=versions, help=about)(made)
    return command_with_all


_names = click.argument("names", metavar="[NAME...]", nargs=-1, type=click.Choice([*TEMPLATES, ACCESS]))
_force = click.option("--force", is_flag=True, help="Take over fields that somebody else has set otherwise.")


@click.group("templates")
def command() -> None:
    """Render the WorkflowTemplates, apply them to a cluster, or compare them with it.

    NAME is klever-extract, klever-convert, klever-publish, klever-release, or access: the accounts that they run under
    and the few rights of these. Without a NAME all are meant. What is no option is the same in every installation.

    \b
    Example:
      klever templates render | kubectl apply --server-side -f -
      klever templates apply -n models --image-prefix harbor.example/klever/
      klever templates diff -n models
    """


@command.command("render")
@_names
@click.option(
    "-o", "--output", "directory", type=click.Path(file_okay=False, path_type=Path), help="Write a file for each here."
)
@click.option(
    "-n", "--namespace", metavar="NAME", default="default", show_default=True, help="The namespace that access is for."
)
@options.as_json
@_settings
def render(
    names: tuple[str, ...], directory: Path | None, namespace: str, as_json: bool, settings: dict[str, Any]
) -> None:
    """Print the templates as YAML, or write a file for each.

    \b
    Example:
      klever templates render klever-publish --allow-url https://models.example/public/
      klever templates render --output ./manifests --image-tag 1.0.0
    """
    from klever.workflows.templates.golden import as_yaml, documents

    rendered = documents(Settings(**settings), namespace, names or None)
    if directory is not None:
        paths = []
        for name, parts in rendered.items():
            path = directory / f"{name}.yaml"
            try:
                directory.mkdir(parents=True, exist_ok=True)
                path.write_text(as_yaml(parts), encoding="utf-8")
            except OSError as error:
                raise storage_error(f"cannot write {path}", error) from error
            paths.append(str(path))
        output.print_json({"written": paths}) if as_json else click.echo("\n".join(paths))
        return
    flat = [document for parts in rendered.values() for document in parts]
    if as_json:
        output.print_json(flat)
    else:
        click.echo(as_yaml(flat), nl=False)


@command.command("apply")
@_names
@click.option("--dry-run", is_flag=True, help="Let the cluster check everything and change nothing.")
@_force
@options.as_json
@options.cluster
@_settings
def apply_templates(
    names: tuple[str, ...],
    dry_run: bool,
    force: bool,
    as_json: bool,
    context: str | None,
    namespace: str | None,
    settings: dict[str, Any],
) -> None:
    """Create the templates and their accounts in a cluster, or bring them up to date (server-side apply).

    \b
    Example:
      klever templates apply -n models
      klever templates apply -n models --dry-run klever-publish --allow-claim models
    """
    told = []
    with _connected(context, namespace) as cluster:
        for change in _changes(cluster, names, settings, dry_run=dry_run, force=force):
            told.append(
                {"kind": change.kind, "namespace": change.namespace, "name": change.name, "result": change.result}
            )
            if not as_json:
                place = f"{change.kind} {change.namespace}/{change.name}"
                click.echo(f"{place} {change.result}{' (dry run)' if dry_run else ''}")
    if as_json:
        output.print_json(told)


@command.command("diff")
@_names
@_force
@options.as_json
@options.cluster
@_settings
def diff(
    names: tuple[str, ...],
    force: bool,
    as_json: bool,
    context: str | None,
    namespace: str | None,
    settings: dict[str, Any],
) -> int:
    """Show what apply would change; exits with 1 where it would change anything, and changes nothing.

    \b
    Example:
      klever templates diff -n models --image-tag 1.1.0
    """
    told = []
    with _connected(context, namespace) as cluster:
        for change in _changes(cluster, names, settings, dry_run=True, force=force):
            lines = list(_difference(change))
            told.append(
                {
                    "kind": change.kind,
                    "namespace": change.namespace,
                    "name": change.name,
                    "result": change.result,
                    "diff": "\n".join(lines),
                }
            )
            if lines and not as_json:
                click.echo("\n".join(map(output.visible, lines)))
    if as_json:
        output.print_json(told)
    return int(any(each["diff"] for each in told))


def _connected(context: str | None, namespace: str | None) -> "Cluster":
    from klever.workflows.argo.client import connect

    return connect(context=context, namespace=namespace)


def _changes(
    cluster: "Cluster", names: tuple[str, ...], settings: dict[str, Any], *, dry_run: bool, force: bool
) -> Iterator["Change"]:
    from klever.workflows.argo.apply import apply, argo_major
    from klever.workflows.templates.golden import documents

    chosen = Settings(**{"argo": argo_major(cluster)} | settings)
    rendered: list[Document] = [
        document for parts in documents(chosen, cluster.namespace, names or None).values() for document in parts
    ]
    # Accounts come first: a workflow that starts in between finds its own.
    rendered.sort(key=lambda document: document["kind"] == "WorkflowTemplate")
    yield from apply(cluster, rendered, dry_run=dry_run, force=force)


def _difference(change: "Change") -> Iterator[str]:
    from klever.workflows.templates.golden import as_yaml

    before = as_yaml([change.before]).splitlines() if change.before else []
    place = f"{change.kind}/{change.namespace}/{change.name}"
    return difflib.unified_diff(
        before,
        as_yaml([change.after]).splitlines(),
        f"cluster/{place}" if change.before else "/dev/null",
        f"klever/{place}",
        lineterm="",
    )
