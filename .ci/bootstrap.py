"""First code of the one-file program: unpack once into the user's cache, then run from there.

What is unpacked is a virtual environment, so that processes which the program starts with its own
interpreter find the same packages. Needs the standard library only.
"""

import os
import platform
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

COMMANDS = {
    "kairos-register": "cli.register",
    "kairos-fleet": "cli.fleet",
    "kairos-node": "node.__main__",
}
SCRIPT = "import sys\nfrom {module} import main\nsys.exit(main())\n"
MISSING = 9  # exit code: something is missing on this machine


def main() -> None:
    """Check the interpreter, unpack unless that is done, and become the program."""
    archive = Path(sys.argv[0]).resolve()
    with zipfile.ZipFile(archive) as packed:
        check_target(packed.read("target.txt").decode().strip())
        folder = place(packed.read("contents.txt").decode().strip())
        if not folder.exists():
            unpack(packed, folder)
    called = Path(sys.argv[0]).name
    command = next((name for name in COMMANDS if called.startswith(name)), "kairos-register")
    python = str(folder / "bin" / "python")
    os.execv(python, [python, str(folder / "bin" / command), *sys.argv[1:]])


def check_target(target: str) -> None:
    """Refuse another Python or machine than the native modules inside were built for."""
    here = f"cp{sys.version_info[0]}{sys.version_info[1]}-{platform.machine()}"
    if here != target:
        sys.stderr.write(f"This file is for {target}, and this is {here}: take the file for it.\n")
        sys.exit(MISSING)


def place(contents: str) -> Path:
    """Where these contents are unpacked for this interpreter and user."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    interpreter = sys.base_prefix.strip("/").replace("/", "-")
    return cache / "kairos-register" / f"app-{contents}-{interpreter}"


def unpack(packed: zipfile.ZipFile, folder: Path) -> None:
    """Unpack beside `folder` and rename: an interrupted or second start leaves nothing half."""
    sys.stderr.write("First start: unpacking, a few seconds.\n")
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as scratch:
        fresh = Path(scratch, "app")
        venv.create(fresh, with_pip=False, symlinks=True)
        lib = fresh / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        members = [name for name in packed.namelist() if name.startswith("site-packages/")]
        packed.extractall(lib, members)
        for command, module in COMMANDS.items():
            (fresh / "bin" / command).write_text(SCRIPT.format(module=module))
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.exists():  # else another start was faster
                raise


if __name__ == "__main__":
    main()
