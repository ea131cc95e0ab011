"""Programs in Go for tests, built from modules that are pinned here and kept by their content.

A program is static (no C compiler), and lies in the user's cache folder by the hash of what it is
made from: two checkouts of the same sources share it. A cold build needs Go and its module proxy
and takes minutes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairing import process

BUILD_SECONDS = 3000.0
"""A cold build of one, on a busy machine."""
KEPT = 2
"""Versions of a program in the cache, of some eighty megabytes each."""
GO_PLACES = f"{process.PATH}:/usr/local/go/bin"


@dataclass(frozen=True, slots=True)
class GoProgram:
    """The folder `package` of a module, with its `main.go`.

    `name` has no `-`; `shelf` is the cache's folder that it lies in. `modfile`: another list of
    requirements beside go.mod, with sums of its own. `words`: for the linker. `toolchain`: the
    compiler's version where a newer one does not do; the installed one fetches it as a module.
    """

    name: str
    shelf: str
    module: Path
    package: str = "."
    modfile: str = "go.mod"
    words: str = ""
    toolchain: str = ""

    @property
    def place(self) -> Path:
        """Where it is, or will be."""
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        sources = sorted((self.module / self.package).glob("*.go"))
        files = (self._list, self._list.with_suffix(".sum"), *sources)
        flags = " ".join((*self._flags(), *filter(None, (self.toolchain,)))).encode()
        inputs = b"\0".join((*(file.read_bytes() for file in files), flags))
        digest = hashlib.sha256(inputs).hexdigest()[:16]
        return home / "kairos-register" / self.shelf / f"{self.name}-{digest}"

    def built(self) -> Path | None:
        """The program, if an earlier build left it in the cache."""
        return self.place if self.place.exists() else None

    def build(self) -> Path:
        """The program, built if it is missing.

        Raises errors.CommandMissing (no Go), errors.CommandFailed with the compiler's words, and
        errors.CommandTimeout.
        """
        target = self.place
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f"{target.name}.{os.getpid()}.part")
            argv = [go() or "go", "build", "-C", str(self.module), *self._flags()]
            argv += ["-o", str(draft), f"./{self.package}"]
            process.run(argv, seconds=BUILD_SECONDS, environment=self._environment())
            keep(draft, target)
        return target

    def contents(self) -> str:
        """The modules in the built program with their versions: `go version -m`."""
        argv = [go() or "go", "version", "-m", str(self.build())]
        return process.run(argv, seconds=60, environment=self._environment()).text()

    @property
    def _list(self) -> Path:
        return self.module / self.modfile

    def _flags(self) -> Sequence[str]:
        other = () if self.modfile == "go.mod" else (f"-modfile={self.modfile}",)
        return ("-trimpath", "-mod=readonly", *other, "-ldflags", f"-s -w {self.words}")

    def _environment(self) -> Mapping[str, str]:
        """Go's own settings and caches, and no C compiler: the programs run on any Linux."""
        kept = {key: value for key, value in os.environ.items() if key.startswith("GO")}
        kept |= {key: os.environ[key] for key in ("HOME", "XDG_CACHE_HOME") if key in os.environ}
        if self.toolchain:
            kept["GOTOOLCHAIN"] = self.toolchain
        return {**kept, "CGO_ENABLED": "0"}


def go() -> str:
    """Where the Go compiler is; empty if it is not installed."""
    return shutil.which("go", path=f"{os.environ.get('PATH', '')}:{GO_PLACES}") or ""


def build_all(programs: Iterable[GoProgram], purpose: str) -> int:
    """Build what is missing and print where it is: exit status of a command that does that.

    Without Go the tests that need them are skipped and say so; in CI that is a failure.
    """
    wanted = list(programs)
    if not go() and not all(program.built() for program in wanted):
        print(f"Go is not installed: {purpose}", file=sys.stderr)
        return int("CI" in os.environ)
    for program in wanted:
        print(program.build(), flush=True)
    return 0


def keep(draft: Path, target: Path) -> None:
    """Take a finished file into the cache and drop all but the newest of its kind (`KIND-...`)."""
    draft.rename(target)
    kind = target.name.partition("-")[0]
    kept = [path for path in target.parent.glob(f"{kind}-*") if path.suffix in ("", ".tar")]
    for old in sorted(kept, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
