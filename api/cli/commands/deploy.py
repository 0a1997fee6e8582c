"""``klever deploy``."""

import click

from klever.api.cli import options, output
from klever.api.cli.memory import keep_freed_buffers
from klever.api.cli.places import looked_for
from klever.api.cli.progress import fraction_bar
from klever.steps.converters.interface import Options
from klever.steps.stores import Stores


@click.command("deploy")
@click.argument("reference")
@click.option("--name", default="", metavar="NAME", help="What clients call it; the repository's last part by default.")
@click.option("--server", metavar="NAME", help="mlserver or openscoring; by default the first that takes the model.")
@click.option("--replace", is_flag=True, help="Take the place of what is served under the name.")
@click.option("--create-environments", is_flag=True, help="Make the environments that the work needs.")
@click.option(
    "--wait",
    "seconds",
    type=click.FloatRange(0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the server may take until it is ready.",
)
@options.conversion
@options.as_json
@options.connection
def command(
    reference: str,
    name: str,
    server: str | None,
    replace: bool,
    create_environments: bool,
    seconds: float,
    conversion: Options,
    as_json: bool,
    stores: Stores,
) -> None:
    """Serve REFERENCE on this machine, by a process that is looked after, and prove that it predicts.

    A model whose format no server takes is converted to ONNX first, with its proof. The server listens at a free port
    of the loopback, is started again when it crashes, and goes on when this command has ended.

    \b
    Example:
      klever deploy vision/resnet:v1
      klever predict resnet --random
      klever serving delete resnet
    """
    keep_freed_buffers()
    from klever.api.serving.ask import examples, smoke
    from klever.api.serving.local import control
    from klever.api.serving.local.deploy import Wish, deploy
    from klever.steps.model.signature import Signature
    from klever.steps.oci.reference import parse_reference
    from klever.steps.serving.snippets import snippet

    parsed = parse_reference(reference)
    wish = Wish(parsed, name, server, options=conversion, replace=replace, create_environments=create_environments)
    with fraction_bar() as report, looked_for(reference, parsed):
        done = deploy(wish, stores, report=report)
    standing = control.wait_ready(done.place, seconds)
    asked = done.place.read_asked()
    signature = Signature.model_validate(dict(asked.signature))
    outputs = smoke(standing.url, asked.name, asked.protocol, signature)
    if as_json:
        output.print_json(
            {
                "name": asked.name,
                "url": standing.url,
                "ports": dict(standing.ports),
                "reference": asked.reference,
                "served": asked.pinned,
                "format": asked.format,
                "server": asked.server,
                "outputs": [{"name": each.name, "datatype": each.datatype, "shape": each.shape} for each in outputs],
                "notes": list(done.provision.notes),
            }
        )
        return
    output.print_notes(done.provision.notes)
    click.echo(f"{asked.name} is served at {standing.url}  {asked.format} by {asked.server}")
    for each in outputs:
        click.echo(output.visible(f"  it predicts {each.name}: {each.datatype} {list(each.shape)}"))
    click.echo(f"\n{snippet('curl', standing.url, asked.name, examples(asked.protocol, signature), asked.protocol)}")
