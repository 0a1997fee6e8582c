"""Pipelines from the command line: what there is, what is asked for, what comes back."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import Klever

HELLO = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: hello-}
spec:
  entrypoint: main
  arguments: {parameters: [{name: who}, {name: code, value: 0, description: How it ends.}]}
  templates:
    - name: main
      inputs: {parameters: [{name: who, value: "{{workflow.parameters.who}}"}]}
      outputs: {parameters: [{name: greeting, valueFrom: {path: /out/greeting}}]}
      container:
        image: any
        command: [python3, -c]
        args:
          - |
            import os, pathlib, sys
            print("hello", sys.argv[1].replace("@", chr(27)), flush=True)
            pathlib.Path(sys.argv[2]).write_text("hello " + sys.argv[1])
            if sys.argv[3] != "0":
                pathlib.Path(os.environ["KLEVER_MESSAGE_FILE"]).write_text("greet: nobody is there; next: come back later")
            sys.exit(int(sys.argv[3]))
          - "{{inputs.parameters.who}}"
          - /out/greeting
          - "{{workflow.parameters.code}}"
"""

AUTHORED = """
from hera.workflows import Container, Parameter, WorkflowTemplate

with WorkflowTemplate(name="authored", entrypoint="main", arguments=[Parameter(name="who", value="Bob")]) as template:
    Container(name="main", image="any", command=["python3", "-c"], args=["print('hi {{workflow.parameters.who}}')"])
"""


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    path = tmp_path / "hello.yaml"
    path.write_text(HELLO, "utf-8")
    return path


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


def test_without_a_name_our_pipelines_are_listed(klever: Klever) -> None:
    listed = klever("run", "--json").document
    assert [each["name"] for each in listed] == ["klever-extract", "klever-convert", "klever-publish", "klever-release"]
    assert all(each["title"] and each["description"] and each["parameters"] for each in listed)
    shown = klever("run").out
    assert "klever run extract -p model=..." in shown


@pytest.mark.parametrize("name", ["release", "klever-release"])
def test_a_pipelines_parameters_are_described(klever: Klever, name: str) -> None:
    described = klever("run", name, "--describe", "--json").document
    (model,) = (each for each in described["parameters"] if each["name"] == "model")
    assert model["required"]
    assert model["description"]
    shown = klever("run", name, "--describe").out
    assert "-p model=..." in shown
    assert "one of" in shown


def test_a_name_that_is_none_lists_those_that_are(klever: Klever) -> None:
    error = klever("run", "relese", "--json").error
    assert "relese" in error["cause"]
    assert all(each in error["nextStep"] for each in ("extract", "release", "--on argo"))


def test_arguments_are_checked_before_anything_runs(klever: Klever, hello: Path) -> None:
    outcome = klever("run", hello, "-p", "whoo=x", "--json")
    assert outcome.code == 1
    assert outcome.error["type"] == "InvalidArgumentsError"
    assert "did you mean who?" in outcome.error["cause"]
    assert "who has to be given" in outcome.error["cause"]
    assert outcome.out == ""


def test_a_run_ends_with_its_outputs(klever: Klever, hello: Path) -> None:
    outcome = klever("run", hello, "-p", "who=Ada")
    assert outcome.code == 0
    assert "greeting  hello Ada" in outcome.out
    assert "Succeeded" in outcome.err


def test_a_run_is_json_for_programs(klever: Klever, hello: Path) -> None:
    outcome = klever("run", "--json", hello, "-p", "who=Ada", "--name", "mine")
    document = outcome.document
    assert (document["name"], document["phase"], document["outputs"]) == (
        "mine",
        "Succeeded",
        {"greeting": "hello Ada"},
    )
    (node,) = document["nodes"]
    assert (node["type"], node["phase"], node["exitCode"]) == ("Pod", "Succeeded", 0)
    assert outcome.err == ""


@pytest.mark.parametrize(("code", "expected"), [("1", 1), ("75", 75)])
def test_a_failed_run_says_why_and_whether_it_is_worth_another_try(
    klever: Klever, hello: Path, code: str, expected: int
) -> None:
    outcome = klever("run", hello, "-p", "who=Ada", "-p", f"code={code}")
    assert outcome.code == expected
    assert "greet: nobody is there" in outcome.err
    assert "next: come back later" in outcome.err
    assert outcome.err.endswith(" --on local\n")
    again = outcome.err.splitlines()[-1].partition("logs: klever ")[2].split()
    assert "hello Ada" in klever(*again).out
    failed = klever("run", hello, "--json", "-p", "who=Ada", "-p", f"code={code}")
    assert failed.code == expected
    (failure,) = failed.document["failures"]
    assert failure["cause"] == "greet: nobody is there"
    assert failure["temporary"] is (expected == 75)


def test_what_steps_print_is_shown_with_their_names(klever: Klever, hello: Path) -> None:
    outcome = klever("run", hello, "-p", "who=A@da", "--logs", "--name", "mine")
    assert "mine: hello A\\x1bda" in outcome.err


