"""A process killed at any moment leaves a sound store, and the next run completes."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from klever.steps.oci.layout import LayoutStore
from klever.steps.recognise import recognise

ROUNDS = 200
CONVERT = [sys.executable, "-c", "import sys; from klever.api.cli import main; sys.exit(main())", "convert"]


@pytest.mark.slow
def test_publish_copy_and_fetch_survive_being_killed_at_200_random_moments(tmp_path: Path, models: Path) -> None:
    case = next(p.parent for p in sorted(models.glob("ONNX/*/expected.json")) if '"error"' not in p.read_text())
    model = tmp_path / "net.onnx"
    # Big enough that a kill falls into every part of the work: unknown trailing weights are legal protobuf (field 5000).
    weights = os.urandom(24 << 20)
    tail = b"\xc2\xb8\x02" + bytes([len(weights) & 0x7F | 0x80, len(weights) >> 7 & 0x7F | 0x80, len(weights) >> 14 & 0x7F | 0x80, len(weights) >> 21]) + weights  # fmt: skip
    model.write_bytes(next((case / "model").glob("*.onnx")).read_bytes() + tail)
    script = Path(__file__).with_name("killing.py")
    work = tmp_path / "work"
    work.mkdir()
    ended = subprocess.run(
        [sys.executable, str(script), str(work), str(model), str(ROUNDS), "moments"],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    killed = int(ended.stdout.split()[0])
    assert killed >= ROUNDS // 2, ended.stdout


@pytest.mark.slow
def test_a_conversion_killed_at_a_random_moment_leaves_nothing_half_done(tmp_path: Path, models: Path) -> None:
    dice = random.Random("conversion")
    store = LayoutStore(tmp_path / "home" / "store")
    source = str(models / "MXNetParams" / "mlp" / "model")
    target = tmp_path / "result"
    commands = [
        [*CONVERT, source, "--to", "ONNX", "--require", "none", "--again", *place]
        for place in (["--output", str(target), "--force"], ["--as", "net:v1"])
    ]
    environment = {**os.environ, "KLEVER_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    lengths = []
    for command in commands:
        started = time.perf_counter()
        subprocess.run(command, check=True, env=environment, capture_output=True)
        lengths.append(time.perf_counter() - started)
    for turn in range(12):
        process = subprocess.Popen(
            commands[turn % 2], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(dice.uniform(0.3, 1.0) * lengths[turn % 2])
        process.kill()
        process.wait()
        assert recognise(target).author is not None
        assert (target / "certificate.json").is_file()
        assert not store.check()
    for command in commands:
        subprocess.run(command, check=True, env=environment, capture_output=True)
    assert not list(tmp_path.glob(".*klever-*"))
