"""The relay: 2,000 nodes wait at it, a process of its own; calls through it against direct ones."""

from __future__ import annotations

import contextlib
import functools
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from benchmarks.processes import allow_many_files
from pairing import errors, keys, process
from pairing.testing.measured import Figure, Used, used
from pairing.testing.network import LABEL, loopback_transport, target_of
from pairing.testing.relays import Watch, echo, said_back
from pairing.transport import relay
from pairing.transport.base import Channel, Dialer, Presence, Target
from pairing.transport.p2p import Mdns, Meeting, warm_up
from pairing.transport.relay import RelayAddress

NODES = 2000
CALLS = 100
CHANNELS = 20
AT_A_TIME = 50
"""As many as the relay greets of one network at once."""
BODY = b"x" * 7000


def measure(quick: bool) -> list[Figure]:
    """Waiting nodes, then the price of going through the relay."""
    allow_many_files()
    warm_up()
    nodes, calls, channels = (40, 4, 2) if quick else (NODES, CALLS, CHANNELS)
    with tempfile.TemporaryDirectory() as name:
        with running(Path(name)) as (program, address):
            crowd = trio.run(_crowd, program, address, nodes, calls)
        with running(Path(name)) as (_, address):
            return [*crowd, *trio.run(_both_ways, address, channels)]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[process.Program, RelayAddress]]:
    """`kairos-fleet relay` with TLS, for clients that all come from this one machine."""
    limits = ("--waiting-per-ip", "5000", "--connections-per-minute", "100000")
    place = ("--listen", "127.0.0.1:0", "--self-signed", str(folder))
    program = process.start_program("cli.fleet", ("relay", *place, *limits))
    try:
        lines = program.lines()
        port = next(lines).removeprefix("listening on ")
        yield program, RelayAddress.parse(port + next(lines).removeprefix("pin: "))
    finally:
        program.stop()


async def _crowd(
    program: process.Program, address: RelayAddress, count: int, calls: int
) -> list[Figure]:
    empty, nodes = used(program.pid), [keys.generate() for _ in range(count)]
    async with trio.open_nursery() as nursery:
        began = time.perf_counter()
        await _all_wait(nodes, address, nursery)
        seconds = time.perf_counter() - began
        full = used(program.pid)
        samples = [await _one_call(address, node) for node in nodes[:: count // calls]]
        nursery.cancel_scope.cancel()
    return _crowd_figures(count, seconds, empty, full, samples)


def _crowd_figures(
    count: int, seconds: float, empty: Used, full: Used, samples: Sequence[float]
) -> list[Figure]:
    rows = (
        (f"until {count} nodes wait", "s", [seconds]),
        (f"relay's CPU until {count} nodes wait", "s", [full.cpu - empty.cpu]),
        ("relay's memory, empty", "MiB", [empty.resident]),
        (f"relay's memory with {count} waiting", "MiB", [full.resident]),
        ("relay's memory for one waiting node", "KiB",
         [(full.resident - empty.resident) * 1024 / count]),
        (f"a call among them, {len(BODY)} bytes echoed", "s", samples),
    )  # fmt: skip
    return [Figure(name=name, unit=unit, samples=values) for name, unit, values in rows]


async def _all_wait(
    nodes: Sequence[keys.SigningKey], address: RelayAddress, nursery: trio.Nursery
) -> None:
    for start in range(0, len(nodes), AT_A_TIME):
        watches = []
        for node in nodes[start : start + AT_A_TIME]:
            watches.append(Watch())
            wait = functools.partial(relay.wait, report=watches[-1].heard)
            nursery.start_soon(wait, address, node.seed, LABEL, echo)
        for watch in watches:
            await watch.until(True, 120)


async def _one_call(address: RelayAddress, node: keys.SigningKey) -> float:
    began = time.perf_counter()
    async with await relay.call(address, node.public, LABEL) as stream:
        if await said_back(stream, BODY) != BODY:
            raise RuntimeError("the echo came back changed")
    return time.perf_counter() - began


async def _both_ways(address: RelayAddress, count: int) -> list[Figure]:
    """Secure channels (TCP, Noise, yamux) to the same listener, set up directly and through."""
    seed = secrets.token_bytes(32)
    transport = loopback_transport(meeting=Meeting(mdns=Mdns(loopback=True), proxy=""))
    async with (
        transport.listener(seed, 0) as listener,
        transport.dialer() as dialer,
        trio.open_nursery() as nursery,
    ):

        async def serve() -> None:
            async for channel in listener.channels():
                nursery.start_soon(_answer, channel)

        nursery.start_soon(serve)
        listener.announce(Presence((LABEL,), (str(address),), mdns=False))
        direct = target_of(seed, listener)
        through = Target(direct.key, LABEL, (), (str(address),), mdns=False)
        for target in (direct, through):
            await _set_up(dialer, target)  # the node waits there now, everything is loaded
        pairs = [(await _set_up(dialer, direct), await _set_up(dialer, through))
                 for _ in range(count)]  # fmt: skip
        nursery.cancel_scope.cancel()
    return [
        Figure(name="channel set up directly", unit="s", samples=[one for one, _ in pairs]),
        Figure(name="channel set up through the relay", unit="s",
               samples=[two for _, two in pairs]),
        Figure(name="through the relay : directly", unit="times",
               samples=[two / one for one, two in pairs]),
    ]  # fmt: skip


async def _answer(channel: Channel) -> None:
    channel.vouch()
    with contextlib.suppress(errors.KnownError):
        while data := await channel.receive():
            await channel.send(data)


async def _set_up(dialer: Dialer, target: Target) -> float:
    """Seconds until a first byte has gone there and back."""
    with trio.fail_after(60):
        while True:
            began = time.perf_counter()
            try:
                channel = await dialer.dial(target)
            except errors.UnreachableError:  # the node is still on its way to the relay
                await trio.sleep(0.2)
                continue
            await channel.send(b"?")
            await channel.receive()
            seconds = time.perf_counter() - began
            await channel.aclose()
            return seconds
