"""A node waits at a relay, an operator calls it: over TLS on loopback."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path

import pytest
import trio

from pairing import errors, keys
from pairing.testing.relays import LocalRelay, Watch, echo, said_back, waiting_node
from pairing.transport import relay, relay_tls
from pairing.transport.relay import RelayAddress
from pairing.transport.relay_protocol import Limits

LABEL = b"\x01" * 32
TOKEN = "a-token-of-the-fleet"
NODE = keys.SigningKey(b"\x07" * 32)


async def test_bytes_go_both_ways_over_tls(tmp_path: Path) -> None:
    async with LocalRelay.running(tmp_path) as local, waiting_node(local, NODE, LABEL, echo):
        stream = await relay.call(local.address, NODE.public, LABEL)
        body = os.urandom(200_000)
        assert await said_back(stream, body) == body
        await stream.aclose()


async def test_a_node_is_back_for_the_next_call_while_it_serves_one() -> None:
    async with (
        LocalRelay.running(None) as local,
        waiting_node(local, NODE, LABEL, echo),
        await relay.call(local.address, NODE.public, LABEL) as one,
        await relay.call(local.address, NODE.public, LABEL) as two,
        await relay.call(local.address, NODE.public, LABEL) as three,
    ):
        for stream in (one, two, three):
            assert await said_back(stream, b"hello") == b"hello"


@pytest.mark.parametrize("secure", [True, False])
async def test_what_was_sent_before_closing_arrives(tmp_path: Path, secure: bool) -> None:
    body = os.urandom(300_000)
    got = bytearray()
    done = trio.Event()

    async def read(stream: trio.abc.Stream) -> None:
        while data := await stream.receive_some(4096):
            got.extend(data)
        done.set()

    folder = tmp_path if secure else None
    async with LocalRelay.running(folder) as local, waiting_node(local, NODE, LABEL, read):
        stream = await relay.call(local.address, NODE.public, LABEL)
        await stream.send_all(body)
        await stream.aclose()
        with trio.fail_after(10):
            await done.wait()
    assert bytes(got) == body


async def test_both_labels_of_a_node_are_two_addresses() -> None:
    other = b"\x02" * 32
    async with (
        LocalRelay.running(None) as local,
        waiting_node(local, NODE, LABEL, echo),
        waiting_node(local, NODE, other, echo),
    ):
        for label in (LABEL, other):
            async with await relay.call(local.address, NODE.public, label) as stream:
                assert await said_back(stream, label) == label


async def test_nobody_there_has_a_name() -> None:
    async with LocalRelay.running(None) as local, waiting_node(local, NODE, LABEL, echo):
        with pytest.raises(errors.RelayNobody):
            await relay.call(local.address, NODE.public, b"\x02" * 32)
        with pytest.raises(errors.RelayNobody):
            await relay.call(local.address, keys.generate().public, LABEL)


async def test_busy_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "BUSY_SECONDS", 0.5)
    limits = Limits(circuits_per_address=1)
    async with LocalRelay.running(None, limits) as local, waiting_node(local, NODE, LABEL, echo):
        async with await relay.call(local.address, NODE.public, LABEL):
            with pytest.raises(errors.RelayBusy):
                await relay.call(local.address, NODE.public, LABEL)
        async with await relay.call(local.address, NODE.public, LABEL) as stream:
            assert await said_back(stream, b"free again") == b"free again"


@pytest.mark.parametrize(
    ("limits", "detail"),
    [(Limits(waiting=1), "at a limit"), (Limits(waiting_per_ip=1), "from this network")],
)
async def test_a_full_relay_says_so(limits: Limits, detail: str) -> None:
    stranger = keys.SigningKey(b"\x08" * 32)
    async with (
        LocalRelay.running(None, limits) as local,
        waiting_node(local, NODE, LABEL, echo),
        waiting_node(local, stranger, LABEL, echo, up=False) as refused,
    ):
        assert isinstance(refused.problem, errors.RelayFull)
        assert detail in str(refused.problem)


@pytest.mark.parametrize("limits", [Limits(circuits=1), Limits(circuits_per_ip=1)])
async def test_circuits_are_limited(limits: Limits) -> None:
    other = keys.SigningKey(b"\x08" * 32)
    async with (
        LocalRelay.running(None, limits) as local,
        waiting_node(local, NODE, LABEL, echo),
        waiting_node(local, other, LABEL, echo),
        await relay.call(local.address, NODE.public, LABEL) as first,
    ):
        with pytest.raises(errors.RelayFull):
            await relay.call(local.address, other.public, LABEL)
        assert await said_back(first, b"still") == b"still"


async def test_too_many_connections_from_one_network_have_a_name() -> None:
    limits = Limits(connections_per_minute=1, connections_burst=1)
    async with LocalRelay.running(None, limits) as local:
        with pytest.raises(errors.RelayNobody):
            await relay.call(local.address, NODE.public, LABEL)
        with pytest.raises(errors.RelayFull, match="from this network"):
            await relay.call(local.address, NODE.public, LABEL)


async def test_a_closed_relay_wants_its_token_from_both_ends() -> None:
    async with LocalRelay.running(None, access_token=TOKEN) as local:
        async with waiting_node(local, NODE, LABEL, echo, up=False) as refused:
            assert isinstance(refused.problem, errors.RelayAccess)
        async with waiting_node(local, NODE, LABEL, echo, access_token=TOKEN):
            for wrong in ("", TOKEN + "x"):
                with pytest.raises(errors.RelayAccess):
                    await relay.call(local.address, NODE.public, LABEL, access_token=wrong)
            shown = relay.call(local.address, NODE.public, LABEL, access_token=TOKEN)
            async with await shown as stream:
                assert await said_back(stream, b"in") == b"in"


async def test_a_hundred_nodes_are_back_after_a_restart() -> None:
    nodes = [keys.generate() for _ in range(100)]
    watches = [Watch() for _ in nodes]
    async with LocalRelay.running(None) as local, trio.open_nursery() as nursery:
        for node, watch in zip(nodes, watches, strict=True):
            wait = functools.partial(relay.wait, report=watch.heard)
            nursery.start_soon(wait, local.address, node.seed, LABEL, echo)
        for step in (True, False, True):
            if not step:
                await local.stop()
            elif watches[0].problem:
                await local.start()
            for watch in watches:
                await watch.until(step)
        assert local.forwarder.board.waiting == 100
        for node in nodes[::20]:
            async with await relay.call(local.address, node.public, LABEL) as stream:
                assert await said_back(stream, b"again") == b"again"
        nursery.cancel_scope.cancel()


async def test_a_restarted_node_replaces_its_half_open_connection() -> None:
    async def old(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"old")

    async def new(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"new")

    async with (
        LocalRelay.running(None) as local,
        waiting_node(local, NODE, LABEL, old) as before,
        waiting_node(local, NODE, LABEL, new),
        await relay.call(local.address, NODE.public, LABEL) as stream,
    ):
        assert await stream.receive_some() == b"new"
        await before.until(False)
        assert "same key" in str(before.problem)


async def test_a_draining_relay_tells_and_ends() -> None:
    async with (
        LocalRelay.running(None, Limits(drain_seconds=0.2)) as local,
        waiting_node(local, NODE, LABEL, echo) as waits,
        await relay.call(local.address, NODE.public, LABEL) as stream,
    ):
        assert await said_back(stream, b"x") == b"x"
        await waits.until(True)
        local.forwarder.drain()
        with trio.fail_after(10):
            assert await stream.receive_some() == b""
        await waits.until(False)
        with pytest.raises(errors.RelayUnreachable):
            await relay.call(local.address, NODE.public, LABEL)


async def test_a_foreign_certificate_is_refused(tmp_path: Path) -> None:
    other = relay_tls.self_signed(tmp_path / "other", ("127.0.0.1",))
    async with LocalRelay.running(tmp_path / "one") as local:
        assert local.certificate is not None
        bare = RelayAddress("127.0.0.1", local.port)
        with pytest.raises(errors.RelayCertificate, match="self-signed"):
            await relay.call(bare, NODE.public, LABEL)
        foreign = relay_tls.client_context(other.chain)
        with pytest.raises(errors.RelayCertificate):
            await relay.call(bare, NODE.public, LABEL, tls=foreign)
        pinned = RelayAddress("127.0.0.1", local.port, other.pin())
        with pytest.raises(errors.RelayCertificate, match="#sha256"):
            await relay.call(pinned, NODE.public, LABEL)
        own = relay_tls.client_context(local.certificate.chain)
        with pytest.raises(errors.RelayNobody):  # the positive control: TLS is fine
            await relay.call(bare, NODE.public, LABEL, tls=own)
        other_name = RelayAddress("localhost.", local.port)
        with pytest.raises(errors.UnreachableError):
            await relay.call(other_name, NODE.public, LABEL, tls=own)


def test_a_clock_of_1970_does_not_judge_dates_but_chain_and_name(tmp_path: Path) -> None:
    certificate = relay_tls.self_signed(tmp_path, ("localhost",))
    broken = relay_tls.client_context(certificate.chain, clock=lambda: 0.0)
    sound = relay_tls.client_context(certificate.chain)
    assert broken.verify_flags & 0x200000
    assert not sound.verify_flags & 0x200000
    assert broken.verify_mode == ssl.CERT_REQUIRED
    assert broken.check_hostname


async def test_a_relay_that_is_not_there_has_a_name() -> None:
    async with LocalRelay.running(None) as local:
        address = local.address
    with pytest.raises(errors.RelayUnreachable):
        await relay.call(address, NODE.public, LABEL)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 100, b"x" * 10_000, b"ok", b""]
)
async def test_what_is_no_relay_has_a_name(answer: bytes) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(answer)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        address = RelayAddress("127.0.0.1", listeners[0].socket.getsockname()[1], plain=True)
        with pytest.raises((errors.RelayRefused, errors.RelayUnreachable)):
            await relay.call(address, NODE.public, LABEL)
        nursery.cancel_scope.cancel()
