"""The relay: pairs two outgoing connections by an address and pipes bytes that it cannot read.

Everything it knows lies in memory and may be lost: after a restart the nodes come back by
themselves. One connection waits for one address and becomes the circuit when a call comes, so
there is nothing to correlate, and a call costs no further handshake. `docs/relay.md`: protocol.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
from collections.abc import Callable, Sequence

import trio

from pairing.transport import relay_protocol as protocol
from pairing.transport.lines import CHUNK, LineStream, LineTooLong
from pairing.transport.relay_protocol import Bucket, Call, Limits, Reason, Refused, Wait

_log = logging.getLogger(__name__)
_PROXY_LINE = 108
"""Bytes of the longest PROXY protocol line, version 1 (its specification, 2.1)."""
_FAREWELL_SECONDS = 2.0
_BROKEN = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.EndOfChannel,
    trio.TooSlowError,
    OSError,
)


class End:
    """A connection that said its line: an operator's call, or a node that waits."""

    def __init__(self, socket: trio.SocketStream, lines: LineStream, ip: str) -> None:
        self.socket, self.lines, self.ip = socket, lines, ip
        self.scope = trio.CancelScope()
        """Cancelled to stop waiting; `reason` then says why."""
        self.reason = ""
        self.called = False
        self.answered = trio.Event()
        """The node accepted the call that `ring` made, or is gone; see `accepted`."""
        self.accepted = False
        self.released = trio.Event()
        """The circuit is over."""
        self._sending = trio.Lock()

    async def say(self, line: str, seconds: float = 5) -> None:
        """Send a line. Raises trio.BrokenResourceError where the other end does not take it."""
        with trio.move_on_after(seconds) as scope:
            async with self._sending:
                await self.lines.send_line(line)
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("takes no bytes")

    def dismiss(self, reason: str) -> None:
        """Stop waiting, for this reason."""
        self.reason = reason
        self.scope.cancel()


class Forwarder:
    """One relay. `access_token`: empty for a relay that is open to everybody.

    `proxy_protocol`: every connection begins with a PROXY line (version 1) of a reverse proxy in
    front, and only then its IP is believed.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        access_token: str = "",
        proxy_protocol: bool = False,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.limits = limits or Limits()
        self.board: protocol.Switchboard[End] = protocol.Switchboard(self.limits)
        self._tls = tls
        self._access_token = access_token
        self._proxy_protocol = proxy_protocol
        self._random = random
        self._doorkeeper = protocol.Doorkeeper(self.limits)
        self._greeting = 0
        self._drain = trio.Event()

    def drain(self) -> None:
        """Take no more connections, tell the waiting nodes, and end within `drain_seconds`."""
        self._drain.set()

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `drain`; returns when every connection has ended."""
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as doors:

                async def accept() -> None:
                    await trio.serve_listeners(
                        self._connection, list(listeners), handler_nursery=connections
                    )

                doors.start_soon(accept)
                task_status.started()
                await self._drain.wait()
                doors.cancel_scope.cancel()
            for end in self.board.everybody():
                end.dismiss(Reason.DRAIN)
            connections.cancel_scope.deadline = trio.current_time() + self.limits.drain_seconds

    async def _connection(self, socket: trio.SocketStream) -> None:
        try:
            await self._serve(socket)
        except _BROKEN:
            pass  # the other end is gone, which happens all the time
        except Exception:
            _log.exception("a connection ended by a bug of the relay")
        finally:
            await trio.aclose_forcefully(socket)

    async def _serve(self, socket: trio.SocketStream) -> None:
        end: End | None = None
        try:
            with trio.fail_after(self.limits.greeting_seconds):
                first = LineStream(socket)
                ip = network(await self._ip(socket, first))
                with self._doorkeeper.visit(ip, trio.current_time()) as welcome:
                    end = End(socket, await self._secure(first), ip)
                    hello = await self._hello(end, welcome)
            if isinstance(hello, Wait):
                await self._wait(end, hello.address)
            else:
                await self._call(end, hello.address)
        except Refused as refused:
            if end is not None:
                await _refuse(end, refused.reason)

    async def _ip(self, socket: trio.SocketStream, first: LineStream) -> str:
        if self._proxy_protocol:
            return proxied_ip(await _line(first, _PROXY_LINE))
        return str(socket.socket.getpeername()[0])

    async def _secure(self, first: LineStream) -> LineStream:
        if self._tls is None:
            return first
        secured = trio.SSLStream(first, self._tls, server_side=True, https_compatible=True)
        await secured.do_handshake()
        return LineStream(secured)

    async def _hello(self, end: End, welcome: bool) -> Wait | Call:
        hello = protocol.parse_hello(await _line(end.lines))
        if not welcome:
            raise Refused(Reason.LIMIT)
        if not protocol.admits(self._access_token, hello.access_token):
            raise Refused(Reason.TOKEN)
        if isinstance(hello, Wait):
            nonce = self._random(protocol.NONCE_SIZE)
            await end.lines.send_line(f"nonce {nonce.hex()}")
            protocol.check_proof(hello, nonce, await _line(end.lines))
        return hello

    async def _wait(self, end: End, where: bytes) -> None:
        replaced = self.board.join(where, end.ip, end)
        if replaced is not None:
            replaced.dismiss(Reason.REPLACED)
        if self._drain.is_set():
            end.dismiss(Reason.DRAIN)
        try:
            with end.scope:
                await end.say(f"waiting {self.limits.ping_seconds:.0f}")
                await self._keep(end)
        finally:
            self.board.leave(where, end)
            end.answered.set()
        if end.accepted:
            await end.released.wait()
        elif end.reason:
            await _refuse(end, end.reason)

    async def _keep(self, end: End) -> None:
        """Ping a waiting node until it accepts a call or is gone."""
        pinged = False
        while True:
            patience = self.limits.pong_seconds if pinged else self.limits.ping_seconds
            line = None
            with trio.move_on_after(patience):
                line = await _line(end.lines)
            if line == "accept" and end.called:
                end.accepted = True
            if line is None and not pinged:
                if not end.called:  # behind `call` it would be a byte of the circuit
                    await end.say("ping")
            elif line != "pong" or not pinged:
                return
            pinged = not pinged

    async def _call(self, caller: End, where: bytes) -> None:
        node = self.board.ring(where, caller.ip)
        try:
            node.called = True
            with trio.move_on_after(self.limits.answer_seconds):
                await node.say("call")
                await node.answered.wait()
            if not node.accepted:
                node.dismiss("")
                raise Refused(Reason.NOBODY)
            await caller.say("ok")
            await circuit(caller.lines, node.lines, self.limits)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_farewell, caller.socket)
                nursery.start_soon(_farewell, node.socket)
        finally:
            self.board.hang_up(where, caller.ip)
            node.released.set()


