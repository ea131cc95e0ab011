"""Which ports of a host are open, seen from the network and from its own kernel.

`python -m pairing.testing.scan HOST FIRST LAST` prints TCP ports that take a connection.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import trio

from pairing.testing.netns import Namespace

PROGRAM_SECONDS = 400.0
AT_ONCE = 200
SECONDS = 380.0


async def open_ports(host: str, ports: Iterable[int]) -> list[int]:
    """The ports that accept a connection, sorted. Raises trio.TooSlowError after `SECONDS`."""
    found: list[int] = []
    limit = trio.CapacityLimiter(AT_ONCE)

    async def knock(port: int) -> None:
        async with limit:
            with trio.socket.socket() as knocking:
                try:
                    await knocking.connect((host, port))
                except ConnectionRefusedError:
                    return
                found.append(port)

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for port in ports:
                nursery.start_soon(knock, port)
    return sorted(found)


def open_from(place: Namespace, host: str, first: int, last: int) -> set[int]:
    """The same, knocked at from another place. Raises errors.CommandFailed, CommandTimeout."""
    words = [sys.executable, "-m", "pairing.testing.scan", host, str(first), str(last)]
    return set(map(int, place.run(*words, seconds=PROGRAM_SECONDS).text().split()))


def listening(table: str, protocol: str) -> set[int]:
    """The ports in a kernel's `table` (proc(5): /proc/net/tcp, udp6 etc.) that the network reaches.

    `protocol`: "tcp" or "udp". Sockets of loopback, or connected to somebody, are left out.
    """
    state = {"tcp": "0A", "udp": "07"}[protocol]
    rows = [line.split() for line in table.splitlines()]
    local = [row[1].rsplit(":", 1) for row in rows if len(row) > 9 and row[3] == state]
    return {int(port, 16) for address, port in local if not _is_loopback(address)}


def _is_loopback(address: str) -> bool:
    """Of 127.0.0.0/8 or ::1, as a little-endian machine writes its words."""
    return address == 24 * "0" + "01000000" or (len(address) == 8 and address.endswith("7F"))


def main() -> None:
    """Print the open ports from FIRST to LAST, one a line."""
    host, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for port in trio.run(open_ports, host, range(first, last + 1)):
        print(port)


if __name__ == "__main__":
    main()
