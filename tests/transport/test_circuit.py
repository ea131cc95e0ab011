"""Circuit relay v2 as a client, with libp2p's own relay server in this process."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.relay.circuit_v2.protocol import CircuitV2Protocol
from libp2p.relay.circuit_v2.resources import RelayLimits
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from pairing import errors
from pairing.keys import SigningKey
from pairing.testing.network import LABEL, loopback_transport
from pairing.transport.base import Channel, Listener, Presence, Target
from pairing.transport.p2p import circuit, identity
from pairing.transport.p2p.circuit_address import CircuitAddress


@contextlib.asynccontextmanager
async def relay_server(
    seed: bytes, port: int = 0, data: int = 1 << 24, reservations: int = 100, front: str = ""
) -> AsyncIterator[str]:
    """A relay's multiaddr. Never shipped: see `docs/relay.md` for servers to run."""
    host = new_host(
        key_pair=create_new_key_pair(seed),
        sec_opt=identity.from_seed(seed).security(),
        muxer_opt=identity.muxers(),
        enable_websocket=bool(front),
    )
    limits = RelayLimits(
        duration=600, data=data, max_circuit_conns=99, max_reservations=reservations
    )
    relay = CircuitV2Protocol(host, limits=limits, allow_hop=True)
    where = Multiaddr(f"/ip4/127.0.0.1/tcp/{port}{front}")
    async with host.run(listen_addrs=[where]), background_trio_service(relay):
        await relay.event_started.wait()
        bound = host.get_addrs()[0].value_for_protocol("tcp")
        yield f"/ip4/127.0.0.1/tcp/{bound}{front}/p2p/{host.get_id()}"


async def known_at_relay(listener: Listener) -> None:
    """Wait until every relay that was announced knows the node."""
    await relays_are(listener, up=True)


async def relays_are(listener: Listener, up: bool) -> None:
    with trio.fail_after(20):
        while bool(listener.reachable().relays_down) == up:  # noqa: ASYNC110
            await trio.sleep(0.02)


def only_by(relay: str, seed: bytes) -> Target:
    return Target(SigningKey(seed).public, LABEL, relays=[relay], mdns=False)


@pytest.mark.parametrize("front", ["", "/ws"], ids=["tcp", "websocket"])
async def test_two_ends_talk_through_a_circuit(front: str) -> None:
    seed, transport = secrets.token_bytes(32), loopback_transport()
    async with (
        relay_server(secrets.token_bytes(32), front=front) as relay,
        transport.listener(seed, 0) as listener,
        transport.dialer() as dialer,
    ):
        listener.announce(Presence([LABEL], [relay], mdns=False))
        await known_at_relay(listener)
        with trio.fail_after(20):
            operator = await dialer.dial(only_by(relay, seed))
            node = await anext(listener.channels())
            assert node.source.startswith("relay:")
            sent = secrets.token_bytes(300_000)
            got = b""
            async with trio.open_nursery() as tasks:
                tasks.start_soon(operator.send, sent)
                while len(got) < len(sent):
                    got += await node.receive()
            assert got == sent
            await node.send(b"verdict")
            assert await operator.receive() == b"verdict"
        await node.aclose()
        await operator.aclose()


async def talk_for_ever(channel: Channel) -> None:
    while True:
        await channel.send(bytes(4_000))
        await trio.sleep(0.01)


async def listen_for_ever(channel: Channel) -> None:
    while await channel.receive():
        pass


async def test_a_circuit_cut_by_its_limit_is_a_lost_connection() -> None:
    seed, transport = secrets.token_bytes(32), loopback_transport()
    async with (
        relay_server(secrets.token_bytes(32), data=40_000) as relay,
        transport.listener(seed, 0) as listener,
        transport.dialer() as dialer,
    ):
        listener.announce(Presence([LABEL], [relay], mdns=False))
        await known_at_relay(listener)
        with trio.fail_after(20):
            operator = await dialer.dial(only_by(relay, seed))
            node = await anext(listener.channels())
            with pytest.raises(errors.ConnectionLost):
                await talk_for_ever(operator)
            with pytest.raises(errors.ConnectionLost):
                await listen_for_ever(node)
            again = await dialer.dial(only_by(relay, seed))
            await again.aclose()


