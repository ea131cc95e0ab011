"""One file that operators can copy and run: `make dist` writes dist/kairos-register-*.pyz.

It holds the wheels' contents from the lock. Native modules cannot be loaded from inside a zip, so
the first start unpacks them (bootstrap.py); a file serves one Python minor version and machine.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipapp
from pathlib import Path

import wheels

# Top-level folders that wheels of libp2p's set install beside themselves and nothing imports.
LEFT_OUT = ("examples", "docs", "trio-stubs", "bin")
BOOTSTRAP = Path(__file__).with_name("bootstrap.py")


def main() -> None:
    """Build the file and the two other names under which it runs the other commands."""
    with tempfile.TemporaryDirectory() as scratch:
        app = Path(scratch, "app")
        version = fill(app, Path(scratch, "wheelhouse"))
        target = wheels.TOP / "dist" / f"kairos-register-{version}-{wheels.TARGET}.pyz"
        target.parent.mkdir(exist_ok=True)
        zipapp.create_archive(app, target, "/usr/bin/env python3", compressed=True)
        target.chmod(0o755)
    for command in ("kairos-fleet", "kairos-node"):
        other = target.with_name(target.name.replace("kairos-register", command))
        other.unlink(missing_ok=True)
        other.symlink_to(target.name)
    print(f"dist/{target.name}: {target.stat().st_size / 1e6:.0f} MB")


def fill(app: Path, wheelhouse: Path) -> str:
    """Lay out the archive's contents in `app`; returns the project's version."""
    wheels.wheelhouse(wheelhouse)
    site = app / "site-packages"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-index", "--no-deps", "--no-compile", "--target", str(site)]
    packages = [str(wheel) for wheel in sorted(wheelhouse.glob("*.whl"))]
    subprocess.run(command + packages, check=True, timeout=wheels.STEP_SECONDS)
    for name in LEFT_OUT:
        shutil.rmtree(site / name, ignore_errors=True)
    hashes = (wheelhouse / "requirements.txt").read_bytes()
    (app / "contents.txt").write_text(hashlib.sha256(hashes).hexdigest()[:16] + "\n")
    (app / "target.txt").write_text(wheels.TARGET + "\n")
    shutil.copy(BOOTSTRAP, app / "__main__.py")
    (wheel,) = wheelhouse.glob("kairos_register-*.whl")
    return wheel.name.split("-")[1]


if __name__ == "__main__":
    main()
