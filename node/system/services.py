"""What the service manager is told (sd_notify(3))."""

from __future__ import annotations

import os
import socket


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
