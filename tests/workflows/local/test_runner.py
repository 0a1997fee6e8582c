"""Whole workflows on this machine: what a process is given, and what is left of it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from klever.steps.errors import AlreadyExistsError
from klever.workflows.local import find_record, list_records
from klever.workflows.local.runs import runs_directory
from klever.workflows.status import Phase, Run

from .building import container, dag, shell, task, workflow
from .conftest import Runner


def only(run: Run, name: str) -> Any:
    return next(node for node in run.nodes.values() if node.display_name == name)


def log_of(run: Run, name: str) -> str:
    return find_record(run.name).log_of(only(run, name)).read_text()


def ends(pid: int) -> bool:
    """Say whether a process is gone, or only waits for its new parent to notice, within five seconds."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_the_result_of_a_workflow_is_that_of_its_first_template(start: Runner) -> None:
    write = shell(
        "write", 'printf "%s" "{{inputs.parameters.text}}" > /tmp/out', inputs=("text",), outputs={"o": "/tmp/out"}
    )
    main = dag(
        task("a", "write", given={"text": "{{inputs.parameters.who}}"}),
        inputs={"parameters": [{"name": "who"}]},
        outputs={"parameters": [{"name": "all", "valueFrom": {"parameter": "{{tasks.a.outputs.parameters.o}}"}}]},
    )
    run = start(workflow(main, write, parameters=[{"name": "who", "value": "nobody"}]), {"who": "me"})
    assert (run.phase, run.outputs) == (Phase.SUCCEEDED, {"all": "me"})


def test_paths_of_the_pod_are_private_to_each_task(start: Runner) -> None:
    write = shell(
        "write",
        "test ! -e /tmp/out && sleep 0.2 && echo {{inputs.parameters.i}} > /tmp/out && cat /tmp/out",
        inputs=("i",),
        outputs={"o": "/tmp/out"},
    )
    main = dag(
        task("each", "write", given={"i": "{{item}}"}, withItems=[1, 2, 3]),
        outputs={"parameters": [{"name": "all", "valueFrom": {"parameter": "{{tasks.each.outputs.parameters.o}}"}}]},
    )
    run = start(workflow(main, write), parallel=3)
    assert run.outputs == {"all": '["1","2","3"]'}
    assert not Path("/tmp/out").exists()


def test_volumes_are_directories_and_absent_secrets_set_no_variable(start: Runner) -> None:
    main = {
        "name": "main",
        "volumes": [
            {"name": "work", "emptyDir": {}},
            {"name": "auth", "secret": {"secretName": "none", "optional": True}},
        ],
        "outputs": {"parameters": [{"name": "o", "valueFrom": {"path": "/work/deep/o"}}]},
        "container": {
            "image": "none",
            "command": [
                "sh",
                "-c",
                'mkdir -p /work/deep; echo "${DOCKER_CONFIG-unset} $WORK" > /work/deep/o; echo /workshop',
            ],
            "env": [{"name": "DOCKER_CONFIG", "value": "/auth/x"}, {"name": "WORK", "value": "/work"}],
            "volumeMounts": [{"name": "work", "mountPath": "/work"}, {"name": "auth", "mountPath": "/auth"}],
        },
    }
    run = start(workflow(main), environment={"PATH": os.environ["PATH"]})
    assert run.phase is Phase.SUCCEEDED, run.message
    unset, place = run.outputs["o"].split()
    assert unset == "unset"
    assert place.startswith(str(runs_directory()))
    assert find_record(run.name).log_of(next(iter(run.nodes.values()))).read_text() == "/workshop\n"


def test_nothing_of_the_tasks_is_left_but_their_logs(start: Runner) -> None:
    run = start(workflow(container("main", "sh", "-c", "mktemp; mkdir -p ro/x; chmod 500 ro; echo said; touch here")))
    record = find_record(run.name)
    assert run.phase is Phase.SUCCEEDED, run.nodes
    assert not record.staging.exists()
    assert "said" in record.log_of(next(iter(run.nodes.values()))).read_text()
    assert record.directory.stat().st_mode & 0o077 == 0


def test_staging_is_private_and_can_be_kept(start: Runner) -> None:
    run = start(workflow(container("main", "sh", "-c", "touch here")), keep_staging=True)
    (place,) = find_record(run.name).staging.iterdir()
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / "work" / "here").exists()


def test_the_running_installation_comes_first(start: Runner) -> None:
    run = start(workflow(container("main", "python", "-c", "import sys; print(sys.executable)")))
    log = find_record(run.name).log_of(next(iter(run.nodes.values()))).read_text()
    assert Path(log.strip()).parent == Path(sys.executable).parent


