"""What the documents say is what the code does."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import klever.api
import klever.steps
import klever.steps.errors as errors
from klever.api.cli.run import COMMANDS
from klever.steps.formats.table import MODULES, all_formats, load_format

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
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
