"""Who gets in: the checks of a claim, each a function that returns or raises.

The order matters. A node with pinned fleets checks the fleet first, so that somebody with only the
photo learns nothing else: not whether the code is still valid, not whether the node is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pairing import errors, keys
from pairing.peertoken import Token
from pairing.protocol import handshake, messages
from pairing.protocol.callers import Caller
from pairing.protocol.handshake import Transcript
from pairing.protocol.window import ClaimWindow

TOTAL_LIMIT = 32
SOURCE_LIMIT = 4


@dataclass(frozen=True, slots=True)
class Found:
    """The secret that a proof fits, and what follows from it. `spent`: it was valid once."""

    secret: bytes = field(repr=False)
    spent: bool
    answer: bytes
    words: tuple[str, ...]


def may_enter(source: str, waiting: Sequence[str]) -> bool:
    """Whether one more unproved caller fits. A relay is many clients, not one."""
    limit = TOTAL_LIMIT if source.startswith("relay:") else SOURCE_LIMIT
    return len(waiting) < TOTAL_LIMIT and waiting.count(source) < limit


def transcript(
    claim: messages.Claim, proof: messages.Proof, caller: Caller, node_key: bytes
) -> Transcript:
    """What this claim is about; the subject is filled in per secret. Raises errors.BadProof."""
    if handshake.commitment(proof.nonce) != claim.commit:
        raise errors.BadProof("The nonce is not the one that was committed to.")
    return Transcript(
        subject=claim.lease,
        node_key=node_key,
        operator_channel=caller.channel_key,
        operator_key=proof.key,
        operator_nonce=proof.nonce,
        node_nonce=caller.nonce,
        version=claim.version,
    )


def check_operator(
    proof: messages.Proof, claimed: Transcript, fleets: Sequence[keys.PinnedFleet]
) -> bytes:
    """The fleet that vouches for the operator, or `b""` where none is asked for.

    Raises errors.FleetSignatureNeeded, errors.CertificateRevoked, errors.BadProof.
    """
    fleet = _fleet_of(proof, fleets) if fleets else b""
    if not keys.verified(
        proof.key, handshake.CLAIM_DOMAIN, operator_body(claimed), proof.signature
    ):
        raise errors.FleetSignatureNeeded if fleets else errors.BadProof
    return fleet


def operator_body(claimed: Transcript) -> bytes:
    """What the operator's key signs: the transcript without its subject, which proves S."""
    return replace(claimed, subject=b"").digest()


def _fleet_of(proof: messages.Proof, fleets: Sequence[keys.PinnedFleet]) -> bytes:
    shown = proof.certificate
    for fleet in fleets:
        if shown and shown.fleet == fleet.key:
            fleet.check(shown.read(), proof.key)
            return fleet.key
    raise errors.FleetSignatureNeeded


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that a proof may show, and what it is the secret of: a token's or a lease's id."""

    value: bytes = field(repr=False)
    subject: bytes
    spent: bool


def code_secrets(node_key: bytes, window: ClaimWindow) -> list[Secret]:
    """Those of the codes on the screen, then of those that were."""
    fresh = [(secret.value, False) for secret in window.valid()]
    spent = [(secret.value, True) for secret in window.spent()]
    return [Secret(value, Token(node_key, value).id, old) for value, old in fresh + spent]


def check_secret(secrets: Sequence[Secret], proof: messages.Proof, claimed: Transcript) -> Found:
    """The secret that the proof shows. Raises errors.BadProof if it shows none of them."""
    for secret in secrets:
        found = _try(secret, proof, claimed)
        if found:
            return found
    raise errors.BadProof


def _try(secret: Secret, proof: messages.Proof, claimed: Transcript) -> Found | None:
    digest = replace(claimed, subject=secret.subject).digest()
    claim_key = handshake.derive(secret.value, claimed.node_key, "claim")
    if not handshake.same(handshake.operator_mac(claim_key, digest), proof.mac):
        return None
    sas_key = handshake.derive(secret.value, claimed.node_key, "sas")
    return Found(
        secret=secret.value,
        spent=secret.spent,
        answer=handshake.node_mac(claim_key, digest),
        words=handshake.comparison_words(sas_key, digest),
    )
