"""Exit 6: refused, or not who it should be."""

from __future__ import annotations

from pairing.errors.base import ExitCode, KnownError


class NotAuthenticError(KnownError):
    """The other end is not who it should be, or refused."""

    number, slug, exit_code = 500, "not-authentic", ExitCode.NOT_AUTHENTIC
    hint = "Stop if you did not expect this; take a fresh photo of the machine's own screen."


class WrongKey(NotAuthenticError):
    """The machine at this address does not hold the key shown in the photo."""

    number, slug = 501, "wrong-key"


class TokenSpent(NotAuthenticError):
    """This code was already used or has expired."""

    number, slug = 502, "token-spent"
    hint = "Ask for a new photo of the screen."


class Taken(NotAuthenticError):
    """Another operator has already claimed this node."""

    number, slug = 503, "taken"
    hint = (
        "Compare the fingerprint with your colleagues'. If nobody knows it, switch the machine off."
    )


class FleetSignatureNeeded(NotAuthenticError):
    """This node belongs to a fleet and accepts only that fleet's operators."""

    number, slug = 504, "fleet-only"
    hint = "Use a station key with a certificate of this fleet: kairos-fleet keys --help."


class CertificateRevoked(NotAuthenticError):
    """This station's certificate has been revoked by its fleet."""

    number, slug = 505, "certificate-revoked"
    hint = "Ask the holder of the fleet key for a new certificate."


class BadProof(NotAuthenticError):
    """The proof of having seen the code does not match."""

    number, slug = 506, "bad-proof"


class Busy(NotAuthenticError):
    """The node is busy with too many callers."""

    number, slug, retryable = 507, "busy", True
    hint = "Try again in a minute."


class ProtocolBroken(NotAuthenticError):
    """The other end sent something that the protocol does not allow."""

    number, slug = 508, "protocol"
    hint = "Check that both ends have the same version; otherwise please report it."


class PeerSaidUnknown(NotAuthenticError):
    """The other end stopped with a reason that this version does not know."""

    number, slug = 509, "unknown-reason"
    hint = "Update this program."


class WordsDiffer(NotAuthenticError):
    """The words on the two screens are not the same."""

    number, slug = 510, "words-differ"
    hint = "Do not go on: somebody may be in between. Restart the machine and take a new photo."


class EkUnproved(NotAuthenticError):
    """The machine's TPM did not prove the endorsement key that the config expects."""

    number, slug = 520, "ek-unproved"
    hint = "Look at the machine. Without `ek_hash` in the config's `expect` this is not asked for."


class EkUncertified(NotAuthenticError):
    """No maker that you trust has certified the endorsement key of the machine's TPM."""

    number, slug = 521, "ek-uncertified"
    hint = "Check the file given to --ek-ca. A machine without a real TPM has no such certificate."


class RescueRefused(NotAuthenticError):
    """This node opens no terminal to this operator."""

    number, slug = 522, "rescue-refused"
    hint = "Its owner, a station of its fleet, or an image with a pinned fleet can: docs/how-to."


class AuditBroken(NotAuthenticError):
    """The audit log is not as it was written."""

    number, slug = 523, "audit-broken"
    hint = "Compare it with a copy. Set it aside under another name to begin a new one."
