"""Kubernetes' own programs for tests, built from the pinned Go module in tests/kube.

    control    kube-apiserver and kube-controller-manager, by the name that it is called
    kubelet    for a guest that is to become Ready
    pause      what a pod runs there: ours, some lines

All are static and kept in the user's cache folder by the hash of what they are made from. A cold
build needs Go and its module proxy and takes minutes: `python -m node.testing.kube_build` makes
them ahead of the tests.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pairing import process

SOURCE = Path(__file__).resolve().parents[2] / "tests/kube"
Name = Literal["control", "kubelet", "pause"]
NAMES: tuple[Name, ...] = ("control", "kubelet", "pause")
BUILD_SECONDS = 3000.0
"""A cold build of one, on a busy machine."""
KEPT = 2
"""Versions of a program in the cache, of some eighty megabytes each."""
GO_PLACES = f"{process.PATH}:/usr/local/go/bin"


def go() -> str:
    """Where the Go compiler is; empty if it is not installed."""
    return shutil.which("go", path=f"{os.environ.get('PATH', '')}:{GO_PLACES}") or ""


def built(name: Name) -> Path | None:
    """The program, if an earlier build left it in the cache."""
    found = _place(name)
    return found if found.exists() else None


def build(name: Name) -> Path:
    """The program, built if it is missing.

    Raises errors.CommandMissing (no Go), errors.CommandFailed with the compiler's words, and
    errors.CommandTimeout.
    """
    target = _place(name)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{os.getpid()}.part")
        argv = [go() or "go", "build", "-C", str(SOURCE), *_flags(), "-o", str(draft), f"./{name}"]
        process.run(argv, seconds=BUILD_SECONDS, environment=_environment())
        keep(draft, target)
    return target


def version() -> str:
    """The version of Kubernetes, such as `v1.35.3`."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (SOURCE / "go.mod").read_text())
    assert found, "go.mod does not name k8s.io/kubernetes"
    return found[1]


def _flags() -> Sequence[str]:
    # Without the version an API server calls itself v0.0.0-master, and clients refuse it.
    major, minor, _ = version().removeprefix("v").split(".", 2)
    package = "k8s.io/component-base/version"
    named = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor}
    words = " ".join(f"-X {package}.{key}={value}" for key, value in named.items())
    return ("-trimpath", "-mod=readonly", "-ldflags", f"-s -w {words}")


def _environment() -> Mapping[str, str]:
    """Go's own settings and caches, and no C compiler: the programs run on any Linux."""
    kept = {key: value for key, value in os.environ.items() if key.startswith("GO")}
    kept |= {key: os.environ[key] for key in ("HOME", "XDG_CACHE_HOME") if key in os.environ}
    return {**kept, "CGO_ENABLED": "0"}


def _place(name: Name) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    files = (SOURCE / "go.mod", SOURCE / "go.sum", SOURCE / name / "main.go")
    inputs = b"\0".join((*(file.read_bytes() for file in files), " ".join(_flags()).encode()))
    digest = hashlib.sha256(inputs).hexdigest()[:16]
    return home / "kairos-register" / "kube" / f"{name}-{digest}"


def keep(draft: Path, target: Path) -> None:
    """Take a finished file into the cache and drop all but the newest of its kind (`KIND-...`)."""
    draft.rename(target)
    kind = target.name.partition("-")[0]
    kept = [path for path in target.parent.glob(f"{kind}-*") if path.suffix in ("", ".tar")]
    for old in sorted(kept, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)


def main() -> int:
    """Build all, or those that are named, and print where they are.

    Without Go the tests that need them are skipped and say so; in CI that is a failure.
    """
    wanted = [name for name in NAMES if name in sys.argv[1:]] or NAMES
    if not go() and not all(map(built, wanted)):
        print("Go is not installed: no Kubernetes for the tests", file=sys.stderr)
        return int("CI" in os.environ)
    for name in wanted:
        print(build(name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
