"""Strangers at the relay: squatters, slow and loud ones, those behind a reverse proxy."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pairing import errors, keys
from pairing.testing.relays import LocalRelay, echo, said_back, waiting_node
from pairing.transport import forwarder, relay
from pairing.transport import relay_protocol as protocol
from pairing.transport.lines import LineStream
from pairing.transport.relay_protocol import Limits, Wait

LABEL = b"\x01" * 32
NODE, STRANGER = keys.SigningKey(b"\x07" * 32), keys.SigningKey(b"\x08" * 32)


@contextlib.asynccontextmanager
async def raw(local: LocalRelay, source: str = "127.0.0.1") -> AsyncIterator[LineStream]:
    """A bare connection to a plain relay."""
    tcp = await trio.open_tcp_stream("127.0.0.1", local.port, local_address=source)
    async with LineStream(tcp) as lines:
        with trio.fail_after(20):
            yield lines


async def wait_signed(lines: LineStream, wait: Wait, signer: keys.SigningKey) -> str:
    """Wait as `wait`, proved by `signer`; what the relay says to it."""
    await lines.send_line(wait.line())
    nonce = (await lines.receive_line()).removeprefix("nonce ")
    signature = protocol.proof(signer.seed, bytes.fromhex(nonce), wait.address)
    await lines.send_line(f"proof {signature.hex()}")
    return await lines.receive_line()


async def who_answers(local: LocalRelay) -> bytes:
    async with await relay.call(local.address, NODE.public, LABEL) as stream:
        return bytes(await stream.receive_some())


async def node_says(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"node")


async def accept_as_squatter(lines: LineStream) -> None:
    assert await lines.receive_line() == "call"
    await lines.send_line("accept")
    await lines.send_all(b"squatter")


async def test_whoever_saw_the_photo_cannot_wait_in_the_nodes_place() -> None:
    photo = Wait(NODE.public, LABEL)
    async with (
        LocalRelay.running(None) as local,
        waiting_node(local, NODE, LABEL, node_says) as node,
        raw(local) as squatter,
    ):
        assert await wait_signed(squatter, photo, STRANGER) == "no proof"
        assert await who_answers(local) == b"node"
        assert node.up


async def test_without_the_proof_the_same_attack_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "check_proof", lambda wait, nonce, line: None)
    photo = Wait(NODE.public, LABEL)
    async with (
        LocalRelay.running(None) as local,
        waiting_node(local, NODE, LABEL, node_says),
        raw(local) as squatter,
        trio.open_nursery() as nursery,
    ):
        assert await wait_signed(squatter, photo, STRANGER) == "waiting 30"
        nursery.start_soon(accept_as_squatter, squatter)
        assert await who_answers(local) == b"squatter"


async def test_a_proof_cannot_be_replayed() -> None:
    photo = Wait(NODE.public, LABEL)
    async with LocalRelay.running(None) as local:
        async with raw(local) as first:
            await first.send_line(photo.line())
            nonce = bytes.fromhex((await first.receive_line()).removeprefix("nonce "))
            seen = f"proof {protocol.proof(NODE.seed, nonce, photo.address).hex()}"
            await first.send_line(seen)
            assert await first.receive_line() == "waiting 30"
        async with raw(local) as second:
            await second.send_line(photo.line())
            assert (await second.receive_line()).startswith("nonce ")
            await second.send_line(seen)
            assert await second.receive_line() == "no proof"


async def test_another_label_of_the_same_node_needs_its_own_proof() -> None:
    async with LocalRelay.running(None) as local, raw(local) as lines:
        wait = Wait(NODE.public, LABEL)
        await lines.send_line(wait.line())
        nonce = bytes.fromhex((await lines.receive_line()).removeprefix("nonce "))
        other = protocol.address(NODE.public, b"\x02" * 32)
        await lines.send_line(f"proof {protocol.proof(NODE.seed, nonce, other).hex()}")
        assert await lines.receive_line() == "no proof"


@pytest.mark.parametrize("sent", [b"x" * 100_000, b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe\n", b"\n"])
async def test_a_huge_or_foreign_first_message_is_refused(sent: bytes) -> None:
    async with LocalRelay.running(None) as local, raw(local) as lines:
        await lines.send_all(sent)
        assert await lines.receive_line() == "no malformed"
        with pytest.raises(trio.EndOfChannel):
            await lines.receive_line()


@pytest.mark.parametrize("sent", [b"", b"EP1-relay/1 ca"])
async def test_a_slow_first_message_is_cut(sent: bytes) -> None:
    async with LocalRelay.running(None, Limits(greeting_seconds=0.1)) as local, raw(local) as lines:
        await lines.send_all(sent)
        with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
            await lines.receive_line()


async def test_idle_strangers_do_not_keep_the_operator_out() -> None:
    limits = Limits(greeting=100, greeting_per_ip=60)
    async with (
        LocalRelay.running(None, limits) as local,
        waiting_node(local, NODE, LABEL, node_says),
        contextlib.AsyncExitStack() as crowd,
    ):
        for _ in range(90):
            await crowd.enter_async_context(raw(local, "127.0.0.66"))
        with trio.fail_after(5):
            assert await who_answers(local) == b"node"


async def test_a_node_that_answers_no_ping_is_gone() -> None:
    limits = Limits(ping_seconds=0.05, pong_seconds=1.0)
    async with LocalRelay.running(None, limits) as local, raw(local) as lines:
        wait = Wait(NODE.public, LABEL)
        assert (await wait_signed(lines, wait, NODE)).startswith("waiting")
        for _ in range(3):
            assert await lines.receive_line() == "ping"
            await lines.send_line("pong")
        assert await lines.receive_line() == "ping"
        with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
            await lines.receive_line()
        assert local.forwarder.board.waiting == 0


@pytest.mark.parametrize("line", ["accept", "pong", "hello", "x" * 300])
async def test_a_waiting_node_that_speaks_out_of_turn_is_dropped(line: str) -> None:
    async with LocalRelay.running(None) as local, raw(local) as lines:
        assert await wait_signed(lines, Wait(NODE.public, LABEL), NODE) == "waiting 30"
        await lines.send_line(line)
        with contextlib.suppress(trio.EndOfChannel, trio.BrokenResourceError):
            assert await lines.receive_line() == "no malformed"
        assert local.forwarder.board.waiting == 0


async def test_a_node_that_does_not_answer_a_call_is_nobody() -> None:
    async with LocalRelay.running(None, Limits(answer_seconds=0.1)) as local, raw(local) as lines:
        assert await wait_signed(lines, Wait(NODE.public, LABEL), NODE) == "waiting 30"
        with pytest.raises(errors.RelayNobody):
            await relay.call(local.address, NODE.public, LABEL)
        assert local.forwarder.board.circuits == 0


@pytest.mark.parametrize("secure", [True, False])
async def test_the_end_of_one_side_is_the_end_of_the_other(tmp_path: Path, secure: bool) -> None:
    ended = trio.Event()

    async def until_the_end(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"here")
        with contextlib.suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""
        ended.set()

    async with (
        LocalRelay.running(tmp_path if secure else None) as local,
        waiting_node(local, NODE, LABEL, until_the_end),
    ):
        stream = await relay.call(local.address, NODE.public, LABEL)
        assert await stream.receive_some() == b"here"
        await trio.aclose_forcefully(stream)  # as a killed process does
        with trio.fail_after(10):
            await ended.wait()


async def test_a_killed_relay_ends_circuits_on_both_sides() -> None:
    async with (
        LocalRelay.running(None) as local,
        waiting_node(local, NODE, LABEL, echo),
        await relay.call(local.address, NODE.public, LABEL) as stream,
    ):
        assert await said_back(stream, b"x") == b"x"
        await local.stop()
        with trio.fail_after(10), contextlib.suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""


async def test_a_relay_that_rings_without_end_is_slowed_down(autojump_clock: MockClock) -> None:
    """A malicious relay may waste our time, but not much of our machine."""
    rings = 0

    async def ring(tcp: trio.SocketStream) -> None:
        nonlocal rings
        async with LineStream(tcp) as lines:
            await lines.receive_line()
            await lines.send_line(f"nonce {'00' * 32}")
            await lines.receive_line()
            await lines.send_all(b"waiting 30\ncall\n")
            rings += 1

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, ring, listeners)
        port = int(listeners[0].socket.getsockname()[1])
        address = relay.RelayAddress("127.0.0.1", port, plain=True)
        with trio.move_on_after(60):
            await relay.wait(address, NODE.seed, LABEL, echo)
        nursery.cancel_scope.cancel()
    assert 20 <= rings <= 20 + 2 * 60 + 1


async def test_behind_a_reverse_proxy_its_word_counts_for_the_ip() -> None:
    limits = Limits(waiting_per_ip=1)
    async with LocalRelay.running(None, limits, proxy_protocol=True) as local:

        async def wait_from(lines: LineStream, ip: str, node: keys.SigningKey) -> str:
            await lines.send_all(f"PROXY TCP4 {ip} 192.0.2.1 5000 443\r\n".encode())
            return await wait_signed(lines, Wait(node.public, LABEL), node)

        async with raw(local) as one, raw(local) as two, raw(local) as three:
            assert await wait_from(one, "192.0.2.7", NODE) == "waiting 30"
            assert await wait_from(two, "192.0.2.7", STRANGER) == "no limit"
            assert await wait_from(three, "192.0.2.8", STRANGER) == "waiting 30"
        async with raw(local) as bare:
            await bare.send_line(Wait(NODE.public, LABEL).line())
            with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
                await bare.receive_line()


def test_an_ip_is_what_a_proxy_line_says() -> None:
    assert forwarder.proxied_ip("PROXY TCP4 192.0.2.7 192.0.2.1 5 443\r") == "192.0.2.7"
    assert forwarder.proxied_ip("PROXY TCP6 2001:db8::7 ::1 5 443\r") == "2001:db8::7"
    for wrong in ("", "PROXY UNKNOWN\r", "PROXY TCP4 x 192.0.2.1 5 443\r", "GET / HTTP/1.1\r"):
        with pytest.raises(protocol.Refused):
            forwarder.proxied_ip(wrong)


def test_limits_count_an_ipv6_network_not_an_address() -> None:
    assert forwarder.network("192.0.2.7") == "192.0.2.7"
    assert forwarder.network("::ffff:192.0.2.7") == "192.0.2.7"
    assert forwarder.network("2001:db8::1") == forwarder.network("2001:db8::2")
    assert forwarder.network("2001:db8::1") != forwarder.network("2001:db8:0:1::1")
    assert forwarder.network("fe80::1%eth0") == forwarder.network("fe80::2")


async def test_a_stalled_tls_handshake_is_cut(tmp_path: Path) -> None:
    limits = Limits(greeting_seconds=0.1)
    async with LocalRelay.running(tmp_path, limits) as local, raw(local) as lines:
        await lines.send_all(b"\x16\x03\x01\x02")
        with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
            await lines.receive_line()


async def test_a_relay_without_free_files_lives_on() -> None:
    async with LocalRelay.running(None) as local, waiting_node(local, NODE, LABEL, node_says):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        hoard: list[socket.socket] = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
            with contextlib.suppress(OSError):
                while True:
                    hoard.append(socket.socket())
            caller = hoard.pop()
            caller.connect(("127.0.0.1", local.port))
            await wait_all_tasks_blocked(0.05)  # accept fails by now: EMFILE
        finally:
            for one in [*hoard, caller]:
                one.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await who_answers(local) == b"node"
