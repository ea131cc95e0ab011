"""What this machine is: probed on Linux, or read from a recorded machine.

Root is not needed: what cannot be read stays empty. Odd hardware never raises.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.system import board, medium
from node.system.disks import disks
from node.system.nics import nics
from node.system.reading import Run
from node.system.tpm import tpm
from pairing import errors, process
from pairing.facts import Facts, from_json

FILE_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Probe:
    """Where to look: the root of the file tree, the door to programs and the clock."""

    root: Path = Path("/")
    run: Run = process.run
    clock: Callable[[], float] = time.time

    def facts(self) -> Facts:
        """Look at the machine. Blocks for as long as its tools take (some seconds with a TPM)."""
        arch, who = board.arch(self.run), board.identity(self.root)
        name, cores = board.cpu(self.root)
        mode = board.mode(self.root)
        return Facts(
            serial=who.serial,
            vendor=who.vendor,
            product=who.product,
            uuid=who.uuid,
            arch=arch,
            cpu=name,
            cores=cores,
            memory=board.memory(self.root),
            firmware=board.firmware(self.root, arch),
            secure_boot=board.secure_boot(self.root),
            tpm=tpm(self.root, self.run),
            disks=disks(self.root, self.run),
            nics=nics(self.root, self.run),
            medium=board.medium(self.root),
            image=None if mode == "installed" else medium.image(self.root, self.run),
            mode=mode,
            clock=max(0, int(self.clock())),
        )


def recorded(path: Path) -> Facts:
    """Read a recorded machine (`--machine FILE.json`, `examples/machines`).

    Raises errors.MachineFileInvalid.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
        if len(data) > FILE_LIMIT:
            raise ValueError(f"it is larger than {FILE_LIMIT} bytes")
        return from_json(json.loads(data))
    except OSError as wrong:
        raise errors.MachineFileInvalid(f"{wrong.strerror}.", element=str(path)) from None
    except (ValueError, RecursionError) as wrong:
        raise errors.MachineFileInvalid(f"({wrong})", element=str(path)) from None
