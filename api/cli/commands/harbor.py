"""``klever harbor``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from klever.api.cli import options, output
from klever.api.cli.harbors import PASSWORD_VARIABLE, USERNAME_VARIABLE, require_user
from klever.steps.stores import Stores

if TYPE_CHECKING:
    from klever.api.harbor.keeping import Keeping
    from klever.steps.oci.credentials import Credentials

#: Names that Harbor accepts (``validateName`` in its ``handler/robot.go``).
_ROBOT: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)


def _robot_name(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not _ROBOT.fullmatch(value):
        raise click.BadParameter(f"got {value!r}, expected lower-case letters and digits with . _ or - between them")
    return value


@click.group("harbor")
def command() -> None:
    """Set up a Harbor so that its pushes start extractions.

    \b
    Example:
      klever harbor setup https://harbor.example --project release \\
        --hook-url https://klever.example/hooks/harbor -u admin -n models
    """


@command.command("setup")
@click.argument("url")
@click.option("--project", "projects", multiple=True, required=True, metavar="NAME", help="A project; repeatable.")
@click.option(
    "--hook-url",
    required=True,
    metavar="URL",
    help="Klever's /hooks/harbor, as Harbor reaches it: https://HOST/hooks/harbor.",
)
@click.option(
    "--robot-name",
    default="klever",
    show_default=True,
    callback=_robot_name,
    help="What the robot, without what Harbor sets before it, and the webhook policies are called.",
)
@click.option(
    "--registry",
    metavar="HOST",
    help="What references of models begin with, where that is not the host of URL.",
)
@click.option("--username", "-u", help=f"Who sets it up; by default who is logged in. [env: {USERNAME_VARIABLE}]")
@click.option(
    "--password-stdin",
    is_flag=True,
    help=f"Read the password from standard input. [env: {PASSWORD_VARIABLE}]",
)
@click.option(
    "--install-namespace",
    "home",
    metavar="NAME",
    help="The namespace of the controller and the server; by default that of the context, or klever with --output.",
)
@click.option(
    "-n", "--namespace", "namespaces", multiple=True, metavar="NAME", help="A namespace where jobs run; repeatable."
)
@click.option("--context", metavar="NAME", help="The context of the kubeconfig; the current one by default.")
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the secrets into this file, for its owner alone, and not into a cluster.",
)
@click.option(
    "--payload",
    type=click.Choice(["CloudEvents", "Default"]),
    default="CloudEvents",
    show_default=True,
    help="The form of Harbor's events; Harbor before 2.8 has Default alone.",
)
@click.option("--hook-insecure", is_flag=True, help="Have Harbor not check the certificate of --hook-url.")
@click.option("--rotate", is_flag=True, help="Make a new secret for the robot; the old one is worth nothing then.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@options.as_json
@options.connection
def setup(
    url: str,
    projects: tuple[str, ...],
    hook_url: str,
    robot_name: str,
    registry: str | None,
    username: str | None,
    password_stdin: bool,
    home: str | None,
    namespaces: tuple[str, ...],
    context: str | None,
    file: Path | None,
    payload: str,
    hook_insecure: bool,
    rotate: bool,
    dry_run: bool,
    as_json: bool,
    stores: Stores,
) -> None:
    """Make a robot account, webhook policies, and the secrets by which Klever and the Harbor at URL know each other.

    The robot may pull, push and list in the projects, and nothing else. Each project tells Klever of its pushes. The
    secrets klever-harbor and klever-hook go to the namespace of the installation, klever-registry there and to each
    namespace where jobs run; entries of other registries in it stay. Run again it changes nothing but what differs, and
    finishes what was interrupted. No secret is printed. To change what Harbor sends with its events, delete the secret
    klever-hook and run this again.

    One project's administrator can set up that project; several take an administrator of Harbor.

    \b
    Example:
      klever login harbor.example -u admin
      klever harbor setup https://harbor.example --project release --project staging \\
        --hook-url https://klever.example/hooks/harbor --install-namespace klever -n models
      klever harbor setup https://harbor.example --project release --dry-run \\
        --hook-url https://klever.example/hooks/harbor -u admin --password-stdin < password.txt
    """
    from klever.api.harbor.client import Harbor
    from klever.api.harbor.setup import UNCHANGED, Wanted, set_up

    if "://" not in url:
        url = f"{'http' if stores.plain_http else 'https'}://{url}"

    def log_in(credentials: "Credentials") -> Harbor:
        return Harbor(url, credentials, insecure=stores.insecure, ca_file=stores.ca_file)

    anonymous = Harbor(url)
    credentials = require_user(anonymous.registry_host, username, password_stdin=password_stdin)
    keeping, home = _keeping(file, context, home)
    wanted = Wanted(
        projects=projects,
        hook_url=hook_url,
        registry_host=registry or anonymous.registry_host,
        home=home,
        namespaces=namespaces,
        robot=robot_name,
        payload=payload,
        hook_verified=not hook_insecure,
        rotate=rotate,
    )
    told = []
    with log_in(credentials) as harbor:
        for done in set_up(harbor, keeping, wanted, log_in, dry_run=dry_run):
            told.append(done)
            if not as_json:
                about = f" ({done.detail})" if done.detail else ""
                click.echo(output.visible(f"{done.subject}: {done.result}{about}"))
    changed = any(done.result != UNCHANGED for done in told)
    if as_json:
        output.print_json({"dryRun": dry_run, "changed": changed, "steps": [done._asdict() for done in told]})
    elif dry_run:
        click.echo("nothing was changed: this was a dry run", err=True)
    elif not changed:
        click.echo("everything was as it has to be", err=True)
    elif file is not None:
        click.echo(f"the secrets are in {file}: kubectl apply -f {file}", err=True)


def _keeping(file: Path | None, context: str | None, home: str | None) -> "tuple[Keeping, str]":
    """Return where secrets are kept, and the namespace of the installation."""
    from klever.api.harbor.keeping import InCluster, InFile
    from klever.workflows.argo.client import connect
    from klever.workflows.argo.errors import NoClusterError

    if file is not None:
        return InFile(file), home or "klever"
    try:
        cluster = connect(context=context, namespace=home)
    except NoClusterError as error:
        error.next_step = f"{error.next_step}; or have the secrets written into a file with --output FILE"
        raise
    click.get_current_context().call_on_close(cluster.close)
    return InCluster(cluster), cluster.namespace
