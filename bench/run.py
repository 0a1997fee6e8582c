"""Figures against peers, in one run: ``make bench``.

Every row is a median of whole processes on this machine, with its limit as a ratio to a peer measured in the same run
or as seconds and megabytes. Needs 12 GB of disk; the peers' environment is made on first use.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import timeit
from pathlib import Path

from cluster import bench_cluster
from controller import bench_controller
from conversion import bench_conversion
from events import bench_events
from facade import bench_facade
from figures import MEGABYTE, memory, note, ratio, rows
from inputs import write_large_onnx
from local_runner import bench_local_runner
from measure import Figure, measure
from peers import peer_python
from registry import counting_relay, registry_binaries, running_registry, upload_location
from serving import bench_deploy, bench_initializer

ROOT = Path(__file__).resolve().parent.parent
KLEVER = str(Path(sys.executable).with_name("klever"))
#: Small models that TensorFlow of today loads too.
SMALL = {
    "H5": ROOT / "tests/models/H5/sequential_keras3/model",
    "SavedModel": ROOT / "tests/models/SavedModel/keras_three/model",
}
_ORAS_PUSH = """
import os, sys, oras.client
os.chdir(sys.argv[2])
oras.client.OrasClient(insecure=True).push(sys.argv[1], files=[sys.argv[3]], disable_path_validation=True)
"""


def bench_small(python: str) -> None:
    """Measure inspect of small models, cold and warm, against TensorFlow's loading of the same files."""
    from klever.steps.inspect import inspect_path

    for name, path in SMALL.items():
        ours = measure([KLEVER, "inspect", "--json", str(path)], runs=9)
        note(f"inspect a small {name}, cold process", ours.seconds, 0.3, "s")
        memory(f"inspect a small {name}", ours, 70)
        load = (
            f"import keras; keras.saving.load_model({str(next(path.glob('*.h5')))!r}, compile=False)"
            if name == "H5"
            else f"import tensorflow as tf; tf.saved_model.load({str(next(path.rglob('saved_model.pb')).parent)!r})"
        )
        theirs = measure([python, "-c", load], runs=3, env={"TF_CPP_MIN_LOG_LEVEL": "3"})
        ratio(f"  TensorFlow's cold load / inspect, {name}", theirs.seconds, ours.seconds, 8, at_least=True)
        inspect_path(path)
        warm = min(timeit.repeat(lambda path=path: inspect_path(path), number=5, repeat=7)) / 5
        note(
            f"  TensorFlow's cold load / inspect in a warm process, {name}",
            theirs.seconds / warm,
            100,
            at_least=True,
        )


def bench_large(python: str, large: Path) -> None:
    """Measure inspect of the gibibyte."""
    ours = measure([KLEVER, "inspect", "--json", str(large)], runs=5)
    note("inspect a 1 GiB ONNX file, cold process", ours.seconds, 0.5, "s")
    memory("inspect a 1 GiB ONNX file", ours, 80)
    load = f"import onnx, onnxruntime; onnx.load({str(large)!r}); onnxruntime.InferenceSession({str(large)!r})"
    theirs = measure([python, "-c", load], runs=1)
    print(
        f"{'  onnx.load and onnxruntime, for comparison':<84}{theirs.seconds:>9.2f} s   {theirs.peak / MEGABYTE:.0f} MB"
    )


def bench_layout(work: Path, large: Path) -> None:
    """Measure publication to a layout against hashing the file."""
    home = work / "home"
    digest = measure(["openssl", "dgst", "-sha256", str(large)], runs=3)
    ours = measure(
        [KLEVER, "publish", str(large), "bench/large:v1"],
        runs=3,
        prepare=lambda: shutil.rmtree(home, ignore_errors=True),
        env={"KLEVER_HOME": str(home)},
    )
    ratio("publish 1 GiB to a layout / openssl dgst -sha256", ours.seconds, digest.seconds, 2.5)
    memory("publish 1 GiB to a layout", ours, 120)
    shutil.rmtree(home)