def test_a_failed_process_tells_its_last_words(start: Runner) -> None:
    script = 'echo "read: no such model; next: check" > "$KLEVER_MESSAGE_FILE"; exit 7'
    run = start(workflow(container("main", "sh", "-c", script)))
    (node,) = run.nodes.values()
    assert (node.phase, node.exit_code) == (Phase.FAILED, 7)
    assert node.message == "main: Error (exit code 7): read: no such model; next: check\n"
    assert run.message == node.message


def test_the_end_of_the_log_is_the_message_where_that_is_asked_for(start: Runner) -> None:
    asked = container("main", "sh", "-c", "echo why; exit 1", terminationMessagePolicy="FallbackToLogsOnError")
    (node,) = start(workflow(asked)).nodes.values()
    assert node.message == "main: Error (exit code 1): why\n"


def test_a_time_limit_ends_the_whole_process_group(start: Runner, tmp_path: Path) -> None:
    script = f"trap '' TERM; (trap '' TERM; sleep 30; touch {tmp_path}/late) & echo $! > {tmp_path}/pid; wait; sleep 30"
    main = {**container("main", "sh", "-c", script), "activeDeadlineSeconds": 1}
    before = time.monotonic()
    (node,) = start(workflow(main)).nodes.values()
    assert time.monotonic() - before < 20
    assert (node.phase, node.message) == (Phase.FAILED, "Pod was active on the node longer than the specified deadline")
    assert ends(int((tmp_path / "pid").read_text()))


def test_what_a_process_leaves_behind_ends_with_it(start: Runner, tmp_path: Path) -> None:
    start(workflow(container("main", "sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid")))
    assert ends(int((tmp_path / "pid").read_text()))


def test_output_is_shown_line_by_line_with_its_node(start: Runner) -> None:
    seen: list[tuple[str, bytes]] = []
    main = dag(task("a", "say"), task("b", "say", depends="a", when="{{tasks.a.outputs.result}} == x"))
    say = shell("say", "printf 'x'; printf 'e\\n' >&2")
    run = start(workflow(main, say), stream=lambda node, line: seen.append((node, line)))
    assert {line for _, line in seen} == {b"x", b"e"}
    assert {node for node, _ in seen} == {only(run, "a").id, only(run, "b").id}
    assert only(run, "a").result == "x"


def test_no_more_processes_run_than_may(start: Runner) -> None:
    most = 0

    def watch(run: Run) -> None:
        nonlocal most
        most = max(most, sum(node.phase is Phase.RUNNING and node.kind == "Pod" for node in run.nodes.values()))

    main = dag(task("each", "wait", withSequence={"count": "6"}))
    start(workflow(main, shell("wait", "sleep 0.1")), parallel=2, watch=watch)
    assert most == 2


def test_progress_of_processes_is_summed(start: Runner) -> None:
    run = start(
        workflow(dag(task("a", "half"), failFast=False), shell("half", 'echo 50/100 > "$ARGO_PROGRESS_FILE"; exit 1'))
    )
    assert only(run, "a").progress == "50/100"
    assert run.root is not None
    assert run.root.progress == "50/100"


def test_a_large_result_keeps_its_end(start: Runner) -> None:
    main = dag(task("a", "say"), task("b", "say", depends="a", when="'{{=len(tasks.a.outputs.result)}}' == '262144'"))
    say = shell("say", "head -c 400000 /dev/zero | tr '\\0' x; echo")
    run = start(workflow(main, say))
    assert only(run, "b").phase is Phase.SUCCEEDED, only(run, "b").message


def test_values_are_never_part_of_a_program(start: Runner) -> None:
    hostile = "$(touch /tmp/klever-was-here) `id` ; exit 3 \"'\n{{workflow.name}}"
    main = {
        "name": "main",
        "inputs": {"parameters": [{"name": "v"}]},
        "container": {"image": "none", "command": ["printf", "%s"], "args": ["{{inputs.parameters.v}}"]},
    }
    run = start(workflow(main, parameters=[{"name": "v"}]), {"v": hostile})
    log = find_record(run.name).log_of(next(iter(run.nodes.values()))).read_text()
    # Argo replaces the name in a value of the workflow's arguments as well.
    assert log == hostile.replace("{{workflow.name}}", run.name)


