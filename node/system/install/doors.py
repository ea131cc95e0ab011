"""What the handlers of an installation reach the machine through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from node.execute import Work
from node.recoverykey import RecoveryKey
from node.system.booted import Part, disk_name, part
from node.system.door import Door
from node.system.keyfile import hold
from pairing import errors, process
from pairing.facts import Image
from pairing.process import Result

RUN_FOLDER = Path("/run/kairos-register")
LINES_LOGGED = 8
SETTLE_SECONDS = 30


@dataclass(slots=True)
class Ahead:
    """What was done before anybody asked for it. `image`: the medium's, whole and staged."""

    image: Image | None = None
    busy: trio.Lock = field(default_factory=trio.Lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Programs, the file tree below `root`, and our folder in memory below it."""

    run: Door = process.run
    root: Path = Path("/")
    folder: Path = RUN_FOLDER
    ahead: Ahead = field(default_factory=Ahead, compare=False)

    def at(self, path: str | Path) -> Path:
        """A path of the machine below `root`."""
        return self.root / str(path).lstrip("/")

    @property
    def own(self) -> Path:
        """Our folder: in memory, ours alone. Made where it is missing."""
        folder = self.at(self.folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    @property
    def staging(self) -> Path:
        """Where checked files of the medium wait for the disk."""
        return self.own / "staging"

    @property
    def boot_files(self) -> Path:
        """The tree that goes on the ESP before the loader."""
        return self.staging / "boot"

    @property
    def kept_files(self) -> Path:
        """What stays on the ESP below `kairos`, for the recovery system to install again."""
        return self.staging / "kept"

    @property
    def volumes(self) -> Path:
        """The heads of the encrypted volumes, by their label, until they are on the disk."""
        return self.own / "volumes"

    async def tool(
        self,
        argv: Sequence[str | Path],
        work: Work | None,
        *,
        seconds: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Result:
        """Run a program beside us; the end of what it says goes into the step's log, if given."""
        said = tuple(map(str, argv))
        call = partial(
            self.run,
            said,
            seconds=seconds,
            stdin=stdin,
            environment=environment,
            check=False,
        )
        result = await trio.to_thread.run_sync(call)
        for line in result.stderr.decode("utf-8", "replace").splitlines()[-LINES_LOGGED:]:
            if work is not None:
                work.log(f"{said[0]}: {line}")
        if check and result.status != 0:
            raise errors.CommandFailed(f"Status {result.status}.", element=said[0])
        return result

    def key_file(self, work: Work) -> Path:
        """A file in memory with the recovery key, for programs that open volumes with it.

        Raises errors.KeyNotInMemory.
        """
        return self.hold_key(work.plan.release, work.key)

    def hold_key(self, release: str, key: RecoveryKey) -> Path:
        """See `node.system.keyfile.hold`."""
        return hold(self.root, self.own, release, key)

    def partition(self, disk: str, label: str) -> Part:
        """The partition of that disk with this label. Raises errors.DiskIncomplete."""
        found = part(self.root, disk_name(self.root, disk), label)
        if found is None:
            raise errors.DiskIncomplete(f"It has no partition {label}.", element=disk)
        return found

    async def settle(self, work: Work) -> None:
        """Until udev has made the device nodes of what was just written."""
        settle = ("udevadm", "settle", f"--timeout={SETTLE_SECONDS}")
        await self.tool(settle, work, seconds=SETTLE_SECONDS + 5.0, check=False)
