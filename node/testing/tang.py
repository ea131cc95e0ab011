"""A Tang server in a shop's network: the real one, of Debian's packages tang and systemd.

with tang(network, folder):         # its keys lie there, and are made at the first time
    ...                             # at URL
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pairing import process
from pairing.testing.lan import HOST, Lan

PORT = 7500
URL = f"http://{HOST}:{PORT}"
PROGRAMS = "/usr/libexec"
SECONDS = 30.0


@contextlib.contextmanager
def tang(network: Lan, folder: Path) -> Iterator[None]:
    """It answers at the operator's place until the context ends.

    Raises errors.CommandMissing, errors.CommandFailed.
    """
    keys = folder / "keys"
    if not keys.exists():
        keys.mkdir(parents=True)
        process.run([f"{PROGRAMS}/tangd-keygen", str(keys)], seconds=SECONDS)
    argv = ["systemd-socket-activate", f"--listen={HOST}:{PORT}", "--accept", "--inetd"]
    argv = [*network.entry, *argv, f"{PROGRAMS}/tangd", str(keys)]
    server = process.start_service(argv, log=folder / "tang.log")
    try:
        yield
    finally:
        server.stop()
