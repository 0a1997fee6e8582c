"""What it takes until a model is served: ``python bench/serving.py``.

Needs a CNCF registry, and the environment ``serve-mlserver``. What does not belong here: conversion.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import memory, note, ratio, rows
from inputs import write_large_onnx
from measure import measure
from registry import registry_binaries, running_registry

from klever.steps.environments.locate import environments_directory

ROOT = Path(__file__).resolve().parent.parent
#: A small model of each format that MLServer takes as it is.
SMALL = {
    "ONNX": "tests/models/ONNX/cnn_dynamic_dims/model",
    "SKLearn": "tests/models/SKLearn/dt_1_9/model",
    "XGBoost": "tests/models/XGBoost/json_3_softmax/model",
}
KLEVER = str(Path(sys.executable).with_name("klever"))
INITIALIZER = str(Path(sys.executable).with_name("klever-initializer"))


def bench_initializer(work: Path, large: Path) -> None:
    """Measure the initializer against a fetch of the same artifact."""
    fetched, models = work / "fetched", work / "models"

    def clean() -> None:
        shutil.rmtree(fetched, ignore_errors=True)
        shutil.rmtree(models, ignore_errors=True)

    for name, binary in registry_binaries().items():
        directory = work / name
        directory.mkdir()
        with running_registry(binary, directory) as host:
            reference = f"{host}/bench/large:v1"
            subprocess.run(
                [KLEVER, "publish", "--plain-http", str(large), reference], check=True, stdout=subprocess.DEVNULL
            )
            theirs = measure([KLEVER, "fetch", "--plain-http", reference, str(fetched)], runs=5, prepare=clean)
            uri = f"oci+model://{reference}?server=mlserver&name=large"
            ours = measure([INITIALIZER, "--plain-http", uri, str(models)], runs=5, prepare=clean)
            clean()
        shutil.rmtree(directory)
        ratio(f"initializer / fetch of 1 GiB from {name}", ours.seconds, theirs.seconds, 1.3)
        memory(f"initializer with 1 GiB from {name}", ours, 120)


def bench_deploy(work: Path) -> None:
    """Measure a deployment on this machine, from the command to the prediction that proves it."""
    environment = {"KLEVER_HOME": str(work / "home"), "KLEVER_ENVIRONMENTS": str(environments_directory())}
    for form, model in SMALL.items():
        reference = f"bench/{form.lower()}:v1"
        for command in (["publish", str(ROOT / model), reference], ["deploy", reference]):
            subprocess.run([KLEVER, *command], check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
        ours = measure([KLEVER, "deploy", "--replace", reference], runs=3, warm=False, env=environment)
        subprocess.run(
            [KLEVER, "serving", "delete", form.lower()],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
        note(f"klever deploy of a small {form}, from the command to its first prediction", ours.seconds, 6, "s")


def main() -> None:
    """Measure and exit with 1 where a figure falls short."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        large = work / "source" / "large.onnx"
        large.parent.mkdir()
        write_large_onnx(large)
        bench_initializer(work, large)
        bench_deploy(work)
    sys.exit(not all(row.holds for row in rows))


if __name__ == "__main__":
    main()
