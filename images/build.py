"""Build Klever's images with docker, podman or buildah, whichever is there, and say how large they are.

    python3 images/build.py steps convert --tag dev

pip's configuration on this machine (its files, and PIP_* in the environment) goes into the build as a secret, so that
it is in no layer and no cache key. ``--archives`` keeps each image as a file, ``--load`` hands that file to a command:
``--load "kind load image-archive"``. What does not belong here: what is in an image.
"""

import argparse
import configparser
import gzip
import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Final, cast

ROOT: Final = Path(__file__).resolve().parents[1]
CONTAINERFILE: Final = "images/Containerfile"
#: The order in which they are preferred; docker counts where its engine answers, not where its command is.
ENGINES: Final = ("docker", "podman", "buildah")
#: The time of every file, as SOURCE_DATE_EPOCH in the Containerfile: 1980, before which a ZIP archive has no time.
EPOCH: Final = "315532800"
#: What pip may be told of an index; that which says what is installed where is the Containerfile's.
PIP_OPTIONS: Final = frozenset(
    {"cert", "default-timeout", "extra-index-url", "find-links", "index-url", "no-index", "proxy", "retries"}
    | {"timeout", "trusted-host"}
)
#: Where the build finds what this machine's `cert` names.
CERTIFICATES: Final = "/run/secrets/ca.pem"
MEBI: Final = 1 << 20


@dataclass(frozen=True)
class Size:
    """What an image takes: unpacked on a node, and compressed on its way there, in bytes."""

    unpacked: int
    compressed: int

    def __str__(self) -> str:
        return f"{self.unpacked / 1e6:.0f} MB, compressed {self.compressed / 1e6:.0f} MB"


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    engine = options.engine or find_engine()
    with tempfile.TemporaryDirectory(prefix="klever-images-") as scratch:
        settings = pip_settings(os.environ)
        given = [
            *common_arguments(engine),
            *pip_arguments(engine, settings, Path(scratch)),
            *shlex.split(options.build),
        ]
        if options.base:
            given += ["--build-arg", f"BASE={options.base}"]
        for image in options.images or names():
            name = f"{options.prefix}{image}:{options.tag}"
            started = time.monotonic()
            build(engine, image, name, given)
            seconds = time.monotonic() - started
            archive = save(engine, name, Path(options.archives or scratch) / f"{image}.tar")
            print(f"{name}: {measure(archive)}, built in {seconds:.0f} s with {engine}", flush=True)
            if options.load:
                subprocess.run([*shlex.split(options.load), str(archive)], check=True)
            if not options.archives:
                archive.unlink()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build Klever's images.", allow_abbrev=False)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(names())}; all by default")
    parser.add_argument("--tag", default="dev")
    parser.add_argument("--prefix", default="docker.io/klever/", help="what stands before an image's name")
    parser.add_argument("--engine", choices=ENGINES, help="by default the first that is there")
    parser.add_argument("--base", default="", help="another base image than the pinned one, with Python 3.11")
    parser.add_argument(
        "--build", default="", metavar="ARGUMENTS", help="more arguments for the engine, e.g. --no-cache"
    )
    parser.add_argument("--archives", metavar="DIRECTORY", help="keep each image there as NAME.tar")
    parser.add_argument("--load", default="", metavar="COMMAND", help="run for each image with its archive")
    options = parser.parse_args(arguments)
    for image in options.images:
        if image not in names():
            parser.error(f"there is no image {image!r}; choose one of {', '.join(names())}")
    if options.archives:
        Path(options.archives).mkdir(parents=True, exist_ok=True)
    return options


def names() -> tuple[str, ...]:
    """Return all images: those of the templates' table, which needs nothing installed, and the ways in."""
    return (*runpy.run_path(str(ROOT / "workflows/templates/images.py"))["IMAGES"], "api")


def find_engine() -> str:
    for engine in ENGINES:
        # `docker version` alone succeeds without an engine behind it.
        if shutil.which(engine) and not subprocess.run([engine, "info"], capture_output=True, check=False).returncode:
            return engine
    raise SystemExit(f"none of {', '.join(ENGINES)} works here: start Docker, or install one of the others")


