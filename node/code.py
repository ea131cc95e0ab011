"""What code the screen shows: our token, Kairos' network token, or one text that is both.

Kairos' token is drawn in place of the one-time secret and rotates with it: the secret of our token
is derived from it, so both live and die together.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from node.settings import Form
from pairing import peertoken
from pairing.peertoken import Token
from pairing.protocol.node import NodeMachine
from pairing.transport.base import Address, Reachable

if TYPE_CHECKING:
    from pairing.edgevpn.nettoken import NetworkToken

DRAWN = 16
"""Network tokens that are remembered: more than the secrets that can be valid at once."""


@dataclass(slots=True)
class Code:
    """The codes of one boot, in the form that the settings say."""

    form: Form = Form.NATIVE
    _drawn: dict[bytes, NetworkToken] = field(default_factory=dict, repr=False)

    @property
    def is_weak(self) -> bool:
        """Whoever has the photo controls the machine: Kairos' protocol asks for no more."""
        return self.form is not Form.NATIVE

    def draw(self, size: int) -> bytes:
        """A new one-time secret of `size` bytes, and the network token that it comes from."""
        if self.form is Form.NATIVE:
            return secrets.token_bytes(size)
        from pairing.edgevpn import nettoken
        from pairing.edgevpn.native import secret_of

        token = nettoken.fresh(secrets.token_bytes)
        secret = secret_of(token)
        self._drawn[secret] = token
        for old in list(self._drawn)[:-DRAWN]:
            del self._drawn[old]
        return secret

    def valid(self, machine: NodeMachine) -> tuple[NetworkToken, ...]:
        """The network tokens that may be used now, newest first."""
        drawn = (self._drawn.get(secret.value) for secret in machine.window.valid())
        return tuple(token for token in drawn if token is not None)

    def text(self, machine: NodeMachine, hints: Token) -> str:
        """What the QR code says, with the hints known by now."""
        if self.form is Form.NATIVE:
            return self.native_text(machine, hints)
        from pairing.edgevpn import nettoken
        from pairing.edgevpn.native import with_native

        token = self._drawn[machine.window.current.value]
        if self.form is Form.BOTH:
            token = with_native(token, machine.public, hints.ipv4)
        return nettoken.to_text(token)

    def smaller_text(self, machine: NodeMachine, hints: Token) -> str:
        """What a screen shows that is too small for it; empty if there is nothing smaller."""
        return self.native_text(machine, hints) if self.form is Form.BOTH else ""

    def native_text(self, machine: NodeMachine, hints: Token) -> str:
        """Our own token."""
        return peertoken.to_text(machine.token(hints))


def hints(reachable: Reachable, relays: Sequence[str]) -> Token:
    """Where the node is: one IPv4 address, one relay; more would make the code larger."""
    named = reachable.relays_up or relays
    relay = _relay_id(named[0]) if named else b""
    return Token(b"", b"", ipv4=_ipv4(reachable.addresses), relay=relay)


def _relay_id(relay: str) -> bytes:
    from pairing.transport.relay import relay_id  # TLS and all: only where a relay is used

    return relay_id(relay)


def _ipv4(addresses: Sequence[Address]) -> Address | None:
    return next((a for a in addresses if _is_ipv4(a.host)), None)


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
