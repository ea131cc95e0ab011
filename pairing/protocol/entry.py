"""An operator's way into a lease, one connection long: claim, proof, and the node's own proof."""

from __future__ import annotations

from dataclasses import dataclass, field

from pairing import errors
from pairing.peertoken import Token
from pairing.protocol import admission, handshake, messages
from pairing.protocol.terms import Identity, KnownLease


@dataclass(slots=True)
class Entry:
    """`key` is the node's (its channel proved it), `channel_key` this end's on that channel.

    `subject` is the token's id or the lease's, `secret` what belongs to it; `nonce` is fresh.
    """

    identity: Identity
    key: bytes
    channel_key: bytes
    subject: bytes
    secret: bytes = field(repr=False)
    nonce: bytes
    lease: bytes = b""
    """The lease that is resumed; empty for a first claim."""
    digest: bytes = b""

    def claim(self) -> messages.Claim:
        """The first word."""
        return messages.Claim(
            version=messages.VERSION,
            commit=handshake.commitment(self.nonce),
            lease=self.lease,
        )

    def prove(self, challenge: messages.Challenge, since: int) -> messages.Proof:
        """The answer to the node's nonce. Raises errors.FleetSignatureNeeded."""
        if challenge.fleet and self.identity.certificate is None:
            raise errors.FleetSignatureNeeded
        key = self.identity.key
        claimed = handshake.Transcript(
            subject=self.subject,
            node_key=self.key,
            operator_channel=self.channel_key,
            operator_key=key.public,
            operator_nonce=self.nonce,
            node_nonce=challenge.nonce,
            version=messages.VERSION,
        )
        self.digest = claimed.digest()
        return messages.Proof(
            nonce=self.nonce,
            mac=handshake.operator_mac(self._derived("claim"), self.digest),
            key=key.public,
            signature=key.sign(handshake.CLAIM_DOMAIN, admission.operator_body(claimed)),
            certificate=self.identity.shown(),
            since=since,
        )

    def accept(self, lease: messages.Lease) -> tuple[str, ...]:
        """The words to compare. Raises errors.BadProof if the node does not know the secret."""
        expected = handshake.node_mac(self._derived("claim"), self.digest) if self.digest else b""
        if not expected or not handshake.same(lease.mac, expected):
            raise errors.BadProof("The node did not prove that it knows the code.")
        return handshake.comparison_words(self._derived("sas"), self.digest)

    def _derived(self, purpose: str) -> bytes:
        return handshake.derive(self.secret, self.key, purpose)


def enter(
    identity: Identity,
    token: Token,
    known: KnownLease | None,
    node_key: bytes,
    channel_key: bytes,
    nonce: bytes,
) -> Entry:
    """Into the lease that is known, also of a locked node (by `node_key`), or by the token."""
    key, subject, secret = token.key, token.id, token.secret
    if known is not None:
        subject, secret = known.lease, known.secret
        if known.report is not None and known.report.key == node_key:
            key, secret = node_key, known.locked_secret()
    lease = known.lease if known else b""
    return Entry(identity, key, channel_key, subject, secret, nonce, lease)
