"""Both ends' way through a relay: a node waits there, an operator calls.

What comes out is a plain pipe of bytes between the two; the transport puts Noise inside. Streams
raise trio's own exceptions once they are connected; before, every failure is a KnownError.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Self

import trio

from pairing import errors
from pairing.keys import SigningKey
from pairing.transport import http_proxy, relay_protocol, relay_tls
from pairing.transport.base import Address
from pairing.transport.lines import LineStream
from pairing.transport.relay_protocol import Call, Reason, Wait

DEFAULT_PORT = 443
ID_SIZE = 4
CONNECT_SECONDS = 20.0
"""For name, TCP, proxy, TLS and the relay's answer together."""
BUSY_SECONDS = 5.0
"""How long a call goes on trying while the node's line is busy: a node is back at once."""
_FIRST_PAUSE = 0.5
"""Seconds between two attempts to wait; doubled up to `_longest_pause`, shortened by chance."""
_STEADY_SECONDS = 10.0
_LONGEST_PING = 300
_CIRCUITS = 8
"""Circuits that one `wait` serves at once."""
_CALLS_PER_SECOND, _CALLS_BURST = 2.0, 20.0

Handler = Callable[[trio.abc.Stream], Awaitable[None]]
Report = Callable[[errors.KnownError | None], None]
"""Told None when the node waits at the relay, and why whenever it does not."""


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Where a relay listens. `pin`: SHA-256 of its public key; `plain`: no TLS (loopback only)."""

    host: str
    port: int = DEFAULT_PORT
    pin: bytes = b""
    plain: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `relay.example`, `relay.example:8443`, `[2001:db8::1]:443`, each perhaps with
        `#sha256=<64 hex>`; for tests `tcp://127.0.0.1:7000`.

        Raises errors.RelayAddressInvalid.
        """
        place, marked, pin = text.strip().partition("#")
        plain = place.startswith("tcp://")
        host, port = _split(text, place.removeprefix("tcp://"))
        if plain and host not in ("127.0.0.1", "::1", "localhost"):
            raise errors.RelayAddressInvalid("Without TLS only on this machine.", element=text)
        return cls(host, port, _pin(text, pin) if marked else b"", plain)

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)

    def __str__(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORT and not self.plain else f":{self.port}"
        pin = f"#sha256={self.pin.hex()}" if self.pin else ""
        return f"{'tcp://' if self.plain else ''}{name}{port}{pin}"


def _split(text: str, place: str) -> tuple[str, int]:
    if place.startswith("["):
        host, closed, rest = place[1:].partition("]")
        good = bool(closed) and host.count(":") >= 2 and rest[:1] in ("", ":") and rest != ":"
        port = rest[1:]
    else:
        host, colon, port = place.partition(":")
        good = bool(host) and bool(port or not colon)
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    if not port:
        number = DEFAULT_PORT
    allowed = all(letter.isalnum() or letter in ".-_:%" for letter in host)
    if not (good and allowed and host.isascii() and 0 < number < 65536 and len(host) < 254):
        raise errors.RelayAddressInvalid(element=text)
    return host.lower(), number


def _pin(text: str, pin: str) -> bytes:
    digest = re.fullmatch(r"sha256=([0-9A-Fa-f]{64})", pin)
    if digest is None:
        detail = "Behind # belongs sha256= and 64 hex digits."
        raise errors.RelayAddressInvalid(detail, element=text)
    return bytes.fromhex(digest[1])


def read_access_token(path: Path | None) -> str:
    """The token in a file that closed relays ask for; empty without a file.

    Raises errors.UsageError if it cannot be read or is none.
    """
    if path is None:
        return ""
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise errors.UsageError(f"({problem})", element=str(path)) from None
    if not relay_protocol.is_access_token(token):
        detail = "An access token has 16 to 64 letters, digits, - or _."
        raise errors.UsageError(detail, element=str(path))
    return token


def relay_id(text: str) -> bytes:
    """The 4 bytes that name a relay in a token. A pin does not count; a multiaddr stays as it is.

    Raises errors.RelayAddressInvalid.
    """
    name = text.strip()
    if not name.startswith("/"):
        name = str(RelayAddress.parse(name).address)
    return hashlib.sha256(b"EP1-relay-id\0" + name.encode()).digest()[:ID_SIZE]


def find_relay(wanted: bytes, relays: Iterable[str]) -> str | None:
    """The relay among `relays` that a token's relay id means."""
    return next((text for text in relays if relay_id(text) == wanted), None)


async def call(
    relay: RelayAddress,
    key: bytes,
    label: bytes,
    *,
    proxy: str | None = None,
    tls: ssl.SSLContext | None = None,
    access_token: str = "",
) -> trio.abc.Stream:
    """A pipe to the node with this key that waits at the relay under this label.

    `proxy`: URL of an HTTP proxy; None takes HTTPS_PROXY and NO_PROXY, "" goes directly. `tls`:
    None verifies against this machine's CAs. Ends within CONNECT_SECONDS + BUSY_SECONDS. Raises
    errors.RelayNobody, RelayBusy, RelayFull, RelayAccess, RelayRefused, RelayCertificate,
    RelayUnreachable, ProxyRefused.
    """
    hello = Call(relay_protocol.address(key, label), access_token)
    give_up, pause = trio.current_time() + BUSY_SECONDS, 0.05
    while True:
        try:
            async with _greeted(_Way(relay, proxy, tls), hello) as lines:
                _expect("ok", await lines.receive_line())
                return lines
        except errors.RelayBusy:
            if trio.current_time() >= give_up:
                raise
            await trio.sleep(pause)
            pause = min(2 * pause, 1.0)


async def wait(
    relay: RelayAddress,
    private_key_seed: bytes,
    label: bytes,
    handler: Handler,
    *,
    proxy: str | None = None,
    tls: ssl.SSLContext | None = None,
    access_token: str = "",
    report: Report = lambda _: None,
) -> NoReturn:
    """Wait at the relay for ever; each call runs `handler` with a pipe, which is closed after it.

    Comes back by itself, within seconds, whatever happens to the relay or the network; `report`
    hears of it. The next call is waited for while a handler runs (at most 8 at once). Cancel to
    stop; handlers are cancelled with it. Raises only what `handler` raises, in a group.
    """
    way, waiter = _Way(relay, proxy, tls), _Waiter(private_key_seed, label, access_token)
    served = trio.CapacityLimiter(_CIRCUITS)
    # A relay that makes up calls without end must not keep this node busy without end.
    calls = relay_protocol.Bucket(_CALLS_PER_SECOND, _CALLS_BURST, trio.current_time())
    pause = _FIRST_PAUSE
    async with trio.open_nursery() as nursery:
        while True:
            began = trio.current_time()
            try:
                lines, ping_seconds = await _register(way, waiter)
                report(None)
                await _answer(lines, ping_seconds, way)
                await nursery.start(_serve, handler, lines, served)
                await trio.sleep(calls.take(1, trio.current_time()))
            except errors.KnownError as problem:
                report(problem)
                if trio.current_time() - began > _STEADY_SECONDS:
                    pause = _FIRST_PAUSE
                await trio.sleep(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, _longest_pause(problem))


def _longest_pause(problem: errors.KnownError) -> float:
    said_no = (errors.RelayRefused, errors.RelayFull, errors.RelayAccess, errors.RelayCertificate)
    return 30.0 if isinstance(problem, said_no) else 5.0


async def _serve(
    handler: Handler,
    stream: trio.abc.Stream,
    served: trio.CapacityLimiter,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    try:
        async with served:
            task_status.started()
            await handler(stream)
    finally:
        with trio.move_on_after(1, shield=True):
            await stream.aclose()


@dataclass(frozen=True, slots=True)
class _Way:
    """Where the relay is and how to get there from here."""

    relay: RelayAddress
    proxy: str | None
    tls: ssl.SSLContext | None

    async def open(self) -> LineStream:
        """A connection to the relay: TCP, proxy, TLS."""
        target = self.relay.address
        through = self._through(target)
        first = through.address if through else target
        tcp: trio.abc.Stream = await trio.open_tcp_stream(first.host, first.port)
        try:
            if through:
                await http_proxy.connect(tcp, through, target)
            return LineStream(tcp if self.relay.plain else await self._secure(tcp))
        except BaseException:
            await trio.aclose_forcefully(tcp)
            raise

    def _through(self, target: Address) -> http_proxy.HttpProxy | None:
        if self.relay.plain or self.proxy == "":
            return None
        if self.proxy is None:
            return http_proxy.for_host(target, os.environ)
        return http_proxy.parse(self.proxy)

    async def _secure(self, tcp: trio.abc.Stream) -> trio.abc.Stream:
        pin = self.relay.pin
        context = relay_tls.pinned_context() if pin else self.tls or relay_tls.client_context()
        secured = trio.SSLStream(
            tcp, context, server_hostname=self.relay.host, https_compatible=True
        )
        await secured.do_handshake()
        if pin:
            relay_tls.check_pin(secured.getpeercert(binary_form=True) or b"", pin)
        return secured


@dataclass(frozen=True, slots=True)
class _Waiter:
    """Who waits: the node's private key, the label, the relay's access token."""

    seed: bytes = field(repr=False)
    label: bytes
    access_token: str = field(repr=False)

    @property
    def hello(self) -> Wait:
        return Wait(SigningKey(self.seed).public, self.label, self.access_token)


async def _register(way: _Way, waiter: _Waiter) -> tuple[LineStream, float]:
    """A connection that waits, and how many seconds apart the relay pings."""
    hello = waiter.hello
    async with _greeted(way, hello) as lines:
        nonce = bytes.fromhex(_expect("nonce", await lines.receive_line()))
        if len(nonce) != relay_protocol.NONCE_SIZE:
            raise ValueError("nonce")
        signature = relay_protocol.proof(waiter.seed, nonce, hello.address)
        await lines.send_line(f"proof {signature.hex()}")
        ping_seconds = int(_expect("waiting", await lines.receive_line()))
        return lines, min(max(ping_seconds, 1), _LONGEST_PING)


async def _answer(lines: LineStream, ping_seconds: float, way: _Way) -> None:
    """Answer pings until a call comes, and accept it. Two missed pings: the relay is gone."""
    async with _guarded(lines, way):
        while True:
            with trio.fail_after(2.5 * ping_seconds):
                line = await lines.receive_line()
            with trio.fail_after(ping_seconds):
                if line == "call":
                    await lines.send_line("accept")
                    return
                _expect("ping", line)
                await lines.send_line("pong")


@contextlib.asynccontextmanager
async def _greeted(way: _Way, hello: Wait | Call) -> AsyncIterator[LineStream]:
    """A connection that said its first line; the deadline holds for the body too."""
    with _named(way), trio.fail_after(CONNECT_SECONDS):
        lines = await way.open()
        async with _guarded(lines, way):
            await lines.send_line(hello.line())
            yield lines


@contextlib.asynccontextmanager
async def _guarded(lines: LineStream, way: _Way) -> AsyncIterator[None]:
    """What goes wrong gets its name and ends the connection."""
    try:
        with _named(way):
            yield
    except BaseException:
        await trio.aclose_forcefully(lines)
        raise


@contextlib.contextmanager
def _named(way: _Way) -> Iterator[None]:
    relay = str(way.relay.address)
    try:
        yield
    except trio.TooSlowError:
        raise errors.RelayUnreachable("It did not answer in time.", element=relay) from None
    except (trio.EndOfChannel, trio.BrokenResourceError, OSError) as problem:
        cause = problem.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = relay_tls.why_not_trusted(cause)
            raise errors.RelayCertificate(detail, element=relay) from None
        raise errors.RelayUnreachable(_why(problem), element=relay) from None
    except relay_protocol.Refused as refused:
        error, detail = _REFUSALS.get(refused.reason, (errors.RelayRefused, ""))
        raise error(detail, element=relay) from None
    except ValueError:
        detail = "What answers there is not a relay of this kind."
        raise errors.RelayRefused(detail, element=relay) from None


def _why(problem: Exception) -> str:
    if isinstance(problem, OSError):
        return f"({problem.strerror or problem})"
    return f"({problem.__cause__})" if problem.__cause__ else "It closed the connection."


_REFUSALS: Mapping[str, tuple[type[errors.KnownError], str]] = {
    Reason.NOBODY: (errors.RelayNobody, ""),
    Reason.BUSY: (errors.RelayBusy, ""),
    Reason.FULL: (errors.RelayFull, ""),
    Reason.LIMIT: (errors.RelayFull, "There are too many connections from this network."),
    Reason.TOKEN: (errors.RelayAccess, ""),
    Reason.PROOF: (errors.RelayRefused, "It did not believe this node's signature."),
    Reason.VERSION: (errors.RelayRefused, "It speaks another version of the protocol."),
    Reason.REPLACED: (errors.RelayRefused, "Another process waits with the same key."),
    Reason.DRAIN: (errors.RelayUnreachable, "It is stopping."),
}


def _expect(word: str, line: str) -> str:
    """What follows `word` in a line of the relay. Raises Refused, or ValueError."""
    said, _, rest = line.partition(" ")
    if said == "no":
        raise relay_protocol.Refused(rest)
    if said != word:
        raise ValueError(f"{word} was expected")
    return rest
