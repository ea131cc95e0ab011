"""A node waits at a relay, an operator calls it: over TLS on loopback."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from pairing import keys
from pairing.testing.relays import LocalRelay, echo, waiting_node
from pairing.transport import relay

LABEL = b"\x01" * 32


async def test_bytes_go_both_ways_over_tls(tmp_path: Path) -> None:
    node = keys.generate()
    async with LocalRelay.running(tmp_path) as local, waiting_node(local, node, LABEL, echo):
        stream = await relay.call(local.address, node.public, LABEL)
        body = os.urandom(200_000)
        assert await said_back(stream, body) == body
        await stream.aclose()


async def said_back(stream: trio.abc.Stream, body: bytes) -> bytes:
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, body)
        while len(received) < len(body):
            data = await stream.receive_some(65536)
            assert data
            received += data
    return bytes(received)
