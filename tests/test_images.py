"""What goes into the images, how they are built, and what a pod finds in them."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from clusters import IMAGE_TAG_VARIABLE, IMAGES_VARIABLE, NAMESPACES, cluster, has_image, lack, namespace, until  # noqa: F401

from klever.steps.environments.table import ENVIRONMENTS
from klever.workflows.argo.client import PODS, Cluster
from klever.workflows.templates.images import IMAGE_OF_ENVIRONMENT, IMAGES

#: The base image that the reproducibility of a build is tried with; unset, it is not tried.
BASE_VARIABLE = "KLEVER_TEST_IMAGES_BASE"
ROOT = Path(__file__).resolve().parents[1]
ALL_IMAGES = (*IMAGES, "api")
#: No release of these runs on the Python of the images.
OF_ANOTHER_PYTHON = {"convert-sklearn-0.24", "prove-caffe2", "prove-xgboost"}
#: The images whose interpreter serves an environment itself.
INSIDE = {
    "convert-keras": "convert-tensorflow",
    "convert-torch": "convert-torch",
    "convert-sklearn": "convert-sklearn",
}


def load(name: str) -> ModuleType:
    """Import a script of the folder `images`."""
    spec = importlib.util.spec_from_file_location(f"images_{name}", ROOT / "images" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- what is installed
@pytest.fixture(scope="module")
def build_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Containerfile copies into the stage that installs: a few files, and no distribution."""
    directory = tmp_path_factory.mktemp("build")
    stage = (ROOT / "images/Containerfile").read_text().partition("AS distributions\n")[2].partition("\nFROM ")[0]
    for line in re.findall(r"^COPY (.*)$", stage, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, directory / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (directory / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, directory / target)
    return directory


def plan(build_directory: Path, image: str, target: Path) -> Path:
    # -S: no site-packages, as in the build.
    command = [sys.executable, "-S", "plan.py", image, str(target)]
    subprocess.run(command, cwd=build_directory, check=True, env={"PATH": os.defpath})
    return target


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="plans for the Python that runs it, and images have 3.11")
@pytest.mark.parametrize("image", ALL_IMAGES)
def test_an_image_has_what_its_environments_ask_for(image: str, build_directory: Path, tmp_path: Path) -> None:
    planned = plan(build_directory, image, tmp_path / "plan")
    pins, made = lines(planned / "pins.txt"), lines(planned / "environments.txt")
    inside = INSIDE.get(image)
    assert pins == (list(ENVIRONMENTS[inside].requirements) if inside else [])
    expected = {name for name, at in IMAGE_OF_ENVIRONMENT.items() if at == image and name}
    assert set(made) == expected - OF_ANOTHER_PYTHON - {inside, "prove-onnx"}


@pytest.mark.parametrize("image", ALL_IMAGES)
def test_pins_of_an_environment_win_over_the_constraints(image: str, build_directory: Path, tmp_path: Path) -> None:
    constraints = lines(plan(build_directory, image, tmp_path / "plan") / "constraints.txt")
    names = [line.partition("==")[0].lower().replace("_", "-") for line in constraints]
    assert len(names) == len(set(names))


def test_the_base_install_needs_what_the_project_says_and_nothing_else(build_directory: Path, tmp_path: Path) -> None:
    planned = plan(build_directory, "steps", tmp_path / "plan")
    assert not any("hera" in line or "numpy" in line for line in lines(planned / "requirements.txt"))
    assert not lines(planned / "environments.txt")


def test_the_image_of_the_ways_in_has_what_the_controller_and_the_server_need(
    build_directory: Path, tmp_path: Path
) -> None:
    asked = lines(plan(build_directory, "api", tmp_path / "plan") / "requirements.txt")
    names = {re.split("[>=]", line)[0] for line in asked}
    assert {"hera", "kubernetes", "kopf", "fastapi", "uvicorn", "prometheus-client"} <= names
    assert len(asked) == len(set(asked))


def test_the_stage_that_installs_has_what_makes_environments(build_directory: Path) -> None:
    script = "from klever.steps.environments.create import create"
    command = [sys.executable, "-S", "-c", script]
    subprocess.run(command, cwd=build_directory, check=True, env={"PYTHONPATH": str(build_directory)})


