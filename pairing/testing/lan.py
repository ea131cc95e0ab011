"""A local network for virtual machines: a switch, DHCP and the operator's place, nothing else.

It lies in a network namespace of its own, so nothing leaves it. Linux, root, `ip`, `dnsmasq`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pairing import process
from pairing.testing.netns import Namespace, lab

PREFIX = "10.77.0."
HOST = f"{PREFIX}1"
FIRST = (10, 99)
"""The addresses that machines are given, from and to, by their last number."""
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
        files = [self._brought_along, self._leases]
        lines = [line.split() for file in files for line in file.read_text().splitlines()]
        return {line[1]: line[2] for line in lines if len(line) > 2}[mac]

    def lease(self, mac: str, address: str) -> None:
        """Note a lease that a machine brings along from before; DHCP's server does not know."""
        with self._brought_along.open("a") as leases:
            leases.write(f"- {mac} {address}\n")

    def give_addresses(self, first: int, last: int) -> None:
        """From now on who asks gets an address between these, whatever it had before.

        Raises errors.CommandMissing (dnsmasq) and errors.CommandFailed.
        """
        self.give_none()
        argv = ["dnsmasq", "--conf-file=/dev/null", "--user=root", "--group=root", "--port=0"]
        argv += [f"--interface={SWITCH}", "--bind-interfaces", "--dhcp-authoritative", "--no-ping"]
        argv += [f"--dhcp-range={PREFIX}{first},{PREFIX}{last},255.255.255.0,1h"]
        argv += [f"--pid-file={self._pidfile}", f"--dhcp-leasefile={self._leases}"]
        # Its own log: it would keep our pipe open.
        argv += [f"--log-facility={self.folder / 'dnsmasq.log'}"]
        process.run([*self.entry, *argv], seconds=SECONDS)

    def give_none(self) -> None:
        """Nobody answers who asks for an address, and nobody knows who had one."""
        if self._pidfile.exists():
            with contextlib.suppress(ProcessLookupError):
                _end(int(self._pidfile.read_text()))
            self._pidfile.unlink(missing_ok=True)
        for file in (self._leases, self._brought_along):
            file.write_bytes(b"")

    @property
    def _pidfile(self) -> Path:
        return self.folder / "dnsmasq.pid"

    @property
    def _leases(self) -> Path:
        return self.folder / "leases"

    @property
    def _brought_along(self) -> Path:
        return self.folder / "brought-along"

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
    with lab() as world:
        built = Lan(world.namespace("lan"), folder)
        built.place.ip("link", "add", SWITCH, "type", "bridge", "mcast_snooping", "0")
        built.place.ip("address", "add", f"{HOST}/24", "dev", SWITCH)
        built.place.ip("link", "set", SWITCH, "up")
        built.give_addresses(*FIRST)
        try:
            yield built
        finally:
            built.give_none()


def _end(server: int) -> None:
    """End a process that is not our child, and wait for it. Raises ProcessLookupError."""
    handle = os.pidfd_open(server)
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        ended, _, _ = select.select([handle], [], [], SECONDS)
        assert ended, "the DHCP server does not end"
    finally:
        os.close(handle)
