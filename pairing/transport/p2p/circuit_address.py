"""Addresses of Circuit relays, and the connection to one: TCP, or WebSocket with or without TLS."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import Any, Self

import trio

from pairing import errors

CONNECT_SECONDS = 15.0
_SHAPE = re.compile(
    r"/(?:ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]{1,253})/tcp/(?P<port>[0-9]{1,5})"
    r"(?P<front>/ws|/wss|/tls/ws)?/p2p/(?P<peer>[1-9A-HJ-NP-Za-km-z]{40,60})/?(?:p2p-circuit/?)?"
)


@dataclass(frozen=True, slots=True)
class CircuitAddress:
    """A relay and its libp2p peer id (base58). `tls` only with `websocket`."""

    host: str
    port: int
    peer: str
    websocket: bool = False
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `/dns4/relay.example/tcp/4001/p2p/<id>`; behind the port perhaps `/ws`, `/wss`.

        Raises errors.RelayAddressInvalid.
        """
        match = _SHAPE.fullmatch(text.strip())
        if match is None or not 0 < int(match["port"]) < 65536:
            raise errors.RelayAddressInvalid(element=text)
        front = match["front"] or ""
        tls = front in ("/wss", "/tls/ws")
        return cls(match["host"], int(match["port"]), match["peer"], bool(front), tls)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}"


def is_circuit(place: str) -> bool:
    """Whether a relay is named by a multiaddr: then it is a Circuit relay."""
    return place.strip().startswith("/")


async def connect(
    where: CircuitAddress, tls: ssl.SSLContext | None, tasks: trio.Nursery
) -> trio.abc.Stream:
    """A raw stream to a relay; what runs it lives in `tasks`.

    `tls`: None verifies against this machine's CAs. Raises errors.RelayUnreachable,
    RelayCertificate.
    """
    try:
        with trio.fail_after(CONNECT_SECONDS):
            if where.websocket:
                return await _open_websocket(where, tls, tasks)
            return await trio.open_tcp_stream(where.host, where.port)
    except trio.TooSlowError:
        raise errors.RelayUnreachable("No answer.", element=where.name) from None
    except ssl.SSLCertVerificationError as error:
        raise errors.RelayCertificate(error.verify_message, element=where.name) from None
    except (OSError, trio.BrokenResourceError) as error:
        raise errors.RelayUnreachable(f"({error})", element=where.name) from None


async def _open_websocket(
    where: CircuitAddress, tls: ssl.SSLContext | None, tasks: trio.Nursery
) -> trio.abc.Stream:
    import trio_websocket

    try:
        socket = await trio_websocket.connect_websocket(
            tasks, where.host, where.port, "/", use_ssl=(tls or True) if where.tls else False
        )
    except trio_websocket.HandshakeError as error:
        raise errors.RelayUnreachable("It is no WebSocket.", element=where.name) from error
    return WebSocketStream(socket)


class WebSocketStream(trio.abc.Stream):
    """The bytes of a WebSocket's binary messages, without their borders."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._rest = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        from trio_websocket import ConnectionClosed

        try:
            await self._socket.send_message(bytes(data))
        except ConnectionClosed as error:
            raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        from trio_websocket import ConnectionClosed

        while not self._rest:
            try:
                message = await self._socket.get_message()
            except ConnectionClosed:
                return b""
            self._rest = message if isinstance(message, bytes) else message.encode()
        count = max_bytes or len(self._rest)
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    async def aclose(self) -> None:
        await self._socket.aclose()