def test_the_stage_that_installs_has_nothing_that_changes_with_the_code(build_directory: Path) -> None:
    files = {str(path.relative_to(build_directory)) for path in build_directory.rglob("*.py")}
    assert "klever/steps/environments/table.py" in files
    assert not any(
        name.startswith(("klever/api", "klever/steps/converters", "klever/workflows/local")) for name in files
    )


def test_an_unknown_image_is_refused_with_those_that_there_are(build_directory: Path, tmp_path: Path) -> None:
    command = [sys.executable, "plan.py", "stepz", str(tmp_path / "plan")]
    done = subprocess.run(command, cwd=build_directory, capture_output=True, text=True)
    assert done.returncode == 1
    assert "there is no image 'stepz'; choose one of steps, convert" in done.stderr


# ---------------------------------------------------------------- how a layer is laid out
def test_bytecode_is_never_compared_with_its_source_and_layers_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = load("layer")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "315532800")
    found: list[tuple[list[tuple[str, float]], bytes]] = []
    for name in ("first", "second"):
        directory = tmp_path / name
        (directory / "opt").mkdir(parents=True)
        (directory / "opt/module.py").write_text("WORDS = {'one', 'two', 'three'}\n\ndef call():\n    return WORDS\n")
        layer.compile_all(directory)
        layer.set_times(directory)
        paths = sorted(directory.rglob("*"))
        compiled = next(path for path in paths if path.suffix == ".pyc").read_bytes()
        # PEP 552: bit 0, the source's hash follows; bit 1, it is compared.
        assert int.from_bytes(compiled[4:8], "little") == 0b01
        found.append(([(str(path.relative_to(directory)), path.stat().st_mtime) for path in paths], compiled))
    assert found[0] == found[1]
    assert b"/opt/module.py" in found[0][1]


def test_what_only_installers_compilers_and_tests_read_is_left_out(tmp_path: Path) -> None:
    layer = load("layer")
    folder = tmp_path / "lib/python3.11/site-packages"
    kept = ["numpy/__init__.py", "numpy/_core/tests/_natype.py", "package/test/__init__.py", "include/__init__.py"]
    removed = ["pip/__init__.py", "numpy/_core/tests/test_array.py", "numpy/_core/tests/data/a.csv"]
    removed += ["numpy/_core/include/numpy/array.h", "package/__pycache__/a.cpython-311.pyc", "package/a.pyx"]
    for name in (*kept, *removed):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    layer.prune(folder)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(kept)


# ---------------------------------------------------------------- how images are built
def stub(directory: Path, name: str, script: str = "") -> Path:
    """Put a program on the PATH that notes down how it was called."""
    program = directory / name
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>"$CALLS"\n{script}\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """An empty folder for programs; nothing but it and the system's own is on the PATH of `call`."""
    directory = tmp_path / "bin"
    directory.mkdir()
    # What the scripts use; not /usr/bin, where an engine may be.
    for name in ("bash", "cat", "dirname", "env", "grep", "sh"):
        (directory / name).symlink_to(str(shutil.which(name)))
    (directory / "python3").symlink_to(sys.executable)
    return directory


