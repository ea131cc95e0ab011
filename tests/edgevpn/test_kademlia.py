"""The DHT client: its walk without a network, and two that meet through servers of ours."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID

from pairing import errors
from pairing.edgevpn import nettoken
from pairing.edgevpn.names import Names
from pairing.testing.network import LOOPBACK, eventually
from pairing.transport.base import Address
from pairing.transport.p2p import EdgeVpn
from pairing.transport.p2p.gossip import dht, kademlia
from pairing.transport.p2p.gossip.addresses import from_bytes, from_text, to_bytes, to_text
from pairing.transport.p2p.gossip.bootstrap import PUBLIC_PEERS, bootstrap_peers
from pairing.transport.p2p.gossip.connection import Connection
from pairing.transport.p2p.gossip.dht import key_of_rendezvous
from pairing.transport.p2p.gossip.host import Host, hosting
from pairing.transport.p2p.gossip.kademlia import ASKED_LIMIT, CLOSEST, Servers, lookup, read_answer
from pairing.transport.p2p.gossip.line import Line
from pairing.transport.p2p.identity import peer_id

TOKEN = nettoken.fresh(secrets.token_bytes)
WHERE = (Address("192.0.2.7", 4001),)


def test_the_key_of_a_rendezvous_is_gos() -> None:
    """Captured from a real Go sender."""
    key = key_of_rendezvous("48ccd3c37f38c06f613d8c82ba1f609c")
    expected = "12204e1e7f5736dc0bf632446b1f74913572efbe431533c423f90f503494eaf956ed"
    assert key.hex() == expected


# --- the walk ---


def distance(peer: ID, key: bytes) -> int:
    first, second = (hashlib.sha256(data).digest() for data in (peer.to_bytes(), key))
    return int.from_bytes(first, "big") ^ int.from_bytes(second, "big")


def swarm(count: int) -> Sequence[ID]:
    return [peer_id(hashlib.sha256(b"%d" % number).digest()) for number in range(count)]


@pytest.mark.parametrize("dead_of_ten", [0, 3])
async def test_the_walk_ends_at_the_closest_that_live(dead_of_ten: int) -> None:
    key, peers = b"key", swarm(300)
    dead = {peer for number, peer in enumerate(peers) if number % 10 < dead_of_ten and number}
    servers = Servers(key)
    servers.add(peers[0], WHERE)
    asked = 0

    async def question(peer: ID, _addresses: Sequence[Address]) -> None:
        nonlocal asked
        asked += 1
        await trio.lowlevel.checkpoint()
        if peer in dead:
            raise errors.UnreachableError
        # Each knows those near it and a few far away.
        near = sorted(peers, key=lambda other: distance(other, peer.to_bytes()))[:20]
        for other in [*near, *peers[::29]]:
            servers.add(other, WHERE)

    await lookup(servers, question)
    alive = [peer for peer in peers if peer not in dead]
    best = sorted(alive, key=lambda peer: distance(peer, key))
    found = [peer for peer, _ in servers.closest_alive()]
    assert found[0] == best[0]
    assert len(set(found) & set(best[:CLOSEST])) >= CLOSEST * 3 // 4
    assert asked <= ASKED_LIMIT


async def test_one_who_leads_us_on_is_left_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kademlia, "ASKED_LIMIT", 15)
    servers = Servers(b"key")
    servers.add(swarm(1)[0], WHERE)
    asked = 0

    async def question(_peer: ID, _addresses: Sequence[Address]) -> None:
        nonlocal asked
        asked += 1
        for _ in range(30):
            servers.add(peer_id(secrets.token_bytes(32)), WHERE)

    await lookup(servers, question)
    assert asked == 15
    assert len(servers.peers()) == kademlia.KNOWN_LIMIT


async def test_a_walk_without_any_server_ends() -> None:
    async def question(_peer: ID, _addresses: Sequence[Address]) -> None:
        raise errors.UnreachableError

    with trio.fail_after(5):
        await lookup(Servers(b"key"), question)


@given(st.binary(max_size=400))
def test_any_answer_is_an_answer_or_named(data: bytes) -> None:
    with contextlib.suppress(errors.ProtocolBroken):
        read_answer(data)


def test_an_answer_is_cut_to_what_is_sensible() -> None:
    peers = [
        Message.Peer(id=peer.to_bytes(), addrs=[to_bytes(WHERE[0])] * 100) for peer in swarm(200)
    ]
    answer = read_answer(Message(closerPeers=peers).SerializeToString())
    assert len(answer.closer) == kademlia.PEERS_LIMIT
    assert all(where == WHERE for _, where in answer.closer)


# --- addresses ---


@given(st.ip_addresses(), st.integers(1, 65535))
def test_addresses_come_back(ip: object, port: int) -> None:
    address = Address(str(ip), port)
    again = from_text(to_text(address))
    assert again is not None
    assert (str(again[0]), again[1]) == (str(address), None)
    assert from_bytes(to_bytes(address)) is not None


@given(st.binary(max_size=600))
def test_any_bytes_are_an_address_or_none(data: bytes) -> None:
    from_bytes(data)


PEER = swarm(1)[0].to_base58()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2.7:4001",
        "/ip4/192.0.2.7/tcp/4001",
        f"/ip4/192.0.2.777/tcp/4001/p2p/{PEER}",
        f"/ip6/192.0.2.7/tcp/4001/p2p/{PEER}",
        f"/ip4/192.0.2.7/tcp/0/p2p/{PEER}",
        f"/ip4/192.0.2.7/udp/4001/quic-v1/p2p/{PEER}",
        "/ip4/192.0.2.7/tcp/4001/p2p/0OIl",
        "/dnsaddr/bootstrap.example/p2p/nonsense",
        "Public",
    ],
)
def test_what_is_no_bootstrap_peer_is_named(text: str) -> None:
    with pytest.raises(errors.BootstrapInvalid) as caught:
        bootstrap_peers([text])
    assert caught.value.element == text


def test_the_public_list_is_a_choice() -> None:
    given_one = f"/dns4/boot.example/tcp/4001/p2p/{PEER}"
    assert bootstrap_peers([]) == ()
    assert bootstrap_peers([given_one, given_one]) == (given_one,)
    assert bootstrap_peers(["public"]) == PUBLIC_PEERS


# --- two that meet ---


@dataclass
class Server:
    """Enough of a Kademlia server: keeps provider records, knows some other servers."""

    host: Host
    neighbours: list[Server] = field(default_factory=list)
    records: dict[bytes, dict[bytes, Message.Peer]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return to_text(Address(LOOPBACK, self.host.port), self.host.own.to_base58())

    async def answer(self, connection: Connection, line: Line) -> None:
        while (data := await line.receive(65536)) is not None:
            asked = Message.FromString(data)
            if asked.type == Message.ADD_PROVIDER:
                for peer in asked.providerPeers:
                    # Go takes a record from its subject only.
                    if peer.id == connection.peer.to_bytes() and peer.addrs:
                        self.records.setdefault(asked.key, {})[peer.id] = peer
                continue
            closer = [
                Message.Peer(
                    id=other.host.own.to_bytes(),
                    addrs=[to_bytes(Address(LOOPBACK, other.host.port))],
                )
                for other in self.neighbours
            ]
            known = self.records.get(asked.key, {}).values()
            said = Message(type=asked.type, key=asked.key, closerPeers=closer, providerPeers=known)
            await line.send(said.SerializeToString())


@contextlib.asynccontextmanager
async def serving(count: int) -> AsyncIterator[list[Server]]:
    """A row of servers, each of which knows the next one."""
    async with contextlib.AsyncExitStack() as stack:
        servers = []
        for _ in range(count):
            server = Server(await stack.enter_async_context(hosting((LOOPBACK,))))
            server.host.handlers[kademlia.KADEMLIA] = server.answer
            servers.append(server)
        for server, following in itertools.pairwise(servers):
            server.neighbours.append(following)
        yield servers


@dataclass
class Clockwork:
    """Names that a test moves on."""

    window: int = 0

    def names(self) -> Names:
        return Names(f"{self.window:032}", bytes(32), f"rendezvous {self.window}")


async def test_two_meet_without_mdns_behind_a_row_of_servers() -> None:
    clockwork = Clockwork()
    async with serving(3) as servers:
        network = EdgeVpn(False, [servers[0].address], hosts=(LOOPBACK,))
        async with (
            network.joining(TOKEN, names=clockwork.names) as one,
            network.joining(TOKEN, names=clockwork.names) as other,
        ):
            for place in (one, other):
                await place.follow([clockwork.names().topic])
            with trio.fail_after(30):
                await eventually(lambda: bool(one.peers() and other.peers()))
                await one.publish(clockwork.names().topic, b"hello")
                assert (await other.receive()).data == b"hello"
            key = key_of_rendezvous(clockwork.names().rendezvous)
            assert all(len(server.records[key]) == 2 for server in servers)


async def test_a_new_window_is_announced_and_the_last_one_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dht, "PAUSES", (0.5,))
    clockwork = Clockwork()
    async with serving(1) as servers:
        network = EdgeVpn(False, [servers[0].address], hosts=(LOOPBACK,))
        async with network.joining(TOKEN, names=clockwork.names):
            for window in range(3):
                clockwork.window = window
                with trio.fail_after(20):
                    await eventually(
                        lambda: (
                            key_of_rendezvous(f"rendezvous {clockwork.window}")
                            in servers[0].records
                        )
                    )
            servers[0].records.clear()
            await eventually(lambda: len(servers[0].records) == 2)
            await trio.sleep(1)
        assert set(servers[0].records) == {key_of_rendezvous(f"rendezvous {n}") for n in (1, 2)}


async def test_no_server_there_is_no_harm() -> None:
    clockwork = Clockwork()
    nobody = f"/ip4/{LOOPBACK}/tcp/9/p2p/{PEER}"
    async with EdgeVpn(False, [nobody], hosts=(LOOPBACK,)).joining(
        TOKEN, names=clockwork.names
    ) as place:
        await place.follow(["topic"])
        await trio.sleep(0.5)
        assert place.peers() == frozenset()
