"""``klever run``."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from klever.api.cli import options, output
from klever.api.cli.tree import display
from klever.api.cli.waiting import INTERRUPTED, end, wait_for
from klever.steps.errors import NotFoundError, PermanentError
from klever.workflows.arguments import InvalidArgumentsError, Parameter, check_arguments, declared_parameters
from klever.workflows.manifest import Document
from klever.workflows.templates.table import TEMPLATES

if TYPE_CHECKING:
    from klever.workflows.argo.client import Cluster
    from klever.workflows.argo.submit import Identity, Submitted
    from klever.workflows.status import Run

#: What the names of our own templates begin with; it may be left away.
_PREFIX: Final = "klever-"
_FILES: Final = (".yaml", ".yml", ".json", ".py")
_TITLE: Final = "workflows.argoproj.io/title"
_DESCRIPTION: Final = "workflows.argoproj.io/description"
#: What the message of a run begins with that was ended by Ctrl-C, as Argo's does for spec.shutdown.
_STOPPED: Final = "Stopped with strategy"
#: The longest file of parameters, in bytes; a workflow with more would not fit into the cluster's store.
_MAX_PARAMETER_FILE: Final = 1 << 20


@click.command("run")
@click.argument("name", metavar="[NAME_OR_FILE]", required=False)
@options.parameters("An argument of the pipeline; repeatable.")
@click.option(
    "--parameter-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A YAML or JSON file of NAME: VALUE; -p wins over it.",
)
@click.option(
    "--on",
    type=click.Choice(["local", "argo"]),
    default="local",
    show_default=True,
    help="Where it runs: on this machine, or on the cluster that KUBECONFIG names.",
)
@click.option("--describe", is_flag=True, help="Show what the pipeline does and its parameters; run nothing.")
@click.option(
    "--wait/--no-wait",
    default=None,
    help="On Argo: wait for the end, or return once it is submitted (the default). Locally it always waits.",
)
@click.option("--logs", is_flag=True, help="Show what the steps print, on standard error; waits.")
@click.option(
    "--name", "run_name", metavar="NAME", help="Call the run so; on Argo, the same run submitted twice is one."
)
@click.option(
    "-j", "--parallel", type=click.IntRange(1), help="On this machine: steps at once; by default, one a core."
)
@click.option(
    "-l",
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    callback=options.assignments,
    help="On Argo: a label.",
)
@click.option("--service-account", metavar="NAME", help="On Argo: the service account of its pods.")
@click.option(
    "--cancel-on-interrupt", is_flag=True, help="On Argo: Ctrl-C stops the workflow, and not only the waiting for it."
)
@options.cluster
@options.as_json
def command(
    name: str | None,
    parameters: dict[str, str],
    parameter_file: Path | None,
    on: str,
    describe: bool,
    wait: bool | None,
    logs: bool,
    run_name: str | None,
    parallel: int | None,
    labels: dict[str, str],
    service_account: str | None,
    cancel_on_interrupt: bool,
    namespace: str | None,
    context: str | None,
    as_json: bool,
) -> int | None:
    """Run a pipeline, on this machine or on Argo; without a name, list Klever's own.

    NAME is one of Klever's, or on Argo any WorkflowTemplate of the namespace. FILE holds a Workflow or
    WorkflowTemplate as YAML, or as Python with Hera.

    On Argo, Ctrl-C ends the waiting and not the workflow; see --cancel-on-interrupt and klever workflows stop.

    Exit code 1 for a run that failed, 75 where every cause of that is temporary.

    \b
    Example:
      klever run
      klever run release --describe
      klever run extract -p model=vision/resnet:v1
      klever run release -p model=harbor.example/vision/resnet:v1 -p formats=ONNX --on argo --wait
      klever run ./pipeline.py -p epochs=3
    """
    if name is None:
        _list(as_json=as_json)
        return None
    asked = _Asked(name, on)
    if describe:
        _describe(asked, namespace, context, as_json=as_json)
        return None
    arguments = {**_read_parameters(parameter_file), **parameters}
    if on == "local":
        for option, value in (("--label", labels), ("--service-account", service_account)):
            if value:
                raise click.UsageError(f"{option} is for runs on Argo; add --on argo")
        if wait is False:
            raise click.UsageError("a run on this machine is always waited for; --no-wait is for --on argo")
        return _run_here(asked, arguments, name=run_name or "", parallel=parallel, logs=logs, as_json=as_json)
    if parallel is not None:
        raise click.UsageError("--parallel is for runs on this machine; on Argo the template says it")

    from klever.workflows.argo.client import connect
    from klever.workflows.argo.submit import Identity

    identity = Identity(name=run_name or "", labels=labels, service_account=service_account or "")
    with connect(context=context, namespace=namespace) as cluster:
        submitted = _submit(cluster, asked, arguments, identity, namespace or "")
        if not (wait or logs or cancel_on_interrupt):
            _print_submitted(submitted, as_json=as_json)
            return None
        return wait_for(
            cluster,
            submitted.name,
            submitted.namespace,
            logs=logs,
            as_json=as_json,
            cancel_on_interrupt=cancel_on_interrupt,
        )


class _Asked:
    """What the user means by NAME_OR_FILE."""

    def __init__(self, text: str, on: str) -> None:
        self.text = text
        self.is_file = text.endswith(_FILES) or os.sep in text
        #: The full name of one of our templates, or the name as it is.
        self.template = next((each for each in (text, _PREFIX + text) if each in TEMPLATES), text)
        self.is_ours = not self.is_file and self.template in TEMPLATES
        if not self.is_file and not self.is_ours and on == "local":
            raise NotFoundError(
                f"there is no pipeline {text!r}",
                stage="run",
                next_step=f"choose from {', '.join(map(_short, TEMPLATES))}, name a file as ./{text}, or add --on argo "
                "for a template of the cluster",
            )

    def read(self) -> tuple[Document, list[Document]]:
        """Return the document to run, and the templates that are in the same file."""
        if self.is_ours:
            from klever.workflows.templates import golden

            return golden.load()[self.template], []
        from klever.workflows.manifest import read_documents

        path = Path(self.text)
        documents = read_documents(path)
        chosen = _main_document(path, documents)
        return chosen, [each for each in documents if each is not chosen and each.get("kind") == "WorkflowTemplate"]


def _main_document(path: Path, documents: list[Document]) -> Document:
    """Return the one Workflow of a file, or its one WorkflowTemplate; raises `PermanentError`."""
    for kind in ("Workflow", "WorkflowTemplate"):
        found = [each for each in documents if each.get("kind") == kind]
        if len(found) == 1:
            return found[0]
        if found:
            raise PermanentError(
                f"{path} holds {len(found)} documents of kind {kind}, expected one to run",
                stage="run",
                next_step="keep one of them in a file of its own",
            )
    raise PermanentError(
        f"{path} holds neither a Workflow nor a WorkflowTemplate",
        stage="run",
        next_step="define one; a Python file has it in a variable of the module",
    )


def _read_parameters(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    import yaml

    from klever.workflows.arguments import plain

    if path.stat().st_size > _MAX_PARAMETER_FILE:
        raise click.BadParameter(f"{path} is larger than {_MAX_PARAMETER_FILE} bytes", param_hint="--parameter-file")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise click.BadParameter(f"{path} is not YAML: {error}", param_hint="--parameter-file") from error
    if not isinstance(document, dict) or any(isinstance(value, dict | list) for value in document.values()):
        raise click.BadParameter(
            f"{path} has to hold NAME: VALUE, with text, numbers or booleans as values", param_hint="--parameter-file"
        )
    return {str(name): "" if value is None else plain(value) for name, value in document.items()}


def _list(*, as_json: bool) -> None:
    from klever.workflows.templates import golden

    templates = golden.load()
    if as_json:
        output.print_json([_description(name, document) for name, document in templates.items()])
        return
    for name, document in templates.items():
        described = _description(name, document)
        needed = [each.name for each in declared_parameters(document["spec"]).values() if each.required]
        click.echo(f"{_short(name)}  {described['title']}")
        click.echo(f"    {described['description']}")
        click.echo(f"    klever run {_short(name)}" + "".join(f" -p {each}=..." for each in needed))
    click.echo("\nklever run NAME --describe lists all parameters.")


def _describe(asked: _Asked, namespace: str | None, context: str | None, *, as_json: bool) -> None:
    if asked.is_ours or asked.is_file:
        document, _ = asked.read()
    else:
        from klever.workflows.argo.client import connect
        from klever.workflows.argo.submit import get_template

        with connect(context=context, namespace=namespace) as cluster:
            document = get_template(cluster, asked.template)
    described = _description(str(document["metadata"].get("name") or asked.text), document)
    if as_json:
        output.print_json(described)
        return
    click.echo(output.visible(f"{described['name']}  {described['title']}".rstrip()))
    if described["description"]:
        click.echo(output.visible(described["description"]))
    for parameter in declared_parameters(document["spec"]).values():
        click.echo(output.visible(f"  -p {parameter.name}={_default(parameter)}"))
        for line in (parameter.description, _choices(parameter)):
            if line:
                click.echo(f"       {output.visible(line)}")


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "..."
    return parameter.default or ("(from the cluster)" if parameter.elsewhere else "")


def _choices(parameter: Parameter) -> str:
    return f"one of {', '.join(choice or '(empty)' for choice in parameter.choices)}" if parameter.choices else ""


def _description(name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    annotations = document["metadata"].get("annotations") or {}
    return {
        "name": name,
        "title": annotations.get(_TITLE, ""),
        "description": annotations.get(_DESCRIPTION, ""),
        "parameters": [
            {
                "name": each.name,
                "required": each.required,
                "default": each.default,
                "description": each.description,
                "choices": list(each.choices),
            }
            for each in declared_parameters(document["spec"]).values()
        ],
    }


def _short(name: str) -> str:
    return name.removeprefix(_PREFIX)


def _run_here(
    asked: _Asked, arguments: Mapping[str, str], *, name: str, parallel: int | None, logs: bool, as_json: bool
) -> int:
    from klever.workflows.local import Options, run
    from klever.workflows.templates import golden

    document, beside = asked.read()
    named = {each["metadata"].get("name") for each in beside}
    templates = [*beside, *(each for name, each in golden.load().items() if name not in named)]
    check_arguments(arguments, declared_parameters(document.get("spec") or {}), of=asked.text)
    options = Options(name=name)
    if parallel is not None:
        options = replace(options, parallel=parallel)
    if asked.is_file:
        # Where a script's function is looked for that the file itself or a neighbour of it defines.
        options = replace(options, python_path=(Path(asked.text).resolve().parent, *options.python_path))
    latest: Run | None = None
    with display(quiet=as_json) as shown:

        def watch(run: "Run") -> None:
            nonlocal latest
            latest = run
            shown.show(run)

        def say(node_id: str, line: bytes) -> None:
            node = latest.nodes.get(node_id) if latest else None
            shown.say(f"{node.display_name if node else node_id}: {line.decode(errors='replace')}")

        if logs:
            options = replace(options, stream=say)
        finished = run(document, arguments, templates=templates, options=options, watch=watch)
    code = end(finished, "--on local", as_json=as_json)
    return INTERRUPTED if finished.message.startswith(_STOPPED) else code


def _submit(
    cluster: "Cluster", asked: _Asked, arguments: Mapping[str, str], identity: "Identity", namespace: str
) -> "Submitted":
    from klever.workflows.argo.errors import TemplateMissingError
    from klever.workflows.argo.submit import from_document, from_template, get_template, submit

    if not asked.is_file:
        return submit(cluster, from_template(asked.template, arguments, identity), namespace)
    document, beside = asked.read()
    try:
        for template in beside:
            # The file's own have to be there; whether they are as in the file is left to whoever applies them.
            get_template(cluster, str(template["metadata"].get("name")), namespace)
    except TemplateMissingError as error:
        error.next_step = f"put the templates of {asked.text} into the cluster first, as with kubectl apply"
        raise
    try:
        return submit(cluster, from_document(document, arguments, identity), namespace)
    except InvalidArgumentsError as error:
        raise InvalidArgumentsError(asked.text, error.faults) from error


def _print_submitted(submitted: "Submitted", *, as_json: bool) -> None:
    if as_json:
        output.print_json({"name": submitted.name, "namespace": submitted.namespace, "found": submitted.found})
        return
    click.echo(submitted.name)
    output.print_notes([f"{submitted.name} was submitted before"] if submitted.found else [])
    click.echo(f"next: klever workflows get {submitted.name} -n {submitted.namespace}", err=True)
