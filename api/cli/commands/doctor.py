"""``klever doctor``."""

from typing import TYPE_CHECKING

import click

from klever.api.cli import options, output
from klever.steps.stores import Stores

if TYPE_CHECKING:
    from klever.api.doctor.check import Check


@click.command("doctor")
@click.option(
    "--job-namespace",
    "job_namespaces",
    multiple=True,
    metavar="NAME",
    help="A namespace where jobs run; repeatable. By default what the controller was told.",
)
@click.option(
    "--argo-namespace", default="argo", show_default=True, metavar="NAME", help="The namespace of Argo's controller."
)
@click.option(
    "--harbor", "harbor_url", default="", metavar="URL", help="Harbor's address; the installation's by default."
)
@click.option(
    "--registry", "registry_host", default="", metavar="HOST", help="The registry; the installation's by default."
)
@click.option(
    "--webhook", "hook_url", default="", metavar="URL", help="Klever's /hooks/harbor, as this machine reaches it."
)
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="NAME",
    help="A project of Harbor; repeatable. By default those of the policy.",
)
@click.option(
    "--username",
    "-u",
    help="Who may see Harbor's webhook policies; by default who is logged in. [env: KLEVER_HARBOR_USERNAME]",
)
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input. [env: KLEVER_HARBOR_PASSWORD]",
)
@options.as_json
@options.cluster
@options.connection
def command(
    job_namespaces: tuple[str, ...],
    argo_namespace: str,
    harbor_url: str,
    registry_host: str,
    hook_url: str,
    projects: tuple[str, ...],
    username: str | None,
    password_stdin: bool,
    as_json: bool,
    context: str | None,
    namespace: str | None,
    stores: Stores,
) -> int:
    """Check this machine, an installation on a cluster, and its registry and Harbor; say what to do about each failure.

    The installation is the one in the namespace of -n. Nothing is changed: what the API server is asked to take, it is
    told not to keep, and the event that the webhook gets starts nothing. What cannot be looked at is skipped, with the
    reason. The exit code is 1 where a check failed, and 0 otherwise.

    \b
    Example:
      klever doctor
      klever doctor -n klever --webhook https://klever.example/hooks/harbor
      kubectl exec -n klever deployment/klever-controller -- klever doctor --json
    """
    from klever.api.cli.harbors import find_user
    from klever.api.doctor.check import State
    from klever.api.doctor.examine import Asked, examine

    asked = Asked(
        context=context,
        namespace=namespace,
        job_namespaces=job_namespaces,
        argo_namespace=argo_namespace,
        harbor_url=harbor_url,
        registry_host=registry_host,
        hook_url=hook_url,
        projects=projects,
        administrator=lambda host: find_user(host, username, password_stdin=password_stdin),
        plain_http=stores.plain_http,
        insecure=stores.insecure,
        ca_file=stores.ca_file,
    )
    checks = list(examine(asked))
    failures = sum(check.state is State.FAILED for check in checks)
    if as_json:
        documents = [
            {"name": each.name, "state": each.state, "detail": each.detail, "nextStep": each.next_step}
            for each in checks
        ]
        output.print_json({"ok": not failures, "checks": documents})
    else:
        _print(checks)
    return 1 if failures else 0


def _print(checks: "list[Check]") -> None:
    from klever.api.doctor.check import State

    output.print_table(("STATE", "CHECK", "FOUND"), [(each.state, each.name, each.detail) for each in checks])
    advised = [each for each in checks if each.next_step and each.state in (State.FAILED, State.WARNING)]
    if advised:
        click.echo("\nwhat to do:")
    for each in advised:
        click.echo(output.visible(f"  {each.name}: {each.next_step}"))
    counts = [(sum(each.state is state for each in checks), state) for state in State]
    click.echo("\n" + ", ".join(f"{count} {state}" for count, state in counts if count))
