"""Write the four hash-locked requirement files from setup.cfg. For maintainers: `make lock`.

uv resolves once for every Python and machine that setup.cfg allows and lists the hashes of all
files of a version, so that one lock serves Python 3.11 to 3.13 on x86_64 and aarch64. The index is
the client's default one; local folders and extra indexes of the shell are left out.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
UV = "uv==0.13.9"
OLDEST_PYTHON = "3.11"
HEADER = "# Made by .ci/lock.py from setup.cfg. Do not edit: change setup.cfg, then `make lock`.\n"
LOCAL_SETTINGS = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_EXTRA_INDEX_URL")


def main() -> None:
    """Resolve, then write them; `--keep` keeps versions that still fit."""
    keep = "--keep" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        uv = install_uv(Path(scratch))
        override = Path(scratch, "override.txt")
        override.write_text(substitutions())
        compile_lock(uv, "build", ["-"], keep, stdin="setuptools\n")
        runtime = compile_lock(
            uv, "", ["setup.cfg", "--extra", "p2p", "--override", str(override)], keep
        )
        known = [word for name in names(runtime) for word in ("--no-emit-package", name)]
        for extra in ("heic", "dev"):
            wanted = ["setup.cfg", "--extra", extra, "--constraint", runtime.name]
            compile_lock(uv, extra, wanted + known, keep)


def substitutions() -> str:
    """Lines of the extra p2p that replace what libp2p itself pins (docs/adr/0001)."""
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    lines = setup["options.extras_require"]["p2p"].strip().splitlines()
    return "\n".join(line for line in lines if not line.startswith("libp2p")) + "\n"


def compile_lock(uv: Path, role: str, inputs: list[str], keep: bool, stdin: str = "") -> Path:
    """Write `requirements[-role].lock` at the top and return its path."""
    lock = TOP / ("requirements.lock" if not role else f"requirements-{role}.lock")
    if not keep:
        lock.unlink(missing_ok=True)
    subprocess.run(
        [str(uv), "pip", "compile", "--quiet", *inputs, "--output-file", lock.name]
        + ["--universal", "--python-version", OLDEST_PYTHON, "--python", sys.executable]
        + ["--generate-hashes", "--no-header", "--no-annotate"],
        cwd=TOP,
        input=stdin,
        text=True,
        check=True,
        env=clean_environment(),
        timeout=600,
    )
    lock.write_text(HEADER + lock.read_text())
    print(f"{lock.name}: {len(names(lock))} packages")
    return lock


def names(lock: Path) -> list[str]:
    """Distribution names pinned in a lock file, in its order."""
    return re.findall(r"^([A-Za-z0-9._-]+)==", lock.read_text(), re.MULTILINE)


def install_uv(scratch: Path) -> Path:
    """Install the pinned resolver into a throw-away venv and return its executable."""
    venv.create(scratch / "venv", with_pip=True)
    pip = [str(scratch / "venv/bin/python"), "-m", "pip", "install", "--quiet"]
    subprocess.run(
        [*pip, "--only-binary", ":all:", UV], check=True, env=clean_environment(), timeout=600
    )
    return scratch / "venv/bin/uv"


def clean_environment() -> dict[str, str]:
    """The environment without the settings that would make the lock depend on this machine."""
    return {name: value for name, value in os.environ.items() if name not in LOCAL_SETTINGS}


if __name__ == "__main__":
    main()
