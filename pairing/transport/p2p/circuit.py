"""Circuit relay v2, as a client: for fleets that already run a libp2p relay.

https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md. We speak the two small protocols
ourselves: libp2p 0.8.1's own client gives a reservation up for good once a relay restarts, and
makes one even for a caller. What comes out is a raw stream between the two ends, like any other;
the relay reads nothing of it, and cuts it when its limit is reached.
"""

from __future__ import annotations

import contextlib
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import trio
from libp2p.abc import IMuxedConn, IMuxedStream
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb import circuit_pb2 as pb
from libp2p.relay.circuit_v2.utils import read_delimited_msg, write_delimited_msg
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from pairing import errors
from pairing.transport.p2p import upgrade
from pairing.transport.p2p.background import background
from pairing.transport.p2p.circuit_address import CircuitAddress, connect
from pairing.transport.p2p.identity import Identity, fresh, peer_id
from pairing.transport.p2p.pipe import Pipe

HOP = TProtocol("/libp2p/circuit/relay/0.2.0/hop")
STOP = TProtocol("/libp2p/circuit/relay/0.2.0/stop")
ANSWER_SECONDS = 15.0
"""For a relay's answer: it may have to ask the other end first."""
AGAIN_SECONDS = 2.0
"""Between two attempts to be known at a relay."""
RENEW_FIRST, RENEW_MOST = 5.0, 300.0
CIRCUITS = 16
"""Circuits that one relay may open to us at once."""

Serve = Callable[[trio.abc.Stream], Awaitable[None]]
Report = Callable[[errors.KnownError | None], None]


