"""What it takes until a model is served: ``python bench/serving.py``.

Needs a CNCF registry. What does not belong here: conversion.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import memory, ratio, rows
from inputs import write_large_onnx
from measure import measure
from registry import registry_binaries, running_registry

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


def main() -> None:
    """Measure and exit with 1 where a figure falls short."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        large = work / "source" / "large.onnx"
        large.parent.mkdir()
        write_large_onnx(large)
        bench_initializer(work, large)
    sys.exit(not all(row.holds for row in rows))


if __name__ == "__main__":
    main()
