"""What a running agent may ask of its installed system: to open its volumes, to close its TPM, to
change their keys. All of it runs in threads, for its tools take seconds.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import trio

from node.system.door import Door
from pairing import process
from pairing.protocol.requests import UnlockKind

LOG = logging.getLogger("kairos.node")
ROOT = Path("/")


async def open_volumes(
    kind: UnlockKind, secret: bytes, root: Path = ROOT, run: Door = process.run
) -> None:
    """With what an operator sent; the start goes on from there, without a restart.

    Raises errors.LockedError saying why not, errors.BootIncomplete.
    """
    from node.boot import open_late  # not before it is needed
    from node.system.opening import Secret

    handed = Secret("key" if kind is UnlockKind.RECOVERY else "pin", secret)
    await trio.to_thread.run_sync(partial(open_late, handed, root, run, LOG.info))


def close_tpm(root: Path = ROOT, run: Door = process.run) -> None:
    """Until the next start it gives the volumes' key to nobody. Raises errors.TpmRefuses."""
    from node.system.tpmview import seal_off

    seal_off(root, run)
