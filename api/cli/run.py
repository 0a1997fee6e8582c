"""Turn arguments into a command, and errors into a sentence and an exit code.

Exit codes: 0 done; 1 a permanent failure; 75 a temporary one (EX_TEMPFAIL of sysexits.h), worth another try; 2 wrong
usage; 130 interrupted.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final

import click

from klever.api.cli.output import visible
from klever.steps.errors import (
    AmbiguousFormatError,
    KleverError,
    PermanentError,
    UnsupportedOperatorsError,
    storage_error,
)

#: Command to what it does, in the order of the help text; the module of that name is imported when it is called.
COMMANDS: Final = MappingProxyType(
    {
        "inspect": "Show a model's format, size, signature and layers.",
        "publish": "Recognise, read, pack and push a model.",
        "extract": "Write the signature of an artifact into its config.",
        "plan": "Say how a model could be converted or served.",
        "convert": "Convert a model to another format, and prove the result.",
        "deploy": "Serve a model, and prove that it predicts.",
        "predict": "Ask a model that is served.",
        "serving": "List, show, stop or delete what is served.",
        "run": "Run a pipeline, on this machine or on Argo.",
        "workflows": "List, watch, stop and repeat runs of pipelines.",
        "templates": "Render, apply or compare the WorkflowTemplates.",
        "fetch": "Fetch an artifact into a directory, verified.",
        "models": "List the versions in a store or registry.",
        "copy": "Copy an artifact between stores and registries.",
        "tag": "Give an artifact another tag.",
        "delete": "Remove tags or artifacts.",
        "gc": "Free what nothing refers to, or check a store.",
        "environments": "List, make or remove environments of frameworks.",
        "login": "Keep credentials for a registry.",
        "logout": "Forget credentials of a registry.",
        "harbor": "Set up a Harbor so that its pushes start something.",
        "doctor": "Check this machine, an installation and its Harbor.",
    }
)


class _UsageError(PermanentError):
    """A command line that click refuses, for programs that read errors as JSON."""

    usual_step = "see --help"


class _Commands(click.Group):
    """The commands of `COMMANDS`, listed without being imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Return the commands in the help text's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"klever.api.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the commands' section of the help text."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"klever {version('klever')}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def klever() -> None:
    """Publish models of any format as OCI artifacts, with their signatures read from their bytes.

    A REFERENCE is [HOST[:PORT]/]NAME[:TAG][@DIGEST]. Without a host it means this machine's store in KLEVER_HOME;
    oci:DIRECTORY[:NAME] is any OCI image layout.

    \b
    Example:
      klever publish ./resnet.onnx vision/resnet:v1
      klever inspect vision/resnet:v1
      klever fetch vision/resnet:v1 ./resnet
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line of ``klever`` and return its exit code."""
    return run_command(klever, arguments, "klever")


def run_command(command: click.Command, arguments: Sequence[str], name: str) -> int:
    """Run one command line and return its exit code; every expected failure has been told on standard error."""
    try:
        code = command.main(list(arguments), prog_name=name, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KleverError as error:
        _tell(error, name, as_json="--json" in arguments)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        if "--json" in arguments:
            _tell(_UsageError(error.format_message()), name, as_json=True)
        else:
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{name}: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep the interpreter from complaining at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # Our own output on a full disk, or a file that the disk lost while it was read.
        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "the output"
        told = storage_error(f"cannot use {place}", error)
        _tell(told, name, as_json="--json" in arguments)
        return told.exit_code
    return code if isinstance(code, int) else 0


def _tell(error: KleverError, name: str, *, as_json: bool) -> None:
    if as_json:
        document = {
            "type": type(error).__name__.lstrip("_"),
            "stage": error.stage,
            "cause": error.cause,
            "nextStep": error.next_step,
            "temporary": error.temporary,
        }
        if isinstance(error, AmbiguousFormatError):
            document["candidates"] = list(error.candidates)
        if isinstance(error, UnsupportedOperatorsError):
            document["operators"] = {operator: list(nodes) for operator, nodes in error.operators.items()}
        click.echo(json.dumps({"error": document}), err=True)
        return
    stage = f"{error.stage}: " if error.stage else ""
    click.echo(f"{name}: {stage}{visible(error.cause)}", err=True)
    if error.next_step:
        click.echo(f"  next: {visible(error.next_step)}", err=True)
