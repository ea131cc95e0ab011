"""A local network of its own for virtual machines: a bridge, DHCP, taps; nothing leaves it.

The caller must already be in a private network namespace (`make e2e` sees to it): the
network then ends with the processes in it, has no names that could collide.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pairing import process

BRIDGE = "bridge0"
HOST = "10.77.0.1"
RANGE = "10.77.0.10,10.77.0.99,255.255.255.0,1h"
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Lan:
    """The network. `host` is this side's IPv4 address."""

    host: str

    def tap(self, number: int) -> str:
        """Plug in a new virtual cable and name this side's end of it."""
        name = f"tap{number}"
        _ip("tuntap", "add", name, "mode", "tap")
        _ip("link", "set", name, "master", BRIDGE, "up")
        return name


def is_private() -> bool:
    """Whether this process sees no network but its own loopback and what this module made."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    names = {line.split(":")[0].strip() for line in lines}
    return all(name in ("lo", BRIDGE) or name.startswith("tap") for name in names)


@contextlib.contextmanager
def lan(folder: Path) -> Iterator[Lan]:
    """Bring up the bridge and its DHCP server; leases and pid file go to `folder`.

    Raises errors.CommandMissing (ip, dnsmasq) and errors.CommandFailed.
    """
    if not is_private():
        raise RuntimeError("refusing to change this machine's own network: run `make e2e`")
    folder.mkdir(parents=True, exist_ok=True)
    _ip("link", "set", "lo", "up")
    _ip("link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0")
    _ip("link", "set", BRIDGE, "up")
    _ip("address", "add", f"{HOST}/24", "dev", BRIDGE)
    pidfile = folder / "dnsmasq.pid"
    process.run(_dnsmasq(folder, pidfile), seconds=SECONDS)
    try:
        yield Lan(HOST)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pidfile.read_text()), signal.SIGTERM)
        _ip("link", "delete", BRIDGE)


def _dnsmasq(folder: Path, pidfile: Path) -> list[str]:
    argv = ["dnsmasq", "--conf-file=/dev/null", "--user=root", "--group=root", "--port=0"]
    argv += [f"--interface={BRIDGE}", "--bind-interfaces", f"--dhcp-range={RANGE}"]
    argv += ["--dhcp-authoritative", "--no-ping", f"--pid-file={pidfile}"]
    argv += [f"--dhcp-leasefile={folder / 'leases'}"]
    return [*argv, f"--log-facility={folder / 'dnsmasq.log'}"]


def _ip(*arguments: str) -> None:
    process.run(["ip", *arguments], seconds=SECONDS)
