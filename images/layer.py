"""Lay out one layer of an image in a directory, such that two builds of the same files are equal byte for byte.

    python3 layer.py root /layer

It runs in a build stage, on the interpreter of the base image and without any distribution. What does not belong here:
what is installed, which `plan.py` says and `install.py` does.
"""

import compileall
import os
import py_compile
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

#: The virtual environment that holds Klever.
HOME: Final = Path("/opt/klever")
#: What a pod never imports: other programs, tests, and what only a compiler reads.
UNUSED_LIBRARY: Final = frozenset(
    {"ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "sitecustomize.py", "test", "tkinter"}
    | {"turtle.py", "turtledemo"}
)
#: For a person who looks into a running pod, or a step of their own that is a line of shell.
TOOLS: Final = (
    *("cat", "cp", "date", "df", "du", "echo", "env", "false", "head", "id", "ls", "mkdir", "mv", "rm", "sh", "sleep"),
    *("tail", "touch", "true", "wc"),
)
#: Loaded by name at run time, or wanted by the wheels of nearly every framework.
LIBRARIES: Final = ("libgcc_s.so.1", "libstdc++.so.6", "libz.so.1")
CONFIGURATION: Final = (
    *("debian_version", "host.conf", "ld.so.conf", "ld.so.conf.d", "mime.types", "nsswitch.conf", "os-release"),
    *("protocols", "services", "ssl/certs/ca-certificates.crt", "ssl/openssl.cnf"),
)
#: What a compiler reads.
SOURCES: Final = frozenset({".a", ".c", ".cpp", ".cuh", ".h", ".hpp", ".lib", ".pxd", ".pyi", ".pyx"})
USERS: Final = "root:x:0:0:root:/root:/bin/sh\nklever:x:65532:65532:klever:/klever:/bin/sh\n"
GROUPS: Final = "root:x:0:\nklever:x:65532:\n"


def main(kind: str, directory: str) -> None:
    layer = Path(directory)
    LAYERS[kind](layer)
    compile_all(layer)
    set_times(layer)


def lay_root(layer: Path) -> None:
    """Lay out the interpreter, its standard library, what those are linked against, a shell."""
    for name in ("bin", "lib", "lib64", "sbin"):
        (layer / "usr" / name).mkdir(parents=True, exist_ok=True)
        (layer / name).symlink_to(f"usr/{name}")
    for name, mode in {"klever": 0o750, "proc": 0o755, "root": 0o700, "run": 0o755, "sys": 0o755, "dev": 0o755}.items():
        (layer / name).mkdir(mode=mode)
    for name in ("tmp", "var/tmp"):
        (layer / name).mkdir(parents=True)
        (layer / name).chmod(0o1777)
    (layer / "var/run").symlink_to("/run")
    copied = [*interpreter(), *(path for name in TOOLS for path in chain(Path("/bin") / name))]
    copied += needed_by(programs())
    for name in CONFIGURATION:
        copied += [path for path in walk(Path("/etc") / name) if path.exists()]
    for path in {canonical(path) for path in copied}:
        copy(path, layer)
    standard = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(standard, layer / canonical(standard).relative_to("/"), ignore=unused, dirs_exist_ok=True)
    # Where OpenSSL looks for authorities; Debian's own links there lead to the single files that the list is made of.
    trust = layer / Path(ssl.get_default_verify_paths().openssl_cafile).relative_to("/")
    trust.parent.mkdir(parents=True, exist_ok=True)
    trust.symlink_to("/etc/ssl/certs/ca-certificates.crt")
    (layer / "etc/passwd").write_text(USERS)
    (layer / "etc/group").write_text(GROUPS)
    describe_packages(copied, layer)
    # Libraries below /usr/local are found by the cache alone.
    subprocess.run(["/sbin/ldconfig", "-X", "-r", str(layer)], check=True)
    shutil.rmtree(layer / "var/cache", ignore_errors=True)


def lay_distributions(layer: Path) -> None:
    """Move what is installed in the virtual environments, with the system's libraries that it is linked against."""
    libraries = set(needed_by(objects(HOME))) - set(needed_by(programs()))
    for path in libraries:
        copy(canonical(path), layer)
    describe_packages(libraries, layer)
    for folder in HOME.rglob("site-packages/nvidia"):
        keep_linked(folder)
    (layer / "opt").mkdir(parents=True, exist_ok=True)
    shutil.move(HOME, layer / "opt")
    for folder in list((layer / "opt").rglob("site-packages")):
        prune(folder)
    # Nothing starts what distributions bring along.
    for marker in (layer / "opt").rglob("pyvenv.cfg"):
        for script in (marker.parent / "bin").iterdir():
            if not script.name.startswith("python"):
                script.unlink()


def keep_linked(folder: Path) -> None:
    """Remove a graphics card's libraries that are loaded only where there is one.

    Those that torch is linked against have to be there, or nothing of it loads.
    """
    users = [path for path in objects(folder.parent / "torch") if not path.is_relative_to(folder)]
    linked = {path.resolve() for path in linked_by(users)}
    for path in folder.rglob("*"):
        if path.is_file() and path.resolve() not in linked:
            path.unlink()


def lay_code(layer: Path) -> None:
    """Copy Klever itself, out of a virtual environment that holds nothing else."""
    installed = HOME / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    scripts = [path for path in (HOME / "bin").iterdir() if path.name.startswith("klever")]
    for path in (*installed.glob("klever*"), *scripts):
        if path.is_dir():
            shutil.copytree(path, layer / path.relative_to("/"))
        else:
            copy(path, layer)
    # It names the wheel's place in the build.
    for path in layer.rglob("direct_url.json"):
        path.unlink()


LAYERS: Final[dict[str, Callable[[Path], None]]] = {
    "root": lay_root,
    "distributions": lay_distributions,
    "code": lay_code,
}


# ---------------------------------------------------------------- what is copied
def interpreter() -> Iterator[Path]:
    """Yield the interpreter under each name that starts it, links first."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for folder in ("/usr/local/bin", "/usr/bin"):
        for name in ("python", "python3", version):
            path = Path(folder, name)
            if path.resolve() == Path(sys.executable).resolve():
                yield from chain(path)


def programs() -> Iterator[Path]:
    """Yield what of the root layer is linked against libraries."""
    yield Path(sys.executable).resolve()
    yield from objects(Path(sysconfig.get_path("stdlib"), "lib-dynload"))
    yield from (Path("/bin", name).resolve() for name in TOOLS)
    yield from (library(name) for name in LIBRARIES)


def library(name: str) -> Path:
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    match = re.search(rf"^\s+{re.escape(name)} .*=> (.*)$", listed, re.MULTILINE)
    if match is None:
        raise SystemExit(f"the base image lacks {name}")
    return Path(match[1])


def chain(path: Path) -> Iterator[Path]:
    """Yield a link, what it points to, and so on to the file."""
    path = canonical(path)
    yield path
    while path.is_symlink():
        path = canonical(path.parent / path.readlink())
        yield path


def canonical(path: Path) -> Path:
    """Return a path whose directories are no links; it may be a link itself."""
    return path.parent.resolve() / path.name


def walk(path: Path) -> Iterator[Path]:
    yield from (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else chain(path)


def objects(folder: Path) -> list[Path]:
    """Return the shared libraries and programs below a folder, by their first bytes."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                if stream.read(4) == b"\x7fELF":
                    found.append(path)
    return sorted(found)


def needed_by(files: Iterable[Path]) -> list[Path]:
    """Return the system's libraries that ``files`` are linked against, and those libraries', with the links to them."""
    names = list(files)
    found = linked_by(names) | {path for path in names if "lib" in path.parts}
    outside = (path for path in found if not path.is_relative_to(HOME) and "lib-dynload" not in path.parts)
    return sorted({link for path in outside for link in chain(path)})


def linked_by(files: Sequence[Path]) -> set[Path]:
    """Return the libraries that ``files`` are linked against, and those libraries', as the linker finds them."""
    found = set()
    for start in range(0, len(files), 500):
        # A statically linked file is an error to ldd, and none to us.
        command = ["ldd", *map(str, files[start : start + 500])]
        answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found |= {Path(match[1]) for match in re.finditer(r"^\s+(?:\S+ => )?(/\S+) \(0x", answer, re.MULTILINE)}
    return found


def copy(path: Path, layer: Path) -> None:
    target = layer / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target, follow_symlinks=False)