class CircuitStream(trio.abc.Stream):
    """One circuit as trio's raw stream. `over` is set when it is closed here."""

    def __init__(self, stream: IMuxedStream, pipe: Pipe) -> None:
        self._stream = stream
        self._pipe = pipe
        self.over = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.over.is_set():
            raise trio.ClosedResourceError
        try:
            await self._stream.write(bytes(data))
        except Exception as error:
            raise trio.BrokenResourceError from error
        self._pipe.taken(len(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self.over.is_set():
            raise trio.ClosedResourceError
        try:
            data = await self._stream.read(max_bytes or 65536)
        except MuxedStreamEOF:
            return b""
        except Exception as error:
            raise trio.BrokenResourceError from error
        self._pipe.taken(len(data))
        return data

    async def aclose(self) -> None:
        if not self.over.is_set():
            self.over.set()
            with trio.move_on_after(1, shield=True), contextlib.suppress(Exception):
                await self._stream.reset()
        await trio.lowlevel.checkpoint()


@dataclass(frozen=True, slots=True)
class _Link:
    """An authenticated connection to a relay."""

    name: str
    connection: IMuxedConn
    pipe: Pipe

    async def ask(self, question: pb.HopMessage) -> tuple[IMuxedStream, pb.HopMessage]:
        """The relay's good answer and the stream it came on. Raises errors.KnownError."""
        try:
            with trio.fail_after(ANSWER_SECONDS):
                stream = await upgrade.open_stream(self.connection, HOP)
                await write_delimited_msg(stream, question)
                answer = await read_delimited_msg(stream, pb.HopMessage)
        except Exception as error:
            raise errors.RelayUnreachable("It does not answer.", element=self.name) from error
        if answer.type != pb.HopMessage.STATUS or answer.status != pb.OK:
            await stream.reset()
            raise refusal(answer.status, self.name)
        return stream, answer


@contextlib.asynccontextmanager
async def _linked(
    where: CircuitAddress, tls: ssl.SSLContext | None, identity: Identity
) -> AsyncIterator[_Link]:
    """A connection to a relay for the time of the body. Raises errors.KnownError."""
    async with background() as tasks:
        pipe = Pipe(await connect(where, tls, tasks))
        try:
            try:
                with trio.fail_after(upgrade.HANDSHAKE_SECONDS):
                    relay = ID.from_string(where.peer)
                    connection, _ = await upgrade.multiplexed(pipe, identity, relay)
            except Exception as error:
                raise _no_relay(error, where.name) from error
            pipe.handshake_done()
            tasks.start_soon(_carry, connection, pipe)
            yield _Link(where.name, connection, pipe)
        finally:
            await pipe.close()


def _no_relay(error: Exception, name: str) -> errors.KnownError:
    problem = upgrade.named(error, name)
    if isinstance(problem, errors.WrongKey):
        return errors.RelayCertificate("It has another peer id.", element=name)
    return errors.RelayUnreachable("What answers there is not a relay.", element=name)


async def _carry(connection: IMuxedConn, pipe: Pipe) -> None:
    with contextlib.suppress(Exception):
        await connection.start()
    await pipe.close()


async def call(
    tasks: trio.Nursery, where: CircuitAddress, key: bytes, tls: ssl.SSLContext | None = None
) -> trio.abc.Stream:
    """A raw stream through a relay to the node with this key. The connection lives in `tasks`.

    Raises errors.RelayUnreachable, RelayNobody, RelayFull, RelayRefused.
    """
    result = await tasks.start(_hold_call, where, key, tls)
    if isinstance(result, errors.KnownError):
        raise result
    assert isinstance(result, CircuitStream)
    return result


async def _hold_call(
    where: CircuitAddress,
    key: bytes,
    tls: ssl.SSLContext | None,
    task_status: trio.TaskStatus[CircuitStream | errors.KnownError],
) -> None:
    """Keep a connection to the relay for as long as the circuit on it is wanted."""
    question = pb.HopMessage(type=pb.HopMessage.CONNECT, peer=pb.PeerId(id=peer_id(key).to_bytes()))
    try:
        # A fresh identity for each circuit: libp2p 0.8.1 as a relay mixes up one caller's two.
        async with _linked(where, tls, fresh()) as link:
            stream, _ = await link.ask(question)
            circuit = CircuitStream(stream, link.pipe)
            task_status.started(circuit)
            await circuit.over.wait()
    except errors.KnownError as error:
        task_status.started(error)


async def wait(
    where: CircuitAddress,
    identity: Identity,
    serve: Serve,
    report: Report,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Be reachable at a relay until cancelled; each circuit runs `serve`, which ends it.

    Comes back by itself, within seconds, after a restart of the relay. `report` hears None when
    the relay knows us, and why whenever it does not.
    """
    while True:
        try:
            async with _linked(where, tls, identity) as link, trio.open_nursery() as tasks:
                tasks.start_soon(_keep_reserved, link, report)
                await _take_circuits(link, serve)
                tasks.cancel_scope.cancel()
            report(errors.RelayUnreachable("The connection was lost.", element=where.name))
        except errors.KnownError as problem:
            report(problem)
        await trio.sleep(AGAIN_SECONDS * random.uniform(0.5, 1))


async def _keep_reserved(link: _Link, report: Report) -> None:
    """Reserve and renew. A relay that says no is asked again; one that says nothing is left."""
    while True:
        try:
            stream, answer = await link.ask(pb.HopMessage(type=pb.HopMessage.RESERVE))
        except errors.RelayUnreachable:
            await link.pipe.close()
            return
        except errors.KnownError as problem:
            report(problem)
            await trio.sleep(AGAIN_SECONDS)
        else:
            with contextlib.suppress(Exception):
                await stream.close()
            report(None)
            await trio.sleep(renewal(answer.reservation.expire, time.time()))


def renewal(expires: float, now: float) -> float:
    """Seconds until a reservation is renewed: half its time, 5 minutes at most.

    The relay names a moment by its own clock (Unix seconds). Where that makes no sense by ours,
    ours is wrong, and a minute is safe.
    """
    left = expires - now
    if not 0 < left < 86400:
        return 60.0
    return min(max(left / 2, RENEW_FIRST), RENEW_MOST)


async def _take_circuits(link: _Link, serve: Serve) -> None:
    """Take the circuits that the relay opens until the connection to it ends."""
    places = trio.CapacityLimiter(CIRCUITS)
    async with trio.open_nursery() as tasks:
        with contextlib.suppress(Exception):
            while True:
                stream = await upgrade.accept_stream(link.connection, STOP)
                tasks.start_soon(_serve_one, stream, link, serve, places)
        tasks.cancel_scope.cancel()


async def _serve_one(
    stream: IMuxedStream, link: _Link, serve: Serve, places: trio.CapacityLimiter
) -> None:
    async with places:
        try:
            with trio.fail_after(ANSWER_SECONDS):
                question = await read_delimited_msg(stream, pb.StopMessage)
                good = question.type == pb.StopMessage.CONNECT
                status = pb.OK if good else pb.UNEXPECTED_MESSAGE
                answer = pb.StopMessage(type=pb.StopMessage.STATUS, status=status)
                await write_delimited_msg(stream, answer)
        except Exception:
            return  # The relay or the caller changed its mind.
        circuit = CircuitStream(stream, link.pipe)
        try:
            if good:
                await serve(circuit)
        finally:
            await circuit.aclose()


def refusal(status: int, name: str) -> errors.KnownError:
    """What a relay's status means."""
    kinds: dict[int, type[errors.KnownError]] = {
        pb.RESERVATION_REFUSED: errors.RelayFull,
        pb.RESOURCE_LIMIT_EXCEEDED: errors.RelayFull,
        pb.PERMISSION_DENIED: errors.RelayAccess,
        pb.CONNECTION_FAILED: errors.RelayNobody,
        pb.NO_RESERVATION: errors.RelayNobody,
    }
    return kinds.get(status, errors.RelayRefused)(f"(status {status})", element=name)
