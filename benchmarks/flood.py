"""T12: how long an operator waits for a node that 600 idle sockets hang on.

The node is a real `kairos-node run` with 256 file descriptors, less than half of what the attack
takes. Served means: found, claimed, hardware facts received. Once without the attack, to compare.
tests/security has the same attack with its positive control.
"""

from __future__ import annotations

import contextlib
import resource
import secrets
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from benchmarks.photo_to_config import MACHINE
from benchmarks.processes import allow_many_files, node
from pairing import errors, keys, peertoken
from pairing.events import State
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.effects import NodeView
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import Identity, Patience
from pairing.qr.read import PhotoReader, token_from
from pairing.session import Decision, Refuse, register
from pairing.testing.desks import RecordingDesk
from pairing.testing.measured import Figure
from pairing.testing.network import loopback_transport
from pairing.testing.watching import screen_with_address
from pairing.transport.base import Address, Target
from pairing.transport.p2p import warm_up

IDLE_SOCKETS = 600
FILES = 256
RUNS = 5
GOAL = 5.0


def measure(quick: bool) -> list[Figure]:
    """Seconds until served, without and with the attack."""
    warm_up()
    allow_many_files()
    runs = 1 if quick else RUNS
    calm = [_served_after(0) for _ in range(runs)]
    under_attack = [_served_after(IDLE_SOCKETS) for _ in range(runs)]
    return [
        Figure(name="operator served, nobody else there", unit="s", samples=calm),
        Figure(
            name=f"operator served among {IDLE_SOCKETS} idle sockets",
            unit="s",
            samples=under_attack,
            goal=GOAL,
        ),
    ]


def _served_after(sockets: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        home, picture = Path(name), Path(name, "screen.png")
        with node(home, MACHINE, picture) as program, PhotoReader() as reader:
            _limit_files(program)
            text = token_from(reader.read(screen_with_address(picture))).text
            return trio.run(_attacked, peertoken.parse(text, loopback=True), sockets)


def _limit_files(program: subprocess.Popen[bytes]) -> None:
    resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (FILES, FILES))


async def _attacked(token: Token, sockets: int) -> float:
    async with idle_sockets(token.addresses[0], sockets):
        began = trio.current_time()
        await _claim(token)
        return trio.current_time() - began


@contextlib.asynccontextmanager
async def idle_sockets(address: Address, count: int) -> AsyncIterator[None]:
    """Connections that never say a word."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect() -> None:
            with trio.move_on_after(2):  # one whom the node no longer accepts still waits there
                stream = await trio.open_tcp_stream(address.host, address.port)
                await stack.enter_async_context(stream)

        async with trio.open_nursery() as callers:
            for _ in range(count):
                callers.start_soon(connect)
        yield


async def _claim(token: Token) -> None:
    """Until the hardware facts are here."""

    def decide(view: NodeView) -> Decision:
        return Refuse(errors.NotApprovedError("only measured"))

    machine = OperatorMachine(
        token, Identity(keys.generate()), State.WRITTEN, secrets.token_bytes, Patience()
    )
    label = handshake.label(token.secret, token.key)
    target = Target(token.key, label, token.addresses, mdns=False)
    async with loopback_transport().dialer() as dialer:
        with contextlib.suppress(errors.NotApprovedError):
            await register(machine, dialer, target, RecordingDesk(decide), find=120)
