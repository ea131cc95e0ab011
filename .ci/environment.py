"""Make or refresh the virtual environment from the lock files. Standard library only.

    python3 .ci/environment.py [--dev] [--heic] [FOLDER]        FOLDER is .venv beside this project

No compiler is used and nothing unchecked is run: every file has its hash in a lock, wheels only
but for two pure-Python packages that publish none; those are built by the setuptools of the lock.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
# varint and python-baseconv exist as source only: pure Python, wanted by libp2p's address library.
SOURCE_ONLY = "python-baseconv,varint"
STEP_SECONDS = 1200.0
FIRST_PYTHON, FIRST_UNTESTED = (3, 11), (3, 14)


def main() -> None:
    """Bring the environment to the state that the locks describe; a second run does nothing."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--dev", action="store_true", help="add linters and test tools")
    options.add_argument("--heic", action="store_true", help="add the library for HEIC photos")
    options.add_argument("folder", nargs="?", type=Path, default=TOP / ".venv")
    given = options.parse_args()
    if not FIRST_PYTHON <= sys.version_info[:2] < FIRST_UNTESTED:
        sys.exit(
            f"Python 3.11 to 3.13 is needed; this is {sys.version.split()[0]}. "
            "Name another one: make PYTHON=python3.13"
        )
    folder: Path = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w", encoding="ascii") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refresh(folder, given.dev, given.heic)


def refresh(folder: Path, dev: bool, heic: bool = False) -> None:
    """Install what changed since the marks that the last run left inside `folder`."""
    locks = [TOP / "requirements-build.lock", TOP / "requirements.lock"]
    if dev:
        locks.append(TOP / "requirements-dev.lock")  # which has HEIC's library too
    elif heic:
        locks.append(TOP / "requirements-heic.lock")
    if not (folder / "bin" / "pip").exists():
        make_empty(folder)
    for lock in locks:
        install_lock(folder, lock)
    install_project(folder)
    for stubs in folder.glob("lib/python*/site-packages/trio-stubs"):
        # trio-typing (wanted by libp2p) brings types of a trio from 2023, which mypy would prefer.
        shutil.rmtree(stubs)


def install_lock(folder: Path, lock: Path) -> None:
    """Install every package of one lock file, unless the environment has exactly it already."""
    mark = folder / f".{lock.name}.installed"
    if is_marked(mark, [lock]):
        return
    print(f"installing {lock.name} ({len(names(lock))} packages, hash-checked)", flush=True)
    pip(
        folder,
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--no-binary",
        SOURCE_ONLY,
        "--requirement",
        str(lock),
    )
    set_mark(mark, [lock])


def install_project(folder: Path) -> None:
    """Install this project as editable: the commands in `bin`, the packages from this folder."""
    mark, sources = folder / ".project.installed", [TOP / "setup.cfg", TOP / "pyproject.toml"]
    if not is_marked(mark, sources):
        pip(folder, "--no-deps", "--no-index", "--editable", str(TOP))
        set_mark(mark, sources)


def is_marked(mark: Path, sources: list[Path]) -> bool:
    """Whether `mark` was left for these sources as they are now."""
    return mark.exists() and mark.read_text() == digest(sources)


def set_mark(mark: Path, sources: list[Path]) -> None:
    """Remember that these sources are installed; written last, so an interruption is repeated."""
    mark.write_text(digest(sources))


def make_empty(folder: Path) -> None:
    """Create the environment, or say which system package is missing."""
    try:
        import ensurepip  # noqa: F401  Debian leaves it out of python3
    except ImportError:
        sys.exit(
            "This Python cannot make virtual environments. On Debian: apt install python3-venv"
        )
    print(f"creating {folder.name} with Python {sys.version.split()[0]}", flush=True)
    venv.create(folder, with_pip=True)


def pip(folder: Path, *arguments: str) -> None:
    """Run one installation; a failure ends the program with what pip said and what to try."""
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-build-isolation", "--use-pep517", *arguments]
    try:
        status = subprocess.run(command, check=False, timeout=STEP_SECONDS).returncode
    except subprocess.TimeoutExpired:
        sys.exit(
            f"The package index did not answer within {STEP_SECONDS / 60:g} minutes: try again."
        )
    if status != 0:
        sys.exit(
            "Installation failed: pip says why above. Without a network, install from a "
            "wheelhouse: docs/adr/0001-how-libp2p-is-declared.md"
        )


def names(lock: Path) -> list[str]:
    """Distribution names pinned in a lock file."""
    return re.findall(r"^([A-Za-z0-9._-]+)==", lock.read_text(), re.MULTILINE)


def digest(files: list[Path]) -> str:
    """One SHA-256 over the contents of `files`."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


if __name__ == "__main__":
    os.chdir(TOP)
    main()
