"""What an operator makes of a node's endorsement key: it counts once the TPM has proved it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairing import ekcertificate, errors, tpmkeys
from pairing.config import Document
from pairing.ekcertificate import Maker
from pairing.facts import Facts
from pairing.protocol.tpmproof import EkProof

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

FILE_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EkMakers:
    """Makers of TPMs that we trust, from a file."""

    path: str
    certificates: Sequence[Certificate] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsed:
    """A machine's facts with its endorsement key only if it is proved, and what was found out.

    `why`: why it is not proved. `uncertified`: why no maker vouches for it, where it was asked.
    """

    facts: Facts = field(default_factory=Facts)
    proved: bool = False
    why: str = ""
    maker: Maker | None = None
    uncertified: str = ""

    @property
    def text(self) -> list[str]:
        """Lines for people; none for a machine without TPM."""
        if self.facts.tpm is None:
            return []
        if not self.proved:
            return [f"TPM key   not proved: {self.why}"]
        vouched = f", certified by {self.maker.issuer}" if self.maker else ""
        return [f"TPM key   proved by credential activation{vouched}"]

    def to_json(self) -> dict[str, Any]:
        """Ready for `json.dumps`."""
        return {
            "proved": self.proved,
            "why": self.why,
            "maker": self.maker.issuer if self.maker else "",
            "chain": self.maker.chain if self.maker else "",
            "uncertified": self.uncertified,
        }


def read_makers(path: str | None) -> EkMakers | None:
    """The file given to --ek-ca. Raises errors.UsageError."""
    if path is None:
        return None
    try:
        with Path(path).open("rb") as file:
            return EkMakers(path, ekcertificate.load_makers(file.read(FILE_LIMIT)))
    except OSError as wrong:
        raise errors.UsageError(f"({wrong.strerror})", element=path) from None
    except ValueError:
        raise errors.UsageError("It holds no CA certificates (PEM).", element=path) from None


def endorsed(facts: Facts, proof: EkProof | None, makers: EkMakers | None, now: float) -> Endorsed:
    """What counts of a machine's word about its TPM. `now` in Unix seconds."""
    if facts.tpm is None:
        return Endorsed(facts=facts, why="it has no TPM", uncertified="it has no TPM")
    if proof is None or not proof.proved:
        why = proof.why if proof else "it was not asked"
        unread = replace(facts, tpm=replace(facts.tpm, ek_hash=""))
        return Endorsed(facts=unread, why=why, uncertified="its key is not proved")
    proved = replace(facts, tpm=replace(facts.tpm, ek_hash=proof.ek_hash))
    if makers is None:
        return Endorsed(facts=proved, proved=True)
    key = tpmkeys.read_endorsement(proof.endorsement)
    try:
        maker = ekcertificate.check_certificate(proof.certificate, key, makers.certificates, now)
    except ValueError as wrong:
        return Endorsed(facts=proved, proved=True, uncertified=str(wrong))
    return Endorsed(facts=proved, proved=True, maker=maker)


def require_expected(document: Document, found: Endorsed, makers: EkMakers | None) -> None:
    """Raises errors.EkUnproved or errors.EkUncertified if the operator relies on what is missing.

    Whether the key is the expected one is judged with the other expectations.
    """
    if document.get("expect", "ek_hash") is not None and not found.proved:
        raise errors.EkUnproved(f"({found.why})")
    if makers is not None and found.maker is None:
        raise errors.EkUncertified(f"({found.uncertified})", element=makers.path)
