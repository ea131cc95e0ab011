"""The devices of a machine that has just been switched on: they appear one by one."""

from __future__ import annotations

from node.system.reading import Run
from pairing import errors

SECONDS = 60.0
"""For all of them to be known. Whatever comes later is not waited for."""
WAITING = (
    # It may not have begun yet: the code is on the screen before all else.
    ("systemctl", "start", "systemd-udev-trigger.service"),
    ("udevadm", "settle", f"--timeout={SECONDS:g}"),
)


def wait_for_all(run: Run) -> None:
    """Until udev has seen every device that was there at power-on. Blocks; never raises."""
    for argv in WAITING:
        try:
            run(argv, seconds=SECONDS + 5.0, check=False)
        except errors.MissingError:
            continue
