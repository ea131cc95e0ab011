"""A TPM 2.0 in software for virtual machines: swtpm(8). Its state stays in a folder.

It ends with the machine that it served: one start for each start of a machine. The same folder is
the same chip; an empty folder is another one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pairing import process

SECONDS = 20.0


@contextlib.contextmanager
def chip(state: Path) -> Iterator[Path]:
    """Run the chip whose state is in `state`; gives the socket that QEMU wants.

    Raises errors.CommandMissing and errors.CommandFailed.
    """
    state.mkdir(parents=True, exist_ok=True)
    # Not in `state`, and short: a socket's path has at most 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="tpm-") as scratch:
        socket, pidfile = Path(scratch, "socket"), Path(scratch, "pid")
        argv = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state},mode=0600"]
        argv += ["--ctrl", f"type=unixio,path={socket}", "--terminate"]
        argv += ["--daemon", "--pid", f"file={pidfile}", "--log", f"file={state / 'log'},level=1"]
        process.run(argv, seconds=SECONDS)
        pid = int(pidfile.read_text())
        try:
            yield socket
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
