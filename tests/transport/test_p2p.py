"""libp2p as we use it: what it costs to import, how it fails, what strangers may do to it."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import sys

import pytest
import trio
from libp2p.custom_types import TProtocol
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from pairing import errors
from pairing.keys import SigningKey
from pairing.testing.network import (
    LABEL,
    LOOPBACK,
    loopback_ends,
    loopback_transport,
    target_of,
)
from pairing.testing.relays import LocalRelay
from pairing.transport.base import Address, Presence, Target
from pairing.transport.p2p import Limits, P2PTransport, identity, upgrade
from pairing.transport.p2p.dialer import with_scope
from pairing.transport.p2p.pipe import ALLOWANCE, HANDSHAKE_BYTES, Pipe


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_naming_the_transport_does_not_import_libp2p() -> None:
    code = "import sys, pairing.transport.p2p; sys.exit('libp2p' in sys.modules)"
    assert run_python(code).returncode == 0
    code = "import sys, pairing.transport.p2p as p; p.warm_up(); sys.exit('libp2p' in sys.modules)"
    assert run_python(code).returncode == 1


def test_a_missing_libp2p_is_named() -> None:
    code = """
import sys
sys.modules["libp2p"] = None
from pairing import errors
from pairing.transport.p2p import P2PTransport, warm_up
for use in (warm_up, P2PTransport().dialer, lambda: P2PTransport().listener(bytes(32))):
    try:
        use()
    except errors.TransportMissing:
        print("named")
"""
    assert run_python(code).stdout.split() == ["named"] * 3


def test_nothing_is_said_on_stderr() -> None:
    """A stranger's nonsense, a wrong key, a cancelled dial: nobody needs libp2p's opinion."""
    code = """
import contextlib, secrets, trio
from pairing import errors
from pairing.testing.network import loopback_ends, loopback_transport, target_of
from pairing.transport.base import Target

async def main():
    transport, seed = loopback_transport(), secrets.token_bytes(32)
    async with transport.listener(seed, 0) as listener, transport.dialer() as dialer:
        (address,) = listener.reachable().addresses
        for words in (b"", b"GET / HTTP/1.1\\r\\n\\r\\n", bytes(500)):
            stream = await trio.open_tcp_stream(address.host, address.port)
            await stream.send_all(words)
            await stream.aclose()
        with contextlib.suppress(errors.WrongKey), trio.move_on_after(0.5):
            await dialer.dial(Target(bytes(32), bytes(32), [address], mdns=False))
        channel = await dialer.dial(target_of(seed, listener))
        await (await anext(listener.channels())).send(b"x")
        with trio.CancelScope() as scope:
            scope.cancel()
            await dialer.dial(target_of(seed, listener))
    async with loopback_ends() as ends:
        raise SystemExit(0)

trio.run(main)
"""
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_a_port_that_is_taken_is_named() -> None:
    transport = loopback_transport()
    async with transport.listener(secrets.token_bytes(32), 0) as listener:
        port = listener.reachable().addresses[0].port
        with pytest.raises(errors.PortTaken):
            async with transport.listener(secrets.token_bytes(32), port):
                pass


async def test_a_cancelled_listener_leaves_its_port_to_the_next() -> None:
    """An unlocked machine goes on under its own key, on the same port."""
    transport = P2PTransport(hosts=("127.0.0.1", "::1"))
    async with trio.open_nursery() as tasks:
        port = await tasks.start(_listening, transport)
        tasks.cancel_scope.cancel()
    async with transport.listener(secrets.token_bytes(32), port) as again:
        assert {address.port for address in again.reachable().addresses} == {port}


async def _listening(
    transport: P2PTransport, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    async with transport.listener(secrets.token_bytes(32), 0) as listener:
        task_status.started(listener.reachable().addresses[0].port)
        await trio.sleep_forever()


async def test_both_ip_versions_share_one_port() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    seed = secrets.token_bytes(32)
    transport = P2PTransport(hosts=(LOOPBACK, "::1"))
    async with transport.listener(seed, 0) as listener, transport.dialer() as dialer:
        addresses = listener.reachable().addresses
        assert len({address.port for address in addresses}) == 1
        for address in addresses:
            target = Target(SigningKey(seed).public, LABEL, [address], mdns=False)
            operator = await dialer.dial(target)
            node = await anext(listener.channels())
            assert node.source == address.host
            await node.aclose()
            await operator.aclose()


async def test_what_the_body_raises_comes_out_as_it_was() -> None:
    with pytest.raises(errors.NotApprovedError):
        async with loopback_ends():
            raise errors.NotApprovedError


async def test_a_channel_ends_with_its_transport() -> None:
    seed, transport = secrets.token_bytes(32), loopback_transport()
    async with transport.dialer() as dialer:
        async with transport.listener(seed, 0) as listener:
            operator = await dialer.dial(target_of(seed, listener))
            node = await anext(listener.channels())
            await node.send(b"last words")
        assert await operator.receive() == b"last words"
        assert await operator.receive() == b""
        with pytest.raises(errors.ConnectionLost):
            await operator.send(b"x")


async def test_one_dialer_holds_as_many_channels_as_it_likes() -> None:
    """An operator with a whole fleet behind one address: limits are the listener's matter."""
    many = 20
    wide = Limits(channels_per_source=99)
    seed, transport = secrets.token_bytes(32), loopback_transport(wide)
    async with transport.listener(seed, 0) as listener, transport.dialer() as dialer:
        operators = [await dialer.dial(target_of(seed, listener)) for _ in range(many)]
        nodes = [await anext(listener.channels()) for _ in range(many)]
        for number, operator in enumerate(operators):
            await operator.send(bytes([number]))
        assert [await node.receive() for node in nodes] == [bytes([n]) for n in range(many)]
        for channel in (*nodes, *operators):
            await channel.aclose()


