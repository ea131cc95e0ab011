"""What `kairos-fleet mesh` does in a network: read it, or write one value to it."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import trio

from cli.sources import shown
from pairing import errors
from pairing.config.load import HEADERS, load
from pairing.edgevpn import mesh, nettoken
from pairing.edgevpn.gossip import KairosNetwork
from pairing.edgevpn.kubeconfig import cleaned
from pairing.edgevpn.mesh import Machine, Member
from pairing.edgevpn.nettoken import NetworkToken
from pairing.edgevpn.visit import Visit, visiting
from pairing.report import Lines

T = TypeVar("T")
FILE_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RoleSet:
    """What a node was before, and whether anybody in the network has this UUID."""

    before: str
    known: bool


@dataclass(slots=True, kw_only=True)
class MeshRun:
    """`seconds`: for hearing the network, and again for a confirmation. `address`: of --server."""

    token: NetworkToken = field(repr=False)
    network: KairosNetwork
    seconds: float
    network_id: str = mesh.NETWORK_ID
    unix: Callable[[], float] = time.time
    talk: Lines = field(default_factory=lambda: Lines(sys.stderr, sys.stdout))

    def kubeconfig(self, address: str = "") -> bytes:
        """The control plane's, with its address put in. Raises errors.KnownError."""

        async def read(visit: Visit) -> bytes:
            found = await visit.find(
                lambda storage: mesh.kubeconfig(storage, self.network_id), self.seconds
            )
            there = address or await self._address(visit)
            return cleaned(found, there)

        return self._visit(read)

    async def _address(self, visit: Visit) -> str:
        """Whoever wrote a kubeconfig writes its address next; some networks have none."""

        def look(storage: mesh.Storage) -> str | None:
            return mesh.control_plane_address(storage, self.network_id) or None

        try:
            return await visit.find(look, min(self.seconds, 10.0))
        except errors.MeshHoldsNone:
            return ""

    def members(self) -> tuple[Member, ...]:
        """Every node and its role. Raises errors.KnownError."""

        async def read(visit: Visit) -> tuple[Member, ...]:
            return mesh.members(await visit.settled(self.seconds), self.network_id)

        return self._visit(read)

    def machines(self) -> tuple[Machine, ...]:
        """Every machine of the VPN. Raises errors.KnownError."""

        async def read(visit: Visit) -> tuple[Machine, ...]:
            return mesh.machines(await visit.settled(self.seconds))

        return self._visit(read)

    def set_role(self, uuid: str, role: str) -> RoleSet:
        """Returns once another member holds it. Raises errors.KnownError."""
        setting = mesh.role_entry(uuid, role, self.network_id)

        async def write(visit: Visit) -> RoleSet:
            known = mesh.members(await visit.settled(self.seconds), self.network_id)
            member = next((m for m in known if m.uuid == uuid), None)
            await visit.write(setting, self.seconds)
            return RoleSet(
                before=member.role if member else "",
                known=member is not None and member.seen is not None,
            )

        return self._visit(write)

    def _visit(self, do: Callable[[Visit], Awaitable[T]]) -> T:
        async def run() -> T:
            async with visiting(self.network, self.token, unix=self.unix) as visit:
                self.talk.say("network", "looking for its members")
                return await do(visit)

        try:
            return trio.run(run)
        except* errors.KnownError as group:
            raise errors.first_known(group) from None
        except* KeyboardInterrupt:
            raise errors.Interrupted("What was written before stays written.") from None


def token_from(source: str, warn: Callable[[str], None]) -> NetworkToken:
    """The network token in a file (bare, or a config's p2p.network_token), `-` or `source` itself.

    Raises errors.NetworkTokenInvalid, errors.MeshTokenMissing, errors.ConfigError.
    """
    if nettoken.looks_like(source):
        warn("a token as argument is visible to other users of this machine; better use a file")
        return nettoken.parse(source)
    try:
        if source == "-":
            data = sys.stdin.buffer.read(FILE_LIMIT)
        else:
            with Path(source).open("rb") as file:
                data = file.read(FILE_LIMIT)
    except (OSError, ValueError) as wrong:
        said = getattr(wrong, "strerror", None) or "bad name"
        raise errors.MeshTokenMissing(f"({said})", element=shown(source)) from None
    return nettoken.parse(_token_text(data, source))


def _token_text(data: bytes, source: str) -> str:
    first = data.split(b"\n", 1)[0].strip()
    if first.decode("ascii", "replace") in HEADERS:
        found = load(data, source).get("p2p", "network_token")
        if not isinstance(found, str):
            raise errors.MeshTokenMissing(
                "(the config has no p2p.network_token)", element=source[:80]
            )
        return found
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise errors.MeshTokenMissing("(it is no text)", element=source[:80]) from None


def edgevpn(bootstrap: Sequence[str], mdns: bool) -> KairosNetwork:
    """The real network. Raises errors.TransportMissing, errors.UsageError."""
    from pairing.transport.p2p import EdgeVpn

    if not (mdns or bootstrap):
        raise errors.UsageError("Without mDNS, --bootstrap must name a peer to ask.")
    return EdgeVpn(mdns=mdns, bootstrap=bootstrap)
