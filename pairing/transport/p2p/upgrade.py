"""From a raw stream, however it was reached, to an authenticated channel. The only way."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import trio
from libp2p.abc import IMuxedConn, IMuxedStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.exceptions import InvalidSignature, PeerIDMismatchesPubkey
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE

from pairing import errors
from pairing.transport.p2p.channel import P2PChannel
from pairing.transport.p2p.identity import Identity, key_of, peer_id
from pairing.transport.p2p.pipe import Pipe

PROTOCOL = TProtocol("/kairos-pair/1")
HANDSHAKE_SECONDS = 10.0
STREAM_ATTEMPTS = 8
"""Streams of other protocols that a caller may try first; go-libp2p opens one for identify."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of a raw stream before its handshake: texts for people and for counting."""

    path: str
    source: str


async def call(
    tasks: trio.Nursery, pipe: Pipe, identity: Identity, expected: bytes, who: Caller
) -> P2PChannel:
    """The dialer's side: a channel with the owner of `expected` (Ed25519 public key) or nothing.

    The connection lives in `tasks`. The pipe is closed on failure. Raises errors.WrongKey if the
    other end has another key or cannot prove this one, errors.UnreachableError if it does not
    complete a Noise handshake in 10 seconds.
    """
    return await _upgrade(tasks, pipe, identity, expected, who)


async def answer(tasks: trio.Nursery, pipe: Pipe, identity: Identity, who: Caller) -> P2PChannel:
    """The listener's side: any caller that proves a key of its own. Raises as `call` does."""
    return await _upgrade(tasks, pipe, identity, None, who)


async def multiplexed(pipe: Pipe, identity: Identity, expected: ID | None) -> tuple[IMuxedConn, ID]:
    """A Noise session with `expected` (anybody if None, who then calls us) under yamux.

    The caller runs the connection's `start` and closes the pipe. Raises what libp2p raises;
    `named` translates it.
    """
    calling = expected is not None
    upgrader = identity.upgrader()
    raw = RawConnection(pipe, calling, addresses=[])
    secured = await upgrader.upgrade_security(raw, calling, expected)
    # Noise is all we offer; this holds even if a later libp2p should add to what it is given.
    if getattr(secured, "negotiated_security_protocol", None) != NOISE:
        raise errors.NotAuthenticError("The connection is not protected by Noise.")
    remote = secured.get_remote_peer()
    if expected is not None and remote != expected:
        raise errors.WrongKey
    return await upgrader.upgrade_connection(secured, remote), remote


async def _upgrade(
    tasks: trio.Nursery,
    pipe: Pipe,
    identity: Identity,
    expected: bytes | None,
    who: Caller,
) -> P2PChannel:
    wanted = peer_id(expected) if expected is not None else None
    channel: P2PChannel | None = None
    try:
        with trio.fail_after(HANDSHAKE_SECONDS):
            connection, remote = await multiplexed(pipe, identity, wanted)
            channel = P2PChannel(
                local_key=identity.public_key,
                remote_key=key_of(remote),
                path=who.path,
                source=who.source,
                pipe=pipe,
            )
            tasks.start_soon(channel.run_connection, connection)
            if expected is None:
                stream = await accept_stream(connection, PROTOCOL)
            else:
                stream = await open_stream(connection, PROTOCOL)
        pipe.handshake_done()
        channel.use(stream, tasks)
        return channel
    except BaseException as error:
        if channel is not None:
            channel.tear_down()
        await pipe.close()
        if isinstance(error, errors.KnownError) or not isinstance(error, Exception):
            raise
        raise named(error, who.path) from error


async def open_stream(connection: IMuxedConn, protocol: TProtocol) -> IMuxedStream:
    """A new stream of this protocol. If that fails, nothing is left of it."""
    stream = await connection.open_stream()
    try:
        await MultiselectClient().select_one_of((protocol,), MultiselectCommunicator(stream))
    except BaseException:
        with trio.move_on_after(1, shield=True), contextlib.suppress(Exception):
            await stream.reset()
        raise
    return stream


async def accept_stream(connection: IMuxedConn, protocol: TProtocol) -> IMuxedStream:
    """The first stream on which the other end asks for this protocol; others are told `na`."""
    chooser = Multiselect({protocol: None})
    for _ in range(STREAM_ATTEMPTS):
        stream = await connection.accept_stream()
        try:
            chosen, _ = await chooser.negotiate(MultiselectCommunicator(stream))
        except (BaseLibp2pError, ValueError):
            await stream.reset()
            continue
        if chosen == protocol:
            return stream
    raise errors.ProtocolBroken("The caller asked for other protocols only.")


def named(error: Exception, path: str) -> errors.KnownError:
    """The error of ours that says what went wrong in a handshake."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PeerIDMismatchesPubkey | InvalidSignature):
            return errors.WrongKey(element=path)
        cause = cause.__cause__
    if isinstance(error, trio.TooSlowError):
        return errors.UnreachableError("It answers, but too slowly.", element=path)
    return errors.UnreachableError("What answers there is not a node.", element=path)