async def test_a_caller_may_ask_for_other_protocols_first() -> None:
    """As go-libp2p does: it opens a stream for identify at once."""
    seed, transport = secrets.token_bytes(32), loopback_transport()
    async with transport.listener(seed, 0) as listener, trio.open_nursery() as tasks:
        (address,) = listener.reachable().addresses
        pipe = Pipe(await trio.open_tcp_stream(address.host, address.port))
        expected = identity.peer_id(SigningKey(seed).public)
        connection, _ = await upgrade.multiplexed(pipe, identity.fresh(), expected)
        tasks.start_soon(connection.start)
        other = await connection.open_stream()
        with pytest.raises(Exception, match="not supported"):
            await MultiselectClient().select_one_of(
                [TProtocol("/ipfs/id/1.0.0")], MultiselectCommunicator(other)
            )
        await other.reset()
        stream = await upgrade.open_stream(connection, upgrade.PROTOCOL)
        await stream.write(b"hello")
        node = await anext(listener.channels())
        assert await node.receive() == b"hello"
        await node.aclose()
        await pipe.close()
        tasks.cancel_scope.cancel()


async def swallowed(pipe: Pipe, stream: trio.abc.SendStream) -> int:
    """How many bytes a pipe takes from somebody who sends without end."""
    taken = 0
    async with trio.open_nursery() as tasks:

        async def pour() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(bytes(65536))

        tasks.start_soon(pour)
        with contextlib.suppress(Exception):
            while data := await pipe.read():
                taken += len(data)
        tasks.cancel_scope.cancel()
    return taken


async def test_a_stranger_may_not_fill_our_memory() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    assert await swallowed(Pipe(ours), theirs) <= HANDSHAKE_BYTES
    ours, theirs = trio.testing.memory_stream_pair()
    pipe = Pipe(ours)
    pipe.handshake_done()
    taken = await swallowed(pipe, theirs)
    assert HANDSHAKE_BYTES < taken <= ALLOWANCE


async def test_a_pipe_reads_exactly_however_small_the_pieces() -> None:
    """libp2p gives up after 100 pieces."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def dribble() -> None:
        for _ in range(500):
            await theirs.send_all(b"x")
            await trio.testing.wait_all_tasks_blocked()
        await theirs.aclose()

    async with trio.open_nursery() as tasks:
        tasks.start_soon(dribble)
        pipe = Pipe(ours)
        assert await pipe.read(400) == b"x" * 400
        assert await pipe.read(400) == b"x" * 100
        assert await pipe.read(1) == b""


def test_a_link_local_address_is_tried_on_every_interface() -> None:
    plain = Address("2001:db8::1", 4917)
    assert list(with_scope(plain)) == [plain]
    assert all(
        address.host.startswith("fe80::1%") for address in with_scope(Address("fe80::1", 4917))
    )
    scoped = Address("fe80::1%eth9", 4917)
    assert list(with_scope(scoped)) == [scoped]


async def test_through_our_own_relay_and_a_new_label_cuts_nobody_off() -> None:
    seed, other = secrets.token_bytes(32), bytes(reversed(LABEL))
    transport = loopback_transport()
    async with (
        LocalRelay.running(None) as relay,
        transport.listener(seed, 0) as listener,
        transport.dialer() as dialer,
    ):
        place = str(relay.address)
        key = SigningKey(seed).public
        listener.announce(Presence([LABEL], [place], mdns=False))
        with trio.fail_after(20):
            operator = await dialer.dial(Target(key, LABEL, relays=[place], mdns=False))
            node = await anext(listener.channels())
            assert node.source == f"relay:{place}"
            assert list(listener.reachable().relays_up) == [place]
            listener.announce(Presence([other], [place], mdns=False))
            again = await dialer.dial(Target(key, other, relays=[place], mdns=False))
            await (await anext(listener.channels())).aclose()
            await operator.send(b"still here")
            assert await node.receive() == b"still here"
        for channel in (again, operator, node):
            await channel.aclose()


async def test_a_relay_address_that_is_none_is_down_and_harms_nobody() -> None:
    seed, transport = secrets.token_bytes(32), loopback_transport()
    async with transport.listener(seed, 0) as listener, transport.dialer() as dialer:
        listener.announce(Presence([LABEL], ["not a relay", "/ip4/nonsense"], mdns=False))
        operator = await dialer.dial(target_of(seed, listener))
        assert len(listener.reachable().relays_down) == 2
        await (await anext(listener.channels())).aclose()
        await operator.aclose()
