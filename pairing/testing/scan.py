"""Which TCP ports of a host are open: `python -m pairing.testing.scan HOST FIRST LAST`."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import trio

AT_ONCE = 200
SECONDS = 240.0


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


def main() -> None:
    """Print the open ports from FIRST to LAST, one a line."""
    host, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for port in trio.run(open_ports, host, range(first, last + 1)):
        print(port)


if __name__ == "__main__":
    main()
