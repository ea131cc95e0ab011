"""The node's Python: locked dependencies and this project, byte-compiled, in a venv of their own.

pip runs here, for the image's Python (`--target`): wheels only, except two packages that are pure
Python (docs/adr/0001). Byte code is made by the image's own Python: without it importing takes
four times as long. Unchecked, because nothing in an image ever changes.
"""

from __future__ import annotations

import configparser
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from node.image.layers import Layer
from node.image.rooms import Room
from pairing import errors, process

TOP = Path(__file__).resolve().parents[2]
HOME = "opt/kairos-register"
SOURCE_ONLY = "python-baseconv,varint"
OPERATOR_ONLY = frozenset({"numpy", "pillow", "pygments", "pypdf", "pyzbar", "rich", "zxing-cpp"})
"""Locked packages that a node never imports: photos and progress bars are the operator's part."""
PACKAGES = ("pairing", "node")
UNNEEDED = ("*.pyc", "testing", "image", "py.typed")
"""Of our packages: what only developers and the makers of images use."""
BUILD_SECONDS = 900.0
COMPILE_SECONDS = 300.0


def site_of(version: str) -> str:
    """The folder of the venv's packages for a Python such as `3.13`."""
    return f"{HOME}/lib/python{version}/site-packages"


def python_of(tree: Path) -> str:
    """The version of the Python in a tree, such as `3.13`. Raises errors.BaseUnsuitable."""
    found = sorted((tree / "usr/bin").glob("python3.[0-9]*"))
    names = [entry.name for entry in found if re.fullmatch(r"python3\.\d+", entry.name)]
    if not names:
        raise errors.BaseUnsuitable("It has no /usr/bin/python3.")
    return names[-1].removeprefix("python")


def locked() -> tuple[str, ...]:
    """The lock file's entries, each with its hashes, without those of the operator only.

    Raises errors.SourceMissing where this is no source folder.
    """
    lock = TOP / "requirements.lock"
    if not lock.exists():
        raise errors.SourceMissing(element=str(TOP))
    return tuple(_blocks(lock.read_text(encoding="utf-8")))


def _blocks(lock: str) -> Iterator[str]:
    for block in re.findall(r"^[A-Za-z0-9].*(?:\n[ \t].*)*\n?", lock, re.MULTILINE):
        if re.split(r"[=; ]", block, maxsplit=1)[0] not in OPERATOR_ONLY:
            yield block


def make_site(draft: Path, tree: Path, version: str) -> None:
    """Fill `draft/root` with the locked packages. Raises what `process.run` raises."""
    chosen = draft / "requirements.lock"
    chosen.write_text("".join(locked()), encoding="utf-8")
    target = draft / "root" / site_of(version)
    process.run(pip(version, chosen, target), seconds=BUILD_SECONDS)
    forget_run(target)
    compile_in(tree, draft, version)


def pip(version: str, lock: Path, target: Path) -> list[str]:
    """The command that installs a lock file for another Python."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--no-build-isolation", "--no-compile"]
    command += ["--use-pep517"]  # older pips write other metadata without it
    command += ["--only-binary", ":all:", "--no-binary", SOURCE_ONLY]
    command += ["--python-version", version, "--implementation", "cp"]
    for abi in (f"cp{version.replace('.', '')}", "abi3", "none"):
        command += ["--abi", abi]
    for platform in ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34"):
        command += ["--platform", f"{platform}_x86_64"]
    return [*command, "--requirement", str(lock), "--target", str(target)]


def forget_run(site: Path) -> None:
    """Remove what tells whose pip it was: commands, which name its Python's path, and the lists of
    files with those commands' digests. Nothing is ever removed from an image by pip."""
    shutil.rmtree(site / "bin", ignore_errors=True)
    for record in site.glob("*.dist-info/RECORD"):
        record.unlink()


def make_project(draft: Path, tree: Path, version: str) -> None:
    """Fill `draft/root` with our packages and the command `kairos-node`."""
    site = draft / "root" / site_of(version)
    for name in PACKAGES:
        shutil.copytree(TOP / name, site / name, ignore=shutil.ignore_patterns(*UNNEEDED))
    compile_in(tree, draft, version)
    _venv(draft / "root" / HOME)


def _venv(home: Path) -> None:
    """A venv's three parts: the mark, the interpreter and the commands."""
    binaries = home / "bin"
    binaries.mkdir(parents=True)
    (home / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (binaries / "python").symlink_to("/usr/bin/python3")
    for name, module, function in _commands():
        script = f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        (binaries / name).write_text(f"#!/{HOME}/bin/python\n{script}")
        (binaries / name).chmod(0o755)


def _commands() -> Iterator[tuple[str, str, str]]:
    """Name, module and function of each command that our packages in the image have."""
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg", encoding="utf-8")
    for line in setup["options.entry_points"]["console_scripts"].split("\n"):
        found = re.fullmatch(r"(\S+) = (([a-z]+)\S*):(\S+)", line.strip())
        if found and found[3] in PACKAGES:
            yield found[1], found[2], found[4]


def compile_in(tree: Path, draft: Path, version: str) -> None:
    """Byte-compile `draft/root` with the tree's Python."""
    argv = [f"python{version}", "-m", "compileall", "-q", "-s", "root", "-p", "/"]
    argv += ["--invalidation-mode", "unchecked-hash", "root"]
    # Sets of constants are written in the order of their hashes.
    same = {"PYTHONHASHSEED": "0"}
    Room(tree).run(argv, draft, seconds=COMPILE_SECONDS, environment=same)


def pack(folder: Path, target: Path, epoch: int) -> None:
    """A layer of everything in `folder`, owned by root."""
    made = Layer()
    made.tree(folder, "")
    made.write(target, epoch)