async def test_the_node_is_back_after_the_relay_restarts() -> None:
    seed, relay_seed = secrets.token_bytes(32), secrets.token_bytes(32)
    transport = loopback_transport()
    async with transport.listener(seed, 0) as listener, transport.dialer() as dialer:
        async with relay_server(relay_seed) as relay:
            listener.announce(Presence([LABEL], [relay], mdns=False))
            await known_at_relay(listener)
            port = CircuitAddress.parse(relay).port
        await relays_are(listener, up=False)
        async with relay_server(relay_seed, port) as same:
            assert same == relay
            await known_at_relay(listener)
            with trio.fail_after(20):
                operator = await dialer.dial(only_by(relay, seed))
            await operator.aclose()


async def test_a_node_that_is_not_there_is_named() -> None:
    async with relay_server(secrets.token_bytes(32)) as relay, trio.open_nursery() as tasks:
        with pytest.raises(errors.RelayNobody):
            await circuit.call(tasks, CircuitAddress.parse(relay), SigningKey(bytes(32)).public)


async def test_a_full_relay_is_named_and_asked_again() -> None:
    problems: list[errors.KnownError | None] = []
    asked_twice = trio.Event()

    def report(problem: errors.KnownError | None) -> None:
        problems.append(problem)
        if len(problems) == 2:
            asked_twice.set()

    async def nobody(_stream: trio.abc.Stream) -> None:
        raise AssertionError

    server = relay_server(secrets.token_bytes(32), reservations=0)
    async with server as relay, trio.open_nursery() as tasks:
        where = CircuitAddress.parse(relay)
        tasks.start_soon(circuit.wait, where, identity.fresh(), nobody, report)
        with trio.fail_after(20):
            await asked_twice.wait()
        tasks.cancel_scope.cancel()
    assert [type(problem) for problem in problems[:2]] == [errors.RelayFull] * 2


async def test_a_relay_with_another_key_is_not_trusted() -> None:
    async with relay_server(secrets.token_bytes(32)) as relay, trio.open_nursery() as tasks:
        other = identity.peer_id(SigningKey(bytes(32)).public).to_base58()
        where = CircuitAddress.parse(f"{relay.rpartition('/')[0]}/{other}")
        with pytest.raises(errors.RelayCertificate):
            await circuit.call(tasks, where, bytes(32))


ID = "12D3KooWBh5fxZcig6DetbEQiXtxyjrYKhnH9DMyjLVngELtxoRj"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"/ip4/192.0.2.1/tcp/4001/p2p/{ID}", CircuitAddress("192.0.2.1", 4001, ID)),
        (f"/ip6/2001:db8::1/tcp/4001/p2p/{ID}", CircuitAddress("2001:db8::1", 4001, ID)),
        (f"/dns4/r.example/tcp/443/wss/p2p/{ID}", CircuitAddress("r.example", 443, ID, True, True)),
        (f"/dns/r.example/tcp/80/ws/p2p/{ID}", CircuitAddress("r.example", 80, ID, True)),
        (
            f"/dns/r.io/tcp/443/tls/ws/p2p/{ID}/p2p-circuit",
            CircuitAddress("r.io", 443, ID, True, True),
        ),
    ],
)
def test_relay_addresses(text: str, expected: CircuitAddress) -> None:
    assert CircuitAddress.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.0.2.1/tcp/4001",
        f"/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{ID}",
        f"/ip4/192.0.2.1/tcp/0/p2p/{ID}",
        f"/ip4/192.0.2.1/tcp/70000/p2p/{ID}",
        "/ip4/192.0.2.1/tcp/4001/p2p/0OIl",
        "",
    ],
)
def test_what_is_no_relay_address(text: str) -> None:
    with pytest.raises(errors.RelayAddressInvalid):
        CircuitAddress.parse(text)


@pytest.mark.parametrize(
    ("expires", "now", "seconds"),
    [
        (3600, 0, 300),
        (60, 0, 30),
        (4, 0, 5),
        (1_800_000_000, 0, 60),
        (0, 1_800_000_000, 60),
    ],
)
def test_when_a_reservation_is_renewed(expires: int, now: int, seconds: float) -> None:
    assert circuit.renewal(expires, now) == seconds
