"""Networks of our own for tests: network namespaces, cables and switches. Linux, root, `ip`.

    with lab() as world:
        shop, office = world.namespace("shop"), world.namespace("office")
        world.cable(shop, "10.77.1.2/24", office, "10.77.1.1/24")
        with office.program("cli.fleet", "relay", ...) as relay: ...

Namespaces see only the cables that were laid: no other network, no route, no Internet. Run as
a module it enters a namespace and runs another module there (`setns(2)`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import runpy
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pairing import errors, process
from pairing.process import Partner, Program

_SECONDS = 20.0
_CLONE_NEWNET = 0x40000000
_FOLDER = Path("/run/netns")


def possible() -> bool:
    """Whether this machine lets us: root, the `ip` program, and a kernel with namespaces."""
    if os.geteuid() != 0 or shutil.which("ip", path=process.PATH) is None:
        return False
    name = f"kairos-{secrets.token_hex(4)}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except errors.MissingError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Namespace:
    """A machine's view of the network. `name` is unique on this machine."""

    name: str

    def run(
        self, *argv: str, seconds: float = _SECONDS, check: bool = True, stdin: bytes = b""
    ) -> process.Result:
        """Run a program inside. Raises what process.run raises."""
        whole = ["ip", "netns", "exec", self.name, *argv]
        return process.run(whole, seconds=seconds, check=check, stdin=stdin)

    def partner(self, *argv: str) -> Partner:
        """A program inside that runs beside us; the caller ends it."""
        return process.start_partner(["ip", "netns", "exec", self.name, *argv])

    def ip(self, *words: str) -> str:
        """`ip` inside: its output."""
        return _ip("-n", self.name, *words)

    @contextlib.contextmanager
    def program(
        self, module: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> Iterator[Program]:
        """Run a module of ours inside, until the context ends (SIGKILL)."""
        started = process.start_program(
            "pairing.testing.netns", [self.name, module, *arguments], environment=environment
        )
        try:
            yield started
        finally:
            started.stop()


@dataclass(slots=True)
class Lab:
    """The namespaces of one test and the cables between them."""

    _prefix: str = field(default_factory=lambda: f"kairos-{secrets.token_hex(4)}")
    _names: list[str] = field(default_factory=list)
    _ports: int = 0

    def namespace(self, name: str) -> Namespace:
        """A new one, with loopback up."""
        full = f"{self._prefix}-{name}"
        _ip("netns", "add", full)
        self._names.append(full)
        inside = Namespace(full)
        inside.ip("link", "set", "lo", "up")
        return inside

    def cable(self, one: Namespace, one_ip: str, other: Namespace, other_ip: str) -> None:
        """Connect two; an address such as `10.77.1.2/24` each."""
        first, second = self._port(), self._port()
        self._lay(one, first, other, second)
        for side, port, address in ((one, first, one_ip), (other, second, other_ip)):
            side.ip("address", "add", address, "dev", port)
            side.ip("link", "set", port, "up")

    def switch(self, members: Mapping[str, Namespace]) -> Namespace:
        """Connect several on one Ethernet; by address, such as `10.77.1.2/24`."""
        middle = self.namespace(f"switch{self._ports}")
        middle.ip("link", "add", "switch", "type", "bridge", "mcast_snooping", "0")
        middle.ip("link", "set", "switch", "up")
        for address, member in members.items():
            near, far = self._port(), self._port()
            self._lay(member, near, middle, far)
            middle.ip("link", "set", far, "master", "switch", "up")
            member.ip("address", "add", address, "dev", near)
            member.ip("link", "set", near, "up")
        return middle

    def remove(self) -> None:
        """Everything; what could not be removed is left to the kernel's next reboot."""
        for name in reversed(self._names):
            with contextlib.suppress(errors.MissingError):
                _ip("netns", "delete", name)
        self._names.clear()

    def _port(self) -> str:
        self._ports += 1
        return f"port{self._ports}"

    @staticmethod
    def _lay(one: Namespace, first: str, other: Namespace, second: str) -> None:
        peer = ("peer", "name", second, "netns", other.name)
        one.ip("link", "add", first, "type", "veth", *peer)


@contextlib.contextmanager
def lab() -> Iterator[Lab]:
    """A lab that leaves nothing behind."""
    built = Lab()
    try:
        yield built
    finally:
        built.remove()


def enter(name: str) -> None:
    """Move this process (its one thread, and threads to come) into a namespace.

    Raises OSError. setns(2); Python has it from 3.12 on only.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    file = os.open(_FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(file, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(file)


def _ip(*words: str) -> str:
    return process.run(["ip", *words], seconds=_SECONDS).text()


if __name__ == "__main__":
    enter(sys.argv[1])
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
