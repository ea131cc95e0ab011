"""A malicious relay (security.md T5): Noise runs through it end to end, and it reads nothing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio

from pairing import errors, keys
from pairing.testing import proxy as proxies
from pairing.testing.proxy import Meddler
from pairing.testing.relays import LocalRelay, echo, said_back, waiting_node
from pairing.transport import relay, relay_protocol
from pairing.transport.base import Channel, Dialer, Presence, Target
from pairing.transport.p2p import Mdns, Meeting, P2PTransport

LABEL = b"\x01" * 32
NODE = keys.SigningKey(b"\x07" * 32)
CANARY = b"canary-" * 40
P2P = P2PTransport(hosts=("127.0.0.1",), meeting=Meeting(mdns=Mdns(loopback=True), proxy=""))


async def answer(channel: Channel) -> None:
    with contextlib.suppress(errors.KnownError):
        while data := await channel.receive():
            await channel.send(data)


@contextlib.asynccontextmanager
async def node_behind_relay(key: keys.SigningKey = NODE) -> AsyncIterator[Meddler]:
    """A node behind a relay; the operator's way to the relay leads past the meddler."""
    async with (
        LocalRelay.running(None) as local,
        Meddler.running("127.0.0.1", local.port) as meddler,
        P2P.listener(key.seed, 0) as listener,
        trio.open_nursery() as nursery,
    ):

        async def serve() -> None:
            async for channel in listener.channels():
                nursery.start_soon(answer, channel)

        nursery.start_soon(serve)
        listener.announce(Presence((LABEL,), (str(local.address),), mdns=False))
        yield meddler
        nursery.cancel_scope.cancel()


async def dial(dialer: Dialer, meddler: Meddler, seconds: float = 30) -> Channel:
    place = f"tcp://127.0.0.1:{meddler.port}"
    with trio.fail_after(seconds):
        return await dialer.dial(Target(NODE.public, LABEL, (), (place,), mdns=False))


async def exchange(channel: Channel, body: bytes, seconds: float = 20) -> bytes:
    """What the node says back, until the channel ends or nothing comes any more."""
    received = b""
    with trio.move_on_after(seconds), contextlib.suppress(errors.ConnectionLost):
        await channel.send(body)
        while len(received) < len(body) and (data := await channel.receive()):
            received += data
    return received


async def test_a_relay_carries_a_channel_and_reads_nothing_of_it() -> None:
    async with node_behind_relay() as meddler, P2P.dialer() as dialer:
        channel = await dial(dialer, meddler)
        assert channel.remote_key == NODE.public
        assert await exchange(channel, CANARY * 100) == CANARY * 100
        assert channel.source.startswith("relay:")
        await channel.aclose()
        assert len(meddler.seen) > 2 * len(CANARY) * 100
        assert b"canary" not in meddler.seen


async def test_a_delaying_relay_only_delays() -> None:
    async with node_behind_relay() as meddler, P2P.dialer() as dialer:
        meddler.delay = 0.01
        channel = await dial(dialer, meddler)
        assert await exchange(channel, CANARY) == CANARY
        await channel.aclose()


MEDDLING = [proxies.flip, proxies.truncate, proxies.replay, proxies.swallow]


@pytest.mark.parametrize(
    ("direction", "change"),
    [(way, change) for way in ("to_server", "to_client") for change in MEDDLING[:3]]
    + [("to_client", proxies.swallow)],
)
async def test_meddling_ends_the_channel_and_never_gives_wrong_bytes(
    direction: str, change: proxies.Change
) -> None:
    async with node_behind_relay() as meddler, P2P.dialer() as dialer:
        channel = await dial(dialer, meddler)
        assert await exchange(channel, CANARY) == CANARY
        setattr(meddler, direction, change)
        received = await exchange(channel, CANARY, seconds=0.5)
        assert received == b""
        await channel.aclose()


@pytest.mark.parametrize(
    ("direction", "change"),
    [
        ("to_server", proxies.flip),
        ("to_client", proxies.flip),
        ("to_client", proxies.swallow),
    ],
)
async def test_meddling_with_the_handshake_is_a_named_error(
    direction: str, change: proxies.Change
) -> None:
    async with node_behind_relay() as meddler, P2P.dialer() as dialer:
        channel = await dial(dialer, meddler)  # the node waits there: what follows is no absence
        await channel.aclose()
        setattr(meddler, direction, proxies.after(1, change))
        with pytest.raises((errors.UnreachableError, errors.WrongKey)):
            await dial(dialer, meddler, seconds=1.5)


@pytest.mark.parametrize("change", MEDDLING)
async def test_without_noise_the_same_meddling_changes_what_arrives(change: proxies.Change) -> None:
    """The positive control: the pipe alone protects nothing."""
    async with (
        LocalRelay.running(None) as local,
        Meddler.running("127.0.0.1", local.port) as meddler,
        waiting_node(local, NODE, LABEL, echo),
    ):
        place = relay.RelayAddress("127.0.0.1", meddler.port, plain=True)
        async with await relay.call(place, NODE.public, LABEL) as stream:
            assert await said_back(stream, CANARY) == CANARY
            assert b"canary" in meddler.seen
            meddler.to_server = change
            got = b""
            with trio.move_on_after(0.3):
                await stream.send_all(CANARY)
                while True:
                    got += await stream.receive_some()
            assert got != CANARY


async def test_a_relay_that_connects_us_to_another_node_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_protocol, "address", lambda key, label: b"\x05" * 32)
    async with node_behind_relay(keys.SigningKey(b"\x08" * 32)) as meddler, P2P.dialer() as dialer:
        with pytest.raises(errors.WrongKey):
            await dial(dialer, meddler, seconds=4)