def describe_packages(files: Iterable[Path], layer: Path) -> None:
    """Write what scanners and lawyers read: the Debian packages that files are from, and their copyright."""
    wanted = {str(canonical(path)) for path in files}
    stanzas = re.split(r"\n\n+", Path("/var/lib/dpkg/status").read_text(encoding="utf-8"))
    owners = {
        listing.name.removesuffix(".list").partition(":")[0]
        for listing in Path("/var/lib/dpkg/info").glob("*.list")
        if any(
            line in wanted or (line.startswith("/") and str(canonical(Path(line))) in wanted)
            for line in listing.read_text(encoding="utf-8").splitlines()
        )
    }
    folder = layer / "var/lib/dpkg/status.d"
    folder.mkdir(parents=True, exist_ok=True)
    for stanza in stanzas:
        match = re.match(r"Package: (\S+)", stanza)
        if match and match[1] in owners:
            (folder / match[1]).write_text(stanza.strip() + "\n", encoding="utf-8")
            for path in chain(Path("/usr/share/doc", match[1], "copyright")):
                if path.exists():
                    copy(path, layer)


# ---------------------------------------------------------------- what is left out, and how the rest is made equal
def unused(folder: str, names: list[str]) -> list[str]:
    """Say what of the standard library stays behind."""
    top = folder == sysconfig.get_path("stdlib")
    return [
        name
        for name in names
        if name in ("__pycache__", "test", "tests", "idle_test")
        or name.startswith(("_test", "_tkinter", "_ctypes_test", "_xxtestfuzz"))
        or (top and (name in UNUSED_LIBRARY or name.startswith("config-")))
    ]


