"""A node's clock may say anything: pairing never asks it.

The node is a process of its own whose clock is off; the operator's is right. `make e2e` does the
same with a whole machine in 1970.
"""

from __future__ import annotations

import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from pairing import keys, peertoken
from pairing.events import State
from pairing.protocol import handshake
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import Identity, Patience, Release
from pairing.qr.read import PhotoReader
from pairing.qr.reading import token_from
from pairing.session import register
from pairing.testing.desks import RecordingDesk
from pairing.testing.network import loopback_transport
from pairing.transport.base import Target

ROOT = Path(__file__).parents[2]
NODE = """
import sys, time
off, real, real_ns = float(sys.argv.pop(1)), time.time, time.time_ns
time.time = lambda: real() + off
time.time_ns = lambda: real_ns() + int(off * 1e9)
from node.__main__ import entry
entry()
"""
CONFIG = b"""#cloud-config
hostname: shop-0815
users:
  - {name: admin, groups: [admin], passwd: "$6$abcdefgh$0123456789012345678901234567890123456789\
0123456789012345678901234567890123456789012345"}
"""
DAY = 86400.0


def offset(year: int) -> float:
    return datetime(year, 1, 1, tzinfo=UTC).timestamp() - time.time()


@pytest.mark.timeout(150)
@pytest.mark.slow
@pytest.mark.parametrize(
    "off",
    [offset(1970), offset(2000), -DAY, DAY, offset(2107)],
    ids=["1970", "2000", "yesterday", "tomorrow", "2106"],
)
async def test_a_node_with_a_wrong_clock_is_paired(off: float, tmp_path: Path) -> None:
    picture = tmp_path / "screen.png"
    command = [
        sys.executable, "-c", NODE, str(off), "run", "--listen", "127.0.0.1", "--port", "0",
        "--machine", str(ROOT / "examples/machines/virtio-vm.json"), "--picture", str(picture),
        "--state", str(tmp_path), "--abort-seconds", "0", "--once",
    ]  # fmt: skip
    desk = RecordingDesk(lambda view: Release(config=CONFIG, time=int(time.time())))
    async with trio.open_nursery() as nursery:
        process = await nursery.start(_start, command)
        token = await _token(picture)
        machine = OperatorMachine(
            token, Identity(keys.generate()), State.WRITTEN, secrets.token_bytes, Patience()
        )
        target = Target(token.key, handshake.label(token.secret, token.key), token.addresses)
        async with loopback_transport().dialer() as dialer:
            done = await register(machine, dialer, target, desk, find=30)
        assert done.state is State.WRITTEN
        with trio.fail_after(20):
            assert await process.wait() == 0


async def _start(command: list[str], task_status: trio.TaskStatus[trio.Process]) -> None:
    process = await trio.lowlevel.open_process(command, cwd=ROOT)
    task_status.started(process)
    try:
        await process.wait()
    finally:
        process.kill()


async def _token(picture: Path) -> peertoken.Token:
    """The token in the picture, once the node's address is in it."""
    with trio.fail_after(40), PhotoReader() as reader:
        while True:
            if await trio.Path(picture).exists():
                reading = await trio.to_thread.run_sync(reader.read, picture)
                token = peertoken.parse(token_from(reading).text, loopback=True)
                if token.addresses:
                    return token
            await trio.sleep(0.3)
