"""The report key: what a node is known by while its disk does not open.

The node's own key lies in the encrypted volume. The private half of this one lies readable beside
the boot files, so whoever has the disk has it: it can say "locked" and receive what opens the disk
sealed to it, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pairing import keys
from pairing.protocol import handshake, messages

SEED_SIZE = 32


@dataclass(frozen=True, slots=True)
class PrivateReportKey:
    """Both private halves, made from one seed of `SEED_SIZE` bytes."""

    seed: bytes = field(repr=False)

    @property
    def signing(self) -> keys.SigningKey:
        """Proves the locked node and signs its word."""
        return keys.SigningKey(self._half("sign"))

    @property
    def sealing(self) -> keys.EscrowKey:
        """Opens what an operator sends to unlock it."""
        return keys.EscrowKey(self._half("seal"))

    def shown(self, node: keys.SigningKey, lease: bytes) -> messages.ShownReportKey:
        """The public halves, vouched for by the node's own key."""
        record = messages.ReportKey(
            node=node.public, lease=lease, key=self.signing.public, seal=self.sealing.public
        )
        body = handshake.signed_body(record)
        return messages.ShownReportKey(
            record=record, signature=node.sign(handshake.REPORT_KEY_DOMAIN, body)
        )

    def _half(self, purpose: str) -> bytes:
        info = f"report-key-{purpose}".encode("ascii")
        return HKDF(SHA256(), 32, salt=b"EP1", info=info).derive(self.seed)
