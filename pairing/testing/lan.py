"""A local network for virtual machines: a switch, DHCP and the operator's place, nothing else.

It lies in a network namespace of its own, so nothing leaves it. Linux, root, `ip`, `dnsmasq`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pairing import process
from pairing.testing.netns import Namespace, lab

PREFIX = "10.77.0."
HOST = f"{PREFIX}1"
RANGE = f"{PREFIX}10,{PREFIX}99,255.255.255.0,1h"
SWITCH = "switch"
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Lan:
    """The network, and the operator's place in it (`HOST`)."""

    place: Namespace
    folder: Path
    """Its DHCP server's files."""

    def address(self, mac: str) -> str:
        """The address that a machine has leased. Raises KeyError."""
        leases = [line.split() for line in (self.folder / "leases").read_text().splitlines()]
        return {lease[1]: lease[2] for lease in leases if len(lease) > 2}[mac]

    @property
    def entry(self) -> tuple[str, ...]:
        """The words before a command that is to run there."""
        return ("ip", "netns", "exec", self.place.name)

    def tap(self, number: int) -> str:
        """Plug in a virtual machine's cable; the name of its end here."""
        name = f"tap{number}"
        self.place.ip("tuntap", "add", name, "mode", "tap")
        self.place.ip("link", "set", name, "master", SWITCH, "up")
        return name


@contextlib.contextmanager
def lan(folder: Path) -> Iterator[Lan]:
    """Bring up the network; its DHCP server's files go to `folder`.

    Raises errors.CommandMissing (ip, dnsmasq) and errors.CommandFailed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "leases").touch()
    with lab() as world:
        built = Lan(world.namespace("lan"), folder)
        built.place.ip("link", "add", SWITCH, "type", "bridge", "mcast_snooping", "0")
        built.place.ip("address", "add", f"{HOST}/24", "dev", SWITCH)
        built.place.ip("link", "set", SWITCH, "up")
        with _dhcp(built, folder):
            yield built


@contextlib.contextmanager
def _dhcp(network: Lan, folder: Path) -> Iterator[None]:
    pidfile = folder / "dnsmasq.pid"
    argv = ["dnsmasq", "--conf-file=/dev/null", "--user=root", "--group=root", "--port=0"]
    argv += [f"--interface={SWITCH}", "--bind-interfaces", f"--dhcp-range={RANGE}"]
    argv += ["--dhcp-authoritative", "--no-ping", f"--pid-file={pidfile}"]
    # Its own log: it would keep our pipe open.
    argv += [f"--dhcp-leasefile={folder / 'leases'}", f"--log-facility={folder / 'dnsmasq.log'}"]
    process.run([*network.entry, *argv], seconds=SECONDS)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pidfile.read_text()), signal.SIGTERM)