def test_parameters_may_be_in_a_file_and_the_command_line_wins(klever: Klever, hello: Path, tmp_path: Path) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_text("who: Ada\ncode: 7\n", "utf-8")
    document = klever("run", hello, "--parameter-file", path, "-p", "code=0", "--json").document
    assert document["outputs"] == {"greeting": "hello Ada"}


@pytest.mark.parametrize("content", ["- a\n", "a: [1]\n", "a: {b: c}\n", "a: [\n", "text", "\xff"])
def test_a_file_of_parameters_that_is_none_is_wrong_usage(
    klever: Klever, hello: Path, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_bytes(content.encode("latin-1"))
    assert klever("run", hello, "--parameter-file", path).code == 2


@pytest.mark.parametrize(
    "arguments",
    [["-p", "novalue"], ["-p", "=x"], ["-p", "a=1", "-p", "a=2"], ["--no-wait"], ["-l", "a=b"], ["--on", "moon"], ["--service-account", "x"]],
)  # fmt: skip
def test_wrong_usage_is_told_as_such(klever: Klever, hello: Path, arguments: list[str]) -> None:
    assert klever("run", hello, *arguments).code == 2


def test_a_file_with_nothing_to_run_is_told(klever: Klever, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n", "utf-8")
    assert "neither a Workflow nor a WorkflowTemplate" in klever("run", path, "--json").error["cause"]
    path.write_text(HELLO + "---" + HELLO, "utf-8")
    assert "2 documents of kind Workflow" in klever("run", path, "--json").error["cause"]
    assert klever("run", tmp_path / "none.yaml", "--json").error["type"] == "NotFoundError"


def test_a_python_file_with_hera_is_run(klever: Klever, tmp_path: Path) -> None:
    path = tmp_path / "authored.py"
    path.write_text(AUTHORED, "utf-8")
    outcome = klever("run", path, "-p", "who=Ada", "--logs")
    assert outcome.code == 0
    assert "hi Ada" in outcome.err


def test_runs_are_kept_and_can_be_seen_again(klever: Klever, hello: Path) -> None:
    klever("run", hello, "-p", "who=Ada", "--name", "first")
    klever("run", hello, "-p", "who=Ada", "-p", "code=1", "--name", "second")
    assert [each["name"] for each in klever("workflows", "list", "--on", "local", "--json").document] == [
        "second",
        "first",
    ]
    assert "second" in klever("workflows", "list", "--on", "local").out
    failed = klever("workflows", "get", "second", "--on", "local")
    assert "greet: nobody is there" in failed.out
    assert klever("workflows", "logs", "first", "--on", "local").out == "first: hello Ada\n"
    (only,) = klever("workflows", "list", "--on", "local", "--json", "--phase", "Failed").document
    assert only["name"] == "second"
    assert klever("workflows", "get", "third", "--on", "local", "--json").error["type"] == "UnknownRunError"


def test_ctrl_c_ends_a_run_and_its_processes(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "long.yaml"
    mark = tmp_path / "pid"
    long = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
    path.write_text(HELLO.partition("      inputs:")[0].replace("{name: who}, ", ""), "utf-8")
    document = path.read_text("utf-8") + (
        "      container:\n        image: any\n        command: [python3, -c]\n"
        f"        args: [{json.dumps(long)}, {json.dumps(str(mark))}]\n"
    )
    path.write_text(document, "utf-8")
    code = "from klever.api.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(path)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (mark.exists() and mark.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_running_here_needs_neither_kubernetes_nor_hera(hello: Path, home: Path) -> None:
    code = (
        "import sys\n"
        "from klever.api.cli.run import run\n"
        f"assert run(['run', {str(hello)!r}, '-p', 'who=Ada']) == 0\n"
        "run(['run', 'release', '--describe'])\n"
        "print(sorted({'kubernetes', 'hera', 'rich'} & set(sys.modules)))\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_help_loads_no_command(home: Path) -> None:
    code = (
        "import sys\n"
        "from klever.api.cli.run import run\n"
        "run(['--help'])\n"
        "print([name for name in sys.modules if name.startswith(('klever.workflows', 'klever.api.cli.commands.'))])\n"
    )
    assert python(code).stdout.splitlines()[-1] == "[]"


def test_argo_without_a_cluster_says_what_to_set(
    klever: Klever, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    error: dict[str, Any] = klever("run", "release", "-p", "model=x", "--on", "argo", "--json").error
    assert error["type"] == "NoClusterError"
    assert "KUBECONFIG" in error["nextStep"]
    assert klever("workflows", "list", "--json").error["type"] == "NoClusterError"


def test_argo_without_the_client_says_what_to_install(klever: Klever, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    error = klever("workflows", "list", "--json").error
    assert error["type"] == "ClientMissingError"
    assert "klever[workflows]" in error["nextStep"]
