"""`python -m pairing.handover SOCKET`: connects to a local socket and hands the connection to ssh.

ssh starts it as its ProxyCommand with ProxyUseFdpass=yes (ssh_config(5)): standard output is then a
socket, over which the connected one is passed. So ssh talks over a socket in a private folder, and
no port is opened on this machine that somebody else could reach first.
"""

from __future__ import annotations

import socket
import sys

SECONDS = 10.0
STANDARD_OUTPUT = 1


def hand_over(path: str, out: int) -> None:
    """Connect to `path` and pass that connection over the socket `out`. Raises OSError."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as found,
        socket.socket(fileno=out) as ssh,
    ):
        found.settimeout(SECONDS)
        found.connect(path)
        found.setblocking(True)
        socket.send_fds(ssh, [b"\0"], [found.fileno()])


if __name__ == "__main__":
    hand_over(sys.argv[1], STANDARD_OUTPUT)
