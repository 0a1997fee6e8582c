"""What the local runner adds to the processes that it starts."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from figures import note
from measure import measure

ROOT = Path(__file__).resolve().parent.parent
KLEVER, TASK = (str(Path(sys.executable).with_name(name)) for name in ("klever", "klever-task"))
MODEL = ROOT / "tests" / "models" / "MXNetParams" / "mlp" / "model"
#: Tasks one after another: what the runner itself takes to start is spread over them.
TASKS = 10
ROUNDS = 5


def bench_local_runner(work: Path) -> None:
    """Measure a chain of extractions by ``klever run`` against the same processes, started one after another."""
    home = work / "runner"
    home.mkdir()
    environment = {"KLEVER_HOME": str(home)}
    subprocess.run(
        [KLEVER, "publish", str(MODEL), "bench/mlp:v1"], check=True, capture_output=True, env=os.environ | environment
    )
    chain = home / "chain.yaml"
    # JSON is YAML.
    chain.write_text(json.dumps(_chain()))
    process = [
        TASK,
        "extract",
        "--model=bench/mlp:v1",
        "--format=",
        "--repack=false",
        f"--directory={home / 'outputs'}",
    ]
    bare: list[float] = []
    whole: list[float] = []
    # In turn, so that whatever else the machine does meets both.
    for _ in range(ROUNDS):
        bare.append(measure(process, runs=3, env=environment).seconds)
        whole.append(measure([KLEVER, "run", str(chain), "--json"], runs=1, warm=not whole, env=environment).seconds)
    chain_seconds, bare_seconds = statistics.median(whole), statistics.median(bare)
    what = f"local runner: overhead per task ({chain_seconds:.2f} s for {TASKS}, {bare_seconds:.2f} s each bare)"
    note(what, chain_seconds / TASKS - bare_seconds, 0.15, "s")
    shutil.rmtree(home)


def _chain() -> dict[str, object]:
    call = {
        "templateRef": {"name": "klever-extract", "template": "extract"},
        "arguments": {"parameters": [{"name": "model", "value": "bench/mlp:v1"}]},
    }
    steps = [[{"name": f"extract-{number}", **call}] for number in range(TASKS)]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "chain-"},
        "spec": {"entrypoint": "main", "templates": [{"name": "main", "steps": steps}]},
    }
