"""What the service manager is told (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import trio

from pairing import process
from pairing.events import State

LEAVE_SECONDS = 30.0


def ready() -> None:
    """Say that this service is up: the code is on the screen. Nothing happens outside systemd."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        try:
            notify.sendto(b"READY=1", "\0" + path[1:] if path.startswith("@") else path)
        except OSError:
            return


def give_way() -> None:
    """Take no more of the processor than others from now on: the code is on the screen, and the
    network that comes next is theirs (setpriority(2); each thread has a value of its own)."""
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), max(0, os.nice(0)))


async def leave(state: State) -> None:
    """Restart the machine where it said that it would (`REBOOTING`), else switch it off.

    systemd ends services and unmounts volumes first (systemctl(1)). Raises errors.MissingError.
    """
    verb = "reboot" if state is State.REBOOTING else "poweroff"
    argv = ("systemctl", "--no-block", verb)
    await trio.to_thread.run_sync(lambda: process.run(argv, seconds=LEAVE_SECONDS))