async def circuit(one: trio.abc.Stream, other: trio.abc.Stream, limits: Limits) -> None:
    """Pipe both ways until an end closes, falls silent or the time is up.

    What an end sent before it closed is delivered; there is no half-close (TLS has none that all
    its libraries keep), so the other direction ends with it. Each direction holds `CHUNK` bytes: a
    slow reader slows the sender down.
    """
    allowance = Bucket(limits.bytes_per_second, limits.burst_bytes, trio.current_time())
    silence = trio.CancelScope(deadline=trio.current_time() + limits.idle_seconds)

    async def copy(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
        try:
            while data := await source.receive_some(CHUNK):
                pause = allowance.take(len(data), trio.current_time())
                silence.deadline = trio.current_time() + pause + limits.idle_seconds
                await trio.sleep(pause)
                await target.send_all(data)
                silence.deadline = trio.current_time() + limits.idle_seconds
        except _BROKEN:
            pass
        nursery.cancel_scope.cancel()

    with trio.move_on_after(limits.circuit_seconds), silence:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, one, other)
            nursery.start_soon(copy, other, one)


async def _refuse(end: End, reason: str) -> None:
    await end.say(f"no {reason}")
    await _farewell(end.socket)


async def _farewell(socket: trio.SocketStream) -> None:
    """Close so that what was sent arrives: a close with unread input would reset the connection."""
    with trio.move_on_after(_FAREWELL_SECONDS):
        try:
            await socket.send_eof()
            while await socket.receive_some(CHUNK):
                pass
        except _BROKEN:
            pass


async def _line(lines: LineStream, limit: int = protocol.LINE_LIMIT) -> str:
    try:
        return await lines.receive_line(limit)
    except LineTooLong:
        raise Refused(Reason.MALFORMED) from None


def proxied_ip(line: str) -> str:
    """The client's IP in a PROXY line, version 1. Raises Refused(MALFORMED) for any other line."""
    words = line.removesuffix("\r").split(" ")
    try:
        if len(words) != 6 or words[0] != "PROXY" or words[1] not in ("TCP4", "TCP6"):
            raise ValueError
        return str(ipaddress.ip_address(words[2]))
    except ValueError:
        raise Refused(Reason.MALFORMED) from None


def network(ip: str) -> str:
    """What the limits count: an IPv4 address, or an IPv6 /64, which one customer has at least."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