def call(
    programs: Path, *command: str, variables: Mapping[str, str] | None = None
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    notes = programs.parent / "calls"
    notes.touch()
    environment = {"PATH": str(programs), "CALLS": str(notes), "HOME": str(programs.parent), **(variables or {})}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    return done, lines(notes)


#: Writes an archive of an image with one layer of 1,000,000 bytes where its last argument but one says.
SAVE = """
case "$1" in
    push) file=${4#docker-archive:}; file=${file%%:*} ;;
    save) file=$3 ;;
    *) exit 0 ;;
esac
cp "$ARCHIVE" "$file"
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive.tar"
    (tmp_path / "layer.tar").write_bytes(bytes(1_000_000))
    (tmp_path / "manifest.json").write_text(json.dumps([{"Layers": ["layer.tar"]}]))
    with tarfile.open(path, "w") as tar:
        for name in ("manifest.json", "layer.tar"):
            tar.add(tmp_path / name, name)
    return path


def run_build(programs: Path, archive: Path, *arguments: str, **variables: str) -> tuple[str, list[str]]:
    (programs / "cp").symlink_to(str(shutil.which("cp")))
    command = (sys.executable, "images/build.py", *arguments)
    done, calls = call(programs, *command, variables={"ARCHIVE": str(archive), **variables})
    assert done.returncode == 0, done.stderr
    return done.stdout, calls


def test_an_engine_whose_command_is_there_without_an_engine_is_passed_over(programs: Path, archive: Path) -> None:
    stub(programs, "docker", "exit 1")
    stub(programs, "buildah", SAVE)
    said, calls = run_build(programs, archive, "steps", "--tag", "1.0")
    assert said.startswith("docker.io/klever/steps:1.0: 1 MB, compressed 0 MB, built in 0 s with buildah")
    builds = [each for each in calls if each.startswith("buildah build")]
    assert len(builds) == 1
    assert "--timestamp 315532800" in builds[0]
    assert "--build-arg IMAGE=steps --tag docker.io/klever/steps:1.0 ." in builds[0]


def test_docker_builds_where_it_answers(programs: Path, archive: Path) -> None:
    for name in ("docker", "podman", "buildah"):
        stub(programs, name, SAVE)
    said, calls = run_build(programs, archive, "steps", "api", "--prefix", "registry.example/team/")
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "registry.example/team/steps",
        "registry.example/team/api",
    ]
    assert not any(each.startswith(("podman", "buildah")) for each in calls)
    assert "SOURCE_DATE_EPOCH=315532800" in calls[1]


def test_pips_configuration_is_a_secret_of_the_build_and_no_argument(programs: Path, archive: Path) -> None:
    stub(programs, "buildah", 'for each; do case $each in id=pip,src=*) cat "${each#*src=}" ;; esac; done >&2' + SAVE)
    (programs.parent / ".pip").mkdir()
    (programs.parent / ".pip/pip.conf").write_text("[global]\nindex-url = https://a.example/\nretries = 9\n")
    certificates = programs.parent / "ca.pem"
    certificates.touch()
    (programs / "cp").symlink_to(str(shutil.which("cp")))
    done, calls = call(
        programs,
        *(sys.executable, "images/build.py", "steps"),
        variables={
            "ARCHIVE": str(archive),
            "PIP_INDEX_URL": "https://user:password@b.example/",
            "PIP_CERT": str(certificates),
            "PIP_TARGET": "/elsewhere",
        },
    )
    assert done.returncode == 0, done.stderr
    assert "index-url = https://user:password@b.example/" in done.stderr
    assert "retries = 9" in done.stderr
    assert "cert = /run/secrets/ca.pem" in done.stderr
    assert "elsewhere" not in done.stderr
    assert f"--secret id=ca,src={certificates}" in calls[1]
    assert "password" not in "".join(calls)


def test_an_image_is_handed_to_the_command_that_loads_it(programs: Path, archive: Path) -> None:
    stub(programs, "podman", SAVE)
    stub(programs, "load-it", 'test -s "$3"')
    _, calls = run_build(programs, archive, "steps", "--load", "load-it --into here")
    assert re.fullmatch(r"load-it --into here \S+/steps\.tar", calls[-1])


def test_without_an_engine_it_says_what_to_install(programs: Path) -> None:
    done, _ = call(programs, sys.executable, "images/build.py", "steps")
    assert done.returncode == 1
    assert (
        done.stderr.strip() == "none of docker, podman, buildah works here: start Docker, or install one of the others"
    )


def test_a_build_that_fails_ends_with_a_sentence(programs: Path) -> None:
    stub(programs, "buildah", '[ "$1" = info ]')
    done, _ = call(programs, sys.executable, "images/build.py", "steps")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "buildah could not build docker.io/klever/steps:dev; it says above why"


def test_the_base_image_is_pinned_by_its_digest() -> None:
    arguments = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "images/Containerfile").read_text(), re.MULTILINE)
    assert len(arguments) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", arguments[0])


def test_the_names_of_images_are_those_of_the_templates() -> None:
    assert load("build").names() == ALL_IMAGES


# ---------------------------------------------------------------- make cluster
def test_make_cluster_makes_a_cluster_with_argo_images_and_templates(programs: Path, tmp_path: Path) -> None:
    for name in ("docker", "kubectl", "python3", "klever"):
        (programs / name).unlink(missing_ok=True)
        stub(programs, name, 'case "$1" in create | apply) cat >/dev/null </dev/null ;; esac')
    stub(programs, "kind", 'case "$1" in get) echo other ;; esac')
    variables = {"IMAGES": "steps convert", "TAG": "try", "BIN": str(programs)}
    done, calls = call(programs, "images/cluster.sh", variables=variables)
    assert done.returncode == 0, done.stderr
    assert "kind create cluster --name klever --wait 180s" in calls
    argo = [each for each in calls if "argo-workflows/releases" in each]
    assert len(argo) == 1
    assert re.search(r"/v3\.\d+\.\d+/install\.yaml$", argo[0])
    build = (
        "python3 images/build.py steps convert --engine docker --tag try --load kind load image-archive --name klever"
    )
    assert build in calls
    assert calls.index(build) < calls.index("klever templates apply --namespace klever --image-tag try")
    assert "klever run klever-extract" in done.stdout


def test_make_cluster_keeps_a_cluster_that_is_there(programs: Path) -> None:
    for name in ("docker", "kubectl", "python3", "klever"):
        (programs / name).unlink(missing_ok=True)
        stub(programs, name)
    stub(programs, "kind", 'case "$1" in get) echo klever ;; esac')
    done, calls = call(programs, "images/cluster.sh", variables={"BIN": str(programs)})
    assert done.returncode == 0, done.stderr
    assert not any("create cluster" in each for each in calls)


@pytest.mark.parametrize(("lacking", "said"), [("kind", "needs kind"), ("engine", "its engine does not answer")])
def test_make_cluster_says_what_it_lacks(programs: Path, lacking: str, said: str) -> None:
    for name in ("docker", "kind", "kubectl"):
        if name != lacking:
            stub(programs, name, "exit 1" if lacking == "engine" else "")
    done, _ = call(programs, "images/cluster.sh")
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_the_script_of_make_cluster_is_clean() -> None:
    subprocess.run(["shellcheck", "images/cluster.sh"], cwd=ROOT, check=True)


# ---------------------------------------------------------------- what a pod finds
#: What runs in a pod and tells what is there, as its termination message: no longer than 4096 bytes.
FACTS = """
import importlib, json, os, shutil, socket, ssl, subprocess, sys, sysconfig
from pathlib import Path

from klever.steps.environments import ENVIRONMENTS, find_interpreter, is_available
from klever.steps.environments.process import program_variables

def unread(folder):
    # Modules whose bytecode is missing, or would be compared with the source.
    for path in Path(folder).rglob("*.py"):
        compiled = Path(importlib.util.cache_from_source(str(path)))
        if compiled.is_file() and compiled.read_bytes()[4] == 1:
            continue
        try:
            compile(path.read_bytes(), path, "exec", dont_inherit=True)
        except SyntaxError:
            # Written for another version of Python, like Python 2 or 3.12.
            continue
        yield str(path)

def imported(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True

def whole(environment):
    script = "".join(f"import {module}\\n" for module in environment.modules)
    command = [str(find_interpreter(environment)), "-B", "-E", "-s", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=program_variables(Path("/klever")))
    # The interpreter goes on after a path file that fails; TensorFlow says what it found of the processor.
    return f"{done.returncode}: {done.stderr[-300:]}" if done.returncode or "Traceback" in done.stderr else ""

standard = "bz2 ctypes curses decimal hashlib lzma multiprocessing readline sqlite3 ssl tomllib uuid venv zlib zoneinfo"
available = [each for each in ENVIRONMENTS.values() if is_available(each)]
Path(os.environ["HOME"], "written").touch()
facts = {
    "user": [os.getuid(), os.getgid()],
    "programs": [name for name in ("apt-get", "cc", "dpkg", "gcc", "ld", "perl", "pip", "pip3") if shutil.which(name)],
    "needed": [name for name in ("cat", "klever", "klever-task", "python", "sh", "sleep") if not shutil.which(name)],
    "modules": [name for name in ("ensurepip", "pip", "idlelib", "test.support") if imported(name)],
    "standard": [name for name in standard.split() if not imported(name)],
    "setuid": [str(path) for path in Path("/usr").rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o6000],
    "writable": [name for name in ("/opt/klever", "/usr/bin", "/etc") if os.access(name, os.W_OK)],
    "unread": [*unread(sysconfig.get_path("stdlib")), *unread("/opt/klever")][:5],
    "authorities": ssl.create_default_context().cert_store_stats()["x509_ca"] > 50,
    "address": bool(socket.getaddrinfo("localhost", 80)),
    "environments": [each.id for each in available],
    "broken": {each.id: said for each in available if (said := whole(each))},
    "help": subprocess.run(["klever-task", "--help"], capture_output=True).returncode,
    "ways in": [
        *(name for name in ("klever-controller", "klever-server") if subprocess.run([name, "--help"], capture_output=True).returncode),
        *(name for name in ("klever.api.controller.handlers", "klever.api.http.app", "hera") if not imported(name)),
    ],
}
Path("/dev/termination-log").write_text(json.dumps(facts))
"""
#: How long a pod may take to start and import every framework of its image.
POD_SECONDS = 240.0


@pytest.fixture(scope="module")
def facts_of(cluster: Cluster, namespace: str) -> Callable[[str], dict[str, Any]]:  # noqa: F811
    """What a pod of an image tells about it."""
    accounts = f"{NAMESPACES}/{namespace}/serviceaccounts"
    until(lambda: cluster.get(accounts)["items"], "the namespace's account")
    tag = os.environ.get(IMAGE_TAG_VARIABLE) or "dev"

    def run(image: str) -> dict[str, Any]:
        container = {
            "name": "facts",
            "image": f"docker.io/klever/{image}:{tag}",
            "imagePullPolicy": "Never",
            "command": ["python", "-c", FACTS],
            "volumeMounts": [{"name": "klever", "mountPath": "/klever"}],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
            },
        }
        spec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": [{"name": "klever", "emptyDir": {}}],
            # The user is the image's.
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        }
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": image}, "spec": spec}
        cluster.create(PODS.path(namespace), body)

        def state() -> dict[str, Any]:
            statuses = cluster.get(PODS.path(namespace, image))["status"].get("containerStatuses")
            current: dict[str, Any] = statuses[0]["state"] if statuses else {}
            if current.get("waiting", {}).get("reason") in ("ErrImageNeverPull", "CreateContainerError"):
                lack(f"docker.io/klever/{image}:{tag} on the cluster's node: {current['waiting']['message']}")
            return current

        until(lambda: "terminated" in state(), f"the pod of {image}", POD_SECONDS)
        ended = state()["terminated"]
        assert ended["exitCode"] == 0, ended
        found: dict[str, Any] = json.loads(ended["message"])
        return found

    return run


@pytest.mark.cluster
@pytest.mark.parametrize("image", ALL_IMAGES)
def test_a_pod_has_what_it_needs_and_nothing_that_helps_an_intruder(
    image: str, facts_of: Callable[[str], dict[str, Any]]
) -> None:
    if not has_image(image):
        pytest.skip(f"{IMAGES_VARIABLE} does not name {image}")
    facts = facts_of(image)
    assert facts["user"] == [65532, 65532]
    for name in ("programs", "needed", "modules", "standard", "setuid", "writable", "unread", "broken"):
        assert not facts[name], name
    assert facts["authorities"]
    assert facts["address"]
    assert facts["help"] == 0
    if image == "api":
        assert facts["ways in"] == []
    held = {name for name, at in IMAGE_OF_ENVIRONMENT.items() if at == image and name} - OF_ANOTHER_PYTHON
    # With the extra `convert` the interpreter serves this one.
    held |= {"prove-onnx"} if image.startswith("convert") else set()
    assert set(facts["environments"]) == held


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_builds_have_equal_layers(tmp_path: Path) -> None:
    """Built anew from the first step, where there are a base image and an index of distributions."""
    base = os.environ.get(BASE_VARIABLE)
    if not base:
        pytest.skip(f"needs {BASE_VARIABLE}, the base image to build from")
    source = tmp_path / "source"
    source.mkdir()
    for name in (".containerignore", "LICENSE", "README.md", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    for name in ("api", "images", "steps", "workflows"):
        shutil.copytree(ROOT / name, source / name)
    found = []
    for directory in (tmp_path / "first", tmp_path / "second"):
        command = [sys.executable, "images/build.py", "steps", "--tag", "twice", "--base", base, "--build=--no-cache"]
        subprocess.run([*command, "--archives", str(directory)], cwd=source, check=True)
        with tarfile.open(directory / "steps.tar") as tar:
            layers = json.load(tar.extractfile("manifest.json") or pytest.fail("no manifest"))[0]["Layers"]
            found.append([sha256((tar.extractfile(name) or pytest.fail(name)).read()).hexdigest() for name in layers])
    assert len(found[0]) == 3
    assert found[0] == found[1]
