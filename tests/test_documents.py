"""What the documents say is what the code does."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import klever.api
import klever.steps
import klever.steps.errors as errors
from klever.api.cli.run import COMMANDS
from klever.api.cli.run import klever as klever_command
from klever.api.intake.policy import parse_policy
from klever.api.modeljob.model import ModelJobSpec, ModelJobStatus, parse_job
from klever.api.modeljob.request import request_of
from klever.steps.formats.table import MODULES, all_formats, load_format
from klever.workflows.templates.golden import load

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
#: Every example in YAML, by the file that it stands in.
EXAMPLES = [
    pytest.param(yaml.safe_load(block), id=f"{path.name}-{number}")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL), 1)
]
MODULES_OF_KLEVER = [
    module.name
    for package in (klever.steps, klever.api)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    # They import frameworks, each in an environment of its own.
    if not module.name.startswith("klever.steps.programs.")
]


def test_the_readme_names_every_command() -> None:
    for command in COMMANDS:
        assert f"klever {command}" in README


def test_every_command_has_its_module_and_every_module_its_command() -> None:
    modules = {path.stem for path in (ROOT / "api" / "cli" / "commands").glob("*.py")} - {"__init__"}
    assert modules == set(COMMANDS)


def test_the_error_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = set(re.findall(r"\b(\w+Error)\b", str(errors.__doc__)))
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value)} & {
        name for name in vars(errors) if name.endswith("Error")
    }
    assert drawn == defined


def test_every_error_is_either_permanent_or_temporary() -> None:
    for name in MODULES_OF_KLEVER:
        importlib.import_module(name)
    pending = list(errors.KleverError.__subclasses__())
    assert pending
    while pending:
        error = pending.pop()
        pending += error.__subclasses__()
        assert issubclass(error, errors.PermanentError) != issubclass(error, errors.TemporaryError), error
        assert error.exit_code == (75 if error.temporary else 1)


@pytest.mark.parametrize("name", MODULES)
def test_every_format_is_documented(name: str) -> None:
    assert re.search(rf"^\| {name} \|", README, re.MULTILINE)


def test_an_unreadable_format_says_why() -> None:
    for form in all_formats():
        if form.unreadable:
            assert len(form.unreadable.split()) >= 5


def test_the_demo_and_ci_scripts_are_executable() -> None:
    for script in ("examples/demo.sh", ".ci/run"):
        assert (ROOT / script).stat().st_mode & 0o111


def test_the_examples_in_docstrings_give_what_they_show() -> None:
    tried = 0
    for name in MODULES_OF_KLEVER:
        results = doctest.testmod(importlib.import_module(name))
        tried += results.attempted
        assert results.failed == 0, name
    assert tried


@pytest.mark.parametrize("name", MODULES_OF_KLEVER)
def test_every_module_says_what_it_is_for_and_exports_what_it_says(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported)


@pytest.mark.parametrize("name", MODULES)
def test_a_format_is_named_as_its_row_in_the_table(name: str) -> None:
    form = load_format(name)
    assert form.id == type(form).__name__ == name
    assert type(form).__module__ == f"klever.steps.formats.{name.lower()}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_in_yaml_is_taken_as_it_is(example: dict[str, Any]) -> None:
    if example.get("kind") == "ModelJob":
        request = request_of(parse_job(example))
        assert not request.notes
        declared = {each["name"] for each in load()[request.template]["spec"]["arguments"]["parameters"]}
        assert request.arguments_for(declared).keys() <= declared
        return
    known = yaml.safe_load((ROOT / "charts" / "klever" / "values.yaml").read_text())
    assert unknown_keys(example, known) == []
    assert parse_policy(yaml.safe_dump(example["policy"])).projects


def unknown_keys(given: dict[str, Any], known: dict[str, Any]) -> list[str]:
    """Return the keys of values for the chart that the chart does not have."""
    unknown = []
    for key, value in given.items():
        if key not in known:
            unknown.append(key)
        elif isinstance(value, dict) and known[key]:
            unknown += [f"{key}.{each}" for each in unknown_keys(value, known[key])]
    return unknown


def test_the_chapter_on_clusters_names_every_field_and_every_metric() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text()
    for field in ModelJobSpec.model_fields.values():
        assert f"spec.{field.alias}" in text
    for field in ModelJobStatus.model_fields.values():
        assert re.search(rf"[.]{field.alias}\b", text) or field.alias == "work"
    rooms = (ROOT / "api" / "controller" / "metrics.py", ROOT / "api" / "http" / "metrics.py")
    metrics = {name for room in rooms for name in re.findall(r'"(klever_\w+)"', room.read_text())}
    assert metrics
    assert [name for name in sorted(metrics) if name not in text] == []


def commands_shown() -> list[list[str]]:
    """Return the words of every command line of ours that a document shows as an indented block."""
    shown = []
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = path.read_text().replace("\\\n", " ")
        lines = re.findall(r"^ {4}klever ([^|\n]*)", text, re.MULTILINE)
        shown += [shlex.split(line, comments=True) for line in lines]
    return shown


@pytest.mark.parametrize("words", [pytest.param(words, id=" ".join(words)[:60]) for words in commands_shown()])
def test_a_command_that_is_shown_has_the_options_that_it_is_shown_with(words: list[str]) -> None:
    context = click.Context(klever_command, info_name="klever")
    command: click.Command = klever_command
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known
