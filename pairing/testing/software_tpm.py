"""A TPM 2.0 in software for virtual machines: swtpm(8). Its state stays in a folder.

It ends with the machine that it served: one start for each start of a machine. The same folder is
the same chip; an empty folder is another one.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pairing import process
from pairing.testing.swtpm import two_free_ports

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


def clear(state: Path) -> None:
    """As the firmware's menu does it: what was sealed to this chip opens no more.

    Raises errors.CommandMissing and errors.CommandFailed.
    """
    port = two_free_ports()
    with tempfile.TemporaryDirectory(prefix="tpm-") as scratch:
        pidfile = Path(scratch, "pid")
        argv = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state},mode=0600"]
        argv += ["--server", f"port={port},bindaddr=127.0.0.1"]
        argv += ["--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"]
        argv += ["--flags", "not-need-init,startup-clear"]
        process.run([*argv, "--daemon", "--pid", f"file={pidfile}"], seconds=SECONDS)
        chosen = {"TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={port}"}
        try:
            for command in (["tpm2_clear", "-c", "p"], ["tpm2_shutdown", "-c"]):
                process.run(command, seconds=SECONDS, environment=chosen)
        finally:
            _end(int(pidfile.read_text()))


def _end(pid: int) -> None:
    """And wait: its successor wants the same state."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            os.kill(pid, signal.SIGTERM)
            select.select([handle], [], [], SECONDS)  # readable once it has ended
        finally:
            os.close(handle)