def prune(folder: Path) -> None:
    """Remove from installed distributions what is read by installers, compilers and tests alone."""
    # A framework may import setuptools: it stays where it was asked for, and goes where venv put it.
    asked = folder.parents[2].name == HOME.name
    for name in ("pip",) if asked else ("pip", "setuptools", "pkg_resources", "_distutils_hack"):
        for path in (folder / name, *folder.glob(f"{name}-*.dist-info")):
            shutil.rmtree(path, ignore_errors=True)
    if not asked:
        (folder / "distutils-precedence.pth").unlink(missing_ok=True)
    for path in list(folder.rglob("*")):
        if path.is_symlink() or not path.exists():
            continue
        if path.is_dir():
            if path.name == "__pycache__" or (path.name == "include" and any(path.rglob("*.h"))):
                shutil.rmtree(path)
        elif path.suffix in SOURCES or is_test(path.relative_to(folder)):
            path.unlink()
    shutil.rmtree(folder / "onnx" / "backend" / "test" / "data", ignore_errors=True)


def is_test(path: Path) -> bool:
    """Say whether nothing imports a file below ``tests``; numpy.testing imports some modules from there."""
    named = path.suffix != ".py" or path.name.startswith("test_") or path.name == "conftest.py"
    return named and "tests" in path.parts


def compile_all(layer: Path) -> None:
    """Compile all modules to bytecode that is never compared with its source: nothing here changes any more."""
    warnings.simplefilter("ignore")
    compileall.compile_dir(
        layer,
        maxlevels=50,
        stripdir=str(layer),
        prependdir="/",
        quiet=2,
        workers=1,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def set_times(layer: Path) -> None:
    time = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in (layer, *layer.rglob("*")):
        os.utime(path, (time, time), follow_symlinks=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
