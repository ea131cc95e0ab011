"""What a config says about meeting: `p2p.relay` and `p2p.mdns`, and the files of their units. Pure.

`p2p.relays` is not here: it names the relays of others, at which this machine waits itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from node.stages.actions import Action, WriteFile
from pairing.config.document import Document

KEY = "p2p"
PORT = 443
RELAY_UNIT, MDNS_UNIT = "kairos-relay.service", "kairos-mdns.service"
OPTIONS = "/etc/kairos-relay.env"
"""Read by the relay's unit. Nothing in it is secret: an access token stays in its file."""
RESOLVED = "/etc/systemd/resolved.conf.d/20-mdns.conf"
"""Read after the image's own, which says that nothing is answered."""
SERVICES = "/etc/systemd/dnssd"
FOLDER = "/var/lib/kairos-relay"
"""The relay's certificate: kept over restarts, for clients pin it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`relay`: be one, at `port`, under these further `names`. `mdns`: answer to HOSTNAME.local."""

    relay: bool = False
    port: int = PORT
    names: Sequence[str] = ()
    access_token_file: str = ""
    mdns: bool = False

    @property
    def units(self) -> Sequence[str]:
        """The units to be started."""
        wanted = ((self.relay, RELAY_UNIT), (self.mdns, MDNS_UNIT))
        return tuple(unit for want, unit in wanted if want)

    def files(self) -> Sequence[Action]:
        """What the units read."""
        return tuple(self._files())

    def _files(self) -> Iterator[Action]:
        if self.relay:
            words = ["--listen", str(self.port), *(f"--name={name}" for name in self.names)]
            if self.access_token_file:
                words.append(f"--access-token-file={self.access_token_file}")
            yield _file(OPTIONS, f"KAIROS_RELAY_OPTIONS={' '.join(words)}\n")
        if self.mdns:
            yield _file(RESOLVED, "[Resolve]\nMulticastDNS=yes\n")
            yield _file(f"{SERVICES}/ssh.dnssd", _service("_ssh._tcp", 22))
            if self.relay:
                yield _file(f"{SERVICES}/relay.dnssd", _service("_kairos-relay._tcp", self.port))


def settings(config: Document) -> Settings:
    """What a valid config says."""
    relay: Any = config.get(KEY, "relay")
    relay = relay if isinstance(relay, dict) else {}
    return Settings(
        relay=relay.get("enabled") is True,
        port=int(relay.get("port", PORT)),
        names=tuple(map(str, relay.get("names", ()))),
        access_token_file=str(relay.get("access_token_file", "")),
        mdns=config.get(KEY, "mdns") is True,
    )


def _file(path: str, text: str) -> WriteFile:
    return WriteFile(path=path, content=text.encode())


def _service(kind: str, port: int) -> str:
    """systemd.dnssd(5): `%H` is the host name."""
    return f"[Service]\nName=%H\nType={kind}\nPort={port}\n"
