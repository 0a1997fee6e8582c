"""What a cold start imports: commands are short, so that what they load is most of what they cost."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from klever.steps.formats.table import MODULES

#: What neither recognition nor the inspection of a local model needs.
HEAVY = {
    "asyncio", "concurrent", "ctypes", "http", "isal", "logging", "multiprocessing", "platformdirs", "rich", "ssl",
    "subprocess", "unittest", "urllib3", "xml", "yaml",
}  # fmt: skip
ALL_FORMATS = "from klever.steps.formats.table import all_formats; list(all_formats())"
INSPECT = "import sys; sys.argv[1:] = ['inspect', {path!r}]; from klever.api.cli import main; main()"


@cache
def loaded(code: str) -> frozenset[str]:
    """Run code in an interpreter of its own and return the modules that it imported beyond an idle one's."""
    names = _modules(code)
    return names - loaded("pass") if code != "pass" else names


def _modules(code: str) -> frozenset[str]:
    report = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    done = subprocess.run([sys.executable, "-c", f"{report}\n{code}"], capture_output=True, text=True, check=True)
    return frozenset(done.stderr.splitlines()[-1].split())


def _packages(names: frozenset[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_the_package_itself_imports_nothing() -> None:
    assert loaded("import klever.steps") <= {"klever", "klever.steps"}


def test_recognising_every_format_imports_no_reader() -> None:
    formats = {name for name in loaded(ALL_FORMATS) if name.startswith("klever.steps.formats.")}
    assert formats == {*MODULES.values(), "klever.steps.formats.interface", "klever.steps.formats.table"}


def test_recognising_every_format_imports_of_the_encodings_only_what_tells_them_apart() -> None:
    prefix = "klever.steps.encodings."
    encodings = {name.removeprefix(prefix) for name in loaded(ALL_FORMATS) if name.startswith(prefix)}
    assert encodings <= {"hdf5", "hdf5.signature", "magic", "wire"}


def test_recognising_every_format_imports_no_heavy_package() -> None:
    assert not _packages(loaded(ALL_FORMATS)) & (HEAVY | {"click", "csv", "email", "tempfile", "zipfile"})


@pytest.mark.parametrize("model", ["H5/sequential_keras3", "SavedModel/keras_three", "ONNX/cnn_dynamic_dims"])
def test_inspecting_a_local_model_imports_no_store_and_no_other_reader(models: Path, model: str) -> None:
    names = loaded(INSPECT.format(path=str(models / model / "model")))
    own = MODULES[model.partition("/")[0]]
    readers = {name for name in names if name.startswith("klever.steps.formats.") and name.endswith(".reader")}
    assert readers == {f"{own}.reader"}
    assert not _packages(names) & HEAVY
    assert not any(name.startswith("klever.steps.oci") for name in names)


def test_a_keras_model_imports_the_rules_of_the_layers_that_it_has(models: Path) -> None:
    prefix = "klever.steps.frameworks.keras.rules."
    names = loaded(INSPECT.format(path=str(models / "H5/sequential_keras3/model")))
    families = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    assert families <= {"rule", "core", "convolution", "reshaping"}
