"""Wheels of this project and of all it needs. `make wheelhouse` runs this file.

    python .ci/wheels.py        dist/wheelhouse-cp311-x86_64: install anywhere without a network

Run it with the Python of an environment that .ci/environment.py made: the setuptools of the lock
builds this project and the two dependencies that publish no wheel.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
PACKAGES = ("pairing", "node", "cli")
TARGET = f"cp{sys.version_info[0]}{sys.version_info[1]}-{platform.machine()}"
STEP_SECONDS = 1200.0

INSTALL = """\
#!/bin/sh
# Install kairos-register from this folder alone: ./install FOLDER [PYTHON]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?name the folder to install into, for example ~/.local/kairos-register}
"${2:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-index \\
    --find-links "$here" --only-binary :all: --no-deps --require-hashes \\
    --requirement "$here/requirements.txt"
echo "installed: $folder/bin/kairos-register"
"""


def main() -> None:
    """Make the wheelhouse of this Python and machine, afresh."""
    folder = TOP / "dist" / f"wheelhouse-{TARGET}"
    shutil.rmtree(folder, ignore_errors=True)
    wheelhouse(folder)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(f"{folder.relative_to(TOP)}: {len(list(folder.glob('*.whl')))} wheels, {size:.0f} MB")


def wheelhouse(folder: Path) -> None:
    """Fill `folder` with every wheel, a requirements.txt with their hashes, and `install`."""
    folder.mkdir(parents=True)
    lock = str(TOP / "requirements.lock")
    pip_wheel(folder, "--require-hashes", "--requirement", lock)
    project_wheel(folder)
    lines = [requirement(wheel) for wheel in sorted(folder.glob("*.whl"))]
    (folder / "requirements.txt").write_text("".join(lines))
    (folder / "install").write_text(INSTALL)
    (folder / "install").chmod(0o755)


def project_wheel(folder: Path) -> Path:
    """Build this project's wheel into `folder`, from a copy: stale build folders stay out."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in SOURCES:
            if (TOP / name).exists():
                shutil.copy(TOP / name, scratch)
        for name in PACKAGES:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(TOP / name, Path(scratch, name), ignore=ignore)
        pip_wheel(folder, "--no-index", scratch)
    (wheel,) = folder.glob("kairos_register-*.whl")
    return wheel


def pip_wheel(folder: Path, *arguments: str) -> None:
    """Fetch or build wheels with pip, nothing resolved and nothing fetched for a build."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), *arguments]
    subprocess.run(command, check=True, timeout=STEP_SECONDS)


def requirement(wheel: Path) -> str:
    """The line of a requirements file that accepts exactly this file."""
    name, version = wheel.name.split("-")[:2]
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{re.sub('_', '-', name)}=={version} --hash=sha256:{found}\n"


if __name__ == "__main__":
    main()