def test_hera_runs_its_scripts(start: Runner, tmp_path: Path) -> None:
    (tmp_path / "steps_of_mine.py").write_text(
        "from hera.workflows import script, Parameter\n"
        "from typing import Annotated\n"
        "@script(constructor='runner', image='none', command=['python'])\n"
        "def double(n: int) -> Annotated[int, Parameter(name='twice')]:\n"
        "    return 2 * n\n"
    )
    double = {
        "name": "double",
        "inputs": {"parameters": [{"name": "n"}]},
        "outputs": {"parameters": [{"name": "twice", "valueFrom": {"path": "/tmp/hera-outputs/parameters/twice"}}]},
        "script": {
            "image": "none",
            "command": ["python"],
            "args": ["-m", "hera.workflows.runner", "-e", "steps_of_mine:double"],
            "source": "{{inputs.parameters}}",
        },
    }
    main = dag(
        task("a", "double", given={"n": "21"}),
        outputs={"parameters": [{"name": "o", "valueFrom": {"parameter": "{{tasks.a.outputs.parameters.twice}}"}}]},
    )
    run = start(workflow(main, double), python_path=(tmp_path,))
    assert run.outputs == {"o": "42"}, log_of(run, "a")


# -- stopping


SLEEPER = """
import sys
from klever.workflows.local import Options, run
from klever.workflows.status import Phase
exits = {"name": "bye", "container": {"image": "none", "command": ["sh", "-c", "touch " + sys.argv[1] + "/bye; " + sys.argv[2]]}}
main = {"name": "main", "container": {"image": "none", "command": ["sh", "-c", "touch " + sys.argv[1] + "/begun; sleep 60"]}}
document = {"kind": "Workflow", "metadata": {"name": "sleeper"}, "spec": {"entrypoint": "main", "onExit": "bye", "templates": [main, exits]}}
finished = run(document, templates=[], options=Options(grace_seconds=2))
print(finished.phase, finished.message, [node.message for node in finished.nodes.values()])
"""


def begin(tmp_path: Path, at_exit: str = "true") -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(tmp_path), at_exit],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(tmp_path / "begun")
    return process


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    pytest.fail(f"{path.name} was never made")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_what_runs_and_lets_exit_handlers_run(tmp_path: Path, number: signal.Signals) -> None:
    process = begin(tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert out.startswith("Failed Stopped with strategy 'Stop' ['workflow shutdown with strategy:  Stop'"), err
    assert (tmp_path / "bye").exists()
    assert not find_record("sleeper").staging.exists()


def test_a_second_stop_ends_exit_handlers_too(tmp_path: Path) -> None:
    process = begin(tmp_path, "sleep 60")
    process.send_signal(signal.SIGINT)
    wait_for(tmp_path / "bye")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out.startswith("Failed Stopped with strategy 'Terminate'"), err


def test_a_run_in_a_busy_event_loop_uses_a_thread(start: Runner) -> None:
    import asyncio

    async def notebook() -> Run:
        return start(workflow(container("main", "true")))

    assert asyncio.run(notebook()).phase is Phase.SUCCEEDED


def test_whoever_watches_may_fail_and_ends_the_run(start: Runner) -> None:
    def watch(_: Run) -> None:
        raise BrokenPipeError

    before = time.monotonic()
    with pytest.raises(BrokenPipeError):
        start(workflow(container("main", "sleep", "60")), watch=watch)
    assert time.monotonic() - before < 30


# -- records


def test_a_run_can_be_read_again(start: Runner) -> None:
    run = start(workflow(dag(task("a", "say")), shell("say", "echo hi")))
    again = find_record(run.name).read()
    assert (again.phase, again.outputs, again.started) == (run.phase, run.outputs, run.started)
    assert {key: (node.phase, node.children) for key, node in again.nodes.items()} == {
        key: (node.phase, node.children) for key, node in run.nodes.items()
    }
    assert [record.directory.name for record in list_records()] == [run.name]


def test_only_the_last_runs_are_kept(start: Runner) -> None:
    names = [start(workflow(container("main", "true")), keep_runs=2).name for _ in range(4)]
    assert {record.directory.name for record in list_records()} == set(names[-2:])


def test_a_name_can_be_used_again_but_not_at_the_same_time(start: Runner, tmp_path: Path) -> None:
    document = workflow(
        container("main", "sh", "-c", f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done")
    )
    first = threading.Thread(target=start, args=(document,), kwargs={"name": "once"})
    first.start()
    wait_for(tmp_path / "begun")
    with pytest.raises(AlreadyExistsError):
        start(document, name="once")
    (tmp_path / "go").touch()
    first.join()
    assert start(document, name="once").phase is Phase.SUCCEEDED


def test_two_runs_with_one_mutex_follow_each_other(start: Runner, tmp_path: Path) -> None:
    script = f"mkdir {tmp_path}/alone && sleep 0.5 && rmdir {tmp_path}/alone"
    main = {**container("main", "sh", "-c", script), "synchronization": {"mutexes": [{"name": "one"}]}}
    found: list[Run] = []
    threads = [threading.Thread(target=lambda: found.append(start(workflow(main)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.phase for run in found] == [Phase.SUCCEEDED] * 3
