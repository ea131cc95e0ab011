"""A relay as a program: it listens, says where, and obeys signals. `kairos-fleet relay` runs it at
the fleet's office, `kairos-node relay` on an installed machine.

SIGTERM ends it within 5 seconds, SIGHUP reads the certificate again.
"""

from __future__ import annotations

import logging
import resource
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from pairing import errors
from pairing.transport.forwarder import Forwarder
from pairing.transport.relay_protocol import Limits
from pairing.transport.relay_tls import Certificate

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where it listens (`host` empty: everywhere; `port` 0: any) and whom it serves.

    Without a `certificate` it speaks no TLS: for a reverse proxy on the same machine. `listening`
    is called once it is reachable.
    """

    host: str
    port: int
    certificate: Certificate | None
    limits: Limits = field(default_factory=Limits)
    access_token: str = ""
    proxy_protocol: bool = False
    listening: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Until a signal. Raises errors.UsageError (it cannot listen), errors.RelayCertificate."""
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        _raise_file_limit()
        tls = self.certificate.context() if self.certificate else None
        forwarder = Forwarder(
            self.limits,
            tls=tls,
            access_token=self.access_token,
            proxy_protocol=self.proxy_protocol,
        )
        trio.run(self._serve, forwarder, tls)

    async def _serve(self, forwarder: Forwarder, tls: ssl.SSLContext | None) -> None:
        host, port = self.host or None, self.port
        try:
            listeners = await trio.open_tcp_listeners(port, host=host, backlog=1024)
        except OSError as problem:
            detail = f"Cannot listen there ({problem})."
            raise errors.UsageError(detail, element=f"{self.host}:{port}") from None
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(forwarder.serve, listeners)
                self._say_hello(listeners)
                self.listening()
                async for number in signals:
                    if number != signal.SIGHUP:
                        break
                    self._reload(tls)
                _log.info("stopping")
                forwarder.drain()

    def _say_hello(self, listeners: list[trio.SocketListener]) -> None:
        for listener in listeners:
            host, port = listener.socket.getsockname()[:2]
            _log.info("listening on %s", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        if self.certificate is not None:
            _log.info("pin: #sha256=%s", self.certificate.pin().hex())

    def _reload(self, tls: ssl.SSLContext | None) -> None:
        if self.certificate is None or tls is None:
            return
        try:
            self.certificate.load_into(tls)
            _log.info("certificate read again")
        except errors.RelayCertificate as problem:
            _log.error("%s The old one stays.", problem)


def _raise_file_limit() -> None:
    """A waiting node is an open file: take what the system allows us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
