"""Where two ends that know no address of each other may meet: on the LAN and at relays."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import trio

from pairing.transport import relay, relay_tls
from pairing.transport.base import Target
from pairing.transport.multicast import PORT


@dataclass(frozen=True, slots=True)
class Mdns:
    """How mDNS is spoken; other values than these are for tests on one machine."""

    loopback: bool = False
    port: int = PORT


@dataclass(frozen=True, slots=True)
class Meeting:
    """Settings of mDNS and of the connections to relays.

    `proxy`: URL of an HTTP proxy for relays, None takes it from the environment, "" uses none.
    `tls`: None verifies relays against this machine's CAs. `access_token`: for relays that ask.
    """

    mdns: Mdns = field(default_factory=Mdns)
    proxy: str | None = None
    tls: ssl.SSLContext | None = None
    access_token: str = field(default="", repr=False)

    async def call(self, place: str, target: Target) -> trio.abc.Stream:
        """A raw stream to a target through a relay. Raises errors.KnownError."""
        return await relay.call(
            relay.RelayAddress.parse(place),
            target.key,
            target.label,
            proxy=self.proxy,
            tls=self.tls,
            access_token=self.access_token,
        )

    async def wait(
        self,
        place: str,
        seed: bytes,
        label: bytes,
        handler: relay.Handler,
        report: relay.Report,
    ) -> None:
        """Wait at a relay as the owner of this key until cancelled."""
        await relay.wait(
            relay.RelayAddress.parse(place),
            seed,
            label,
            handler,
            proxy=self.proxy,
            tls=self.tls,
            access_token=self.access_token,
            report=report,
        )


def meeting_from_files(ca_file: Path | None, access_token_file: Path | None) -> Meeting:
    """The settings that commands take as files. Raises errors.KnownError naming the file."""
    tls = relay_tls.client_context(ca_file) if ca_file else None
    return Meeting(tls=tls, access_token=relay.read_access_token(access_token_file))


def relay_name(place: str) -> str:
    """A relay's name for people: its address without a pin."""
    return place.strip().partition("#")[0]
