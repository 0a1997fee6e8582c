"""A process killed at any moment leaves a sound store, and the next run completes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 200


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