def bench_registry(work: Path, large: Path, name: str, host: str, gzip: Figure) -> None:
    """Measure publication, fetch and ranged inspection against bare transfers of the same bytes."""
    target, layer, fetched = f"{host}/bench/large:v1", work / "layer", work / "fetched"
    publish = [KLEVER, "publish", "--plain-http", str(large), target]

    def clean() -> None:
        shutil.rmtree(work / name / "data", ignore_errors=True)

    ours = measure(publish, runs=3, prepare=clean)
    digest = layer_digest(target)
    url = f"http://{host}/v2/bench/large/blobs/{digest}"
    subprocess.run(["curl", "-sfo", str(layer), url], check=True)

    def begin_upload() -> None:
        clean()
        (work / "put").write_text(upload_location(host, "bench/put"))

    put = measure(
        [
            "sh",
            "-c",
            'exec curl -sf -H "Content-Type: application/octet-stream" -T "$0" "$(cat "$1")&digest=$2"',
            str(layer),
            str(work / "put"),
            digest,
        ],
        runs=3,
        prepare=begin_upload,
    )
    ratio(f"publish 1 GiB to {name} / a bare streamed PUT", ours.seconds, put.seconds, 1.3)
    memory(f"publish 1 GiB to {name}", ours, 120)
    oras = measure(
        [sys.executable, "-c", _ORAS_PUSH, f"{host}/bench/oras:v1", str(large.parent), large.name],
        runs=2,
        prepare=clean,
    )
    ratio("  oras-py / publish", oras.seconds, ours.seconds, 1, at_least=True)
    ratio("  gzip level 6, then PUT / publish", gzip.seconds + put.seconds, ours.seconds, 15, at_least=True)

    subprocess.run(publish, check=True, stdout=subprocess.DEVNULL)
    curl = measure(["curl", "-sfo", str(layer), url], runs=5, prepare=lambda: layer.unlink(missing_ok=True))
    ours = measure(
        [KLEVER, "fetch", "--plain-http", target, str(fetched)],
        runs=5,
        prepare=lambda: shutil.rmtree(fetched, ignore_errors=True),
    )
    ratio(f"fetch 1 GiB from {name} / curl -o of the layer", ours.seconds, curl.seconds, 1.5)
    memory(f"fetch 1 GiB from {name}", ours, 120)
    shutil.rmtree(fetched)
    layer.unlink()
    bench_remote_inspect(host)


def layer_digest(target: str) -> str:
    """Return the digest of an artifact's layer."""
    manifest = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{target}"], check=True, capture_output=True
    ).stdout
    return str(json.loads(manifest)["layers"][0]["digest"])


def bench_remote_inspect(host: str) -> None:
    """Measure inspection of the artifact in the registry, from its config and from its layer."""
    for label, flags in (("from its config", ()), ("from its layer", ("--reread",))):
        with counting_relay(host) as (relay, counted):
            command = [KLEVER, "inspect", "--json", "--plain-http", *flags, f"{relay}/bench/large:v1"]
            ours = measure(command, runs=5)
            transferred = sum(counted) / 6
        note(f"inspect the artifact in the registry, {label}", ours.seconds, 0.6, "s")
        memory(f"inspect the artifact {label}", ours, 100)
        note(f"inspect the artifact {label}: transferred", transferred / MEGABYTE, 1, "MB")


def main() -> None:
    """Measure everything and exit with 1 where a figure falls short."""
    python = peer_python()
    imports = [
        float(
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    "import time; s = time.perf_counter(); import klever.steps; print(time.perf_counter() - s)",
                ],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for _ in range(9)
    ]
    note("import klever.steps, cold", statistics.median(imports) * 1000, 50, "ms")
    bench_small(python)
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench-") as folder:
        work = Path(folder)
        large = work / "models" / "large.onnx"
        large.parent.mkdir()
        write_large_onnx(large)
        bench_large(python, large)
        bench_layout(work, large)
        registries = registry_binaries() if shutil.which("skopeo") else {}
        gzip = measure(["gzip", "-6", "-k", "-c", str(large)], runs=1, warm=False) if registries else None
        for name, binary in registries.items():
            (work / name).mkdir()
            with running_registry(binary, work / name) as host:
                assert gzip is not None
                bench_registry(work, large, name, host, gzip)
            shutil.rmtree(work / name)
        for name in {"registry 2.8", "registry 3"} - registries.keys():
            print(f"{name}: skipped, it or skopeo is not installed")
        bench_initializer(work, large)
        bench_deploy(work)
        bench_conversion(work, python)
        bench_local_runner(work)
    bench_facade()
    bench_cluster()
    bench_events()
    bench_controller()
    short = sum(not row.holds for row in rows)
    print(f"{len(rows)} figures, {short} fall short")
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