def common_arguments(engine: str) -> list[str]:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    given = ["--file", CONTAINERFILE, "--build-arg", f"VERSION={version}"]
    if engine == "docker":
        return [*given, "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}"]
    return [*given, "--layers", "--timestamp", EPOCH]


# ---------------------------------------------------------------- pip's configuration
def pip_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what pip is told of indexes here: by its files, the later over the earlier, then by PIP_*."""
    home = Path(variables.get("HOME", "/"))
    own = Path(variables.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
    files = configparser.RawConfigParser()
    files.read([Path("/etc/pip.conf"), own, home / ".pip/pip.conf", Path(variables.get("PIP_CONFIG_FILE", os.devnull))])
    found = dict(files["global"]) if files.has_section("global") else {}
    found |= {name[4:].lower().replace("_", "-"): value for name, value in variables.items() if name.startswith("PIP_")}
    return {name: value for name, value in found.items() if name in PIP_OPTIONS and value}


def pip_arguments(engine: str, settings: dict[str, str], scratch: Path) -> list[str]:
    """Write the settings as the file that the build sees, and return the arguments that show it, and what it names."""
    given = []
    settings = dict(settings)
    certificates = settings.get("cert", "")
    if certificates:
        settings["cert"] = CERTIFICATES
        given += ["--secret", f"id=ca,src={certificates}"]
    folders = [each for each in settings.get("find-links", "").split() if Path(each).is_dir()]
    if folders and engine != "docker":
        given += [part for each in folders for part in ("--volume", f"{each}:{each}:ro")]
    elif folders:
        # Docker's builder mounts nothing of this machine.
        settings["find-links"] = " ".join(each for each in settings["find-links"].split() if each not in folders)
    file = scratch / "pip.conf"
    file.touch(mode=0o600)
    file.write_text("".join(["[global]\n", *(f"{name} = {value}\n" for name, value in settings.items())]))
    return [*given, "--secret", f"id=pip,src={file}"]


# ---------------------------------------------------------------- what the engines do
def build(engine: str, image: str, name: str, given: Sequence[str]) -> None:
    command = [engine, "build", *given, "--build-arg", f"IMAGE={image}", "--tag", name, "."]
    variables = {**os.environ, "DOCKER_BUILDKIT": "1"}
    code = subprocess.run(command, cwd=ROOT, env=variables, stdout=sys.stderr, check=False).returncode
    if code:
        raise SystemExit(f"{engine} could not build {name}; it says above why")


def save(engine: str, name: str, archive: Path) -> Path:
    # Neither podman nor buildah writes over an archive.
    archive.unlink(missing_ok=True)
    if engine == "buildah":
        command = [engine, "push", "--quiet", name, f"docker-archive:{archive}:{name}"]
    else:
        command = [engine, "save", "--output", str(archive), name]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return archive


def measure(archive: Path) -> Size:
    """Return how large an image's layers are; the compressed size is gzip's at the usual level, in blocks of 1 MiB."""
    unpacked = compressed = 0
    with tarfile.open(archive) as tar, ThreadPoolExecutor(os.cpu_count()) as threads:
        for member in dict.fromkeys(json.load(content(tar, "manifest.json"))[0]["Layers"]):
            blocks = iter(partial(unzipped(content(tar, member)).read, MEBI), b"")
            # A few at a time: a layer is larger than memory has room for.
            while batch := list(islice(blocks, 64)):
                unpacked += sum(map(len, batch))
                compressed += sum(threads.map(compressed_size, batch))
    return Size(unpacked, compressed)


def content(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = tar.extractfile(name)
    if stream is None:
        raise SystemExit(f"the archive of the image has no file {name}")
    return stream


def compressed_size(block: bytes) -> int:
    return len(zlib.compress(block))


def unzipped(stream: IO[bytes]) -> IO[bytes]:
    """Return a layer's tar; Docker saves it as a registry has it."""
    zipped = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    return cast(IO[bytes], gzip.open(stream)) if zipped else stream


if __name__ == "__main__":
    main(sys.argv[1:])
