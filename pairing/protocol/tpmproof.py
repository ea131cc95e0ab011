"""Between lease and decision: the node's TPM proves its endorsement key. Sans-IO.

operator                                node
ShowTpm       ------------------------>
              <------------------------ TpmKeys               or TpmUnproved
ActivateTpm   ------------------------>
              <------------------------ TpmActivated          or TpmUnproved

A node that cannot, will not or fails stays what it was: a node whose word about its TPM nobody has
checked. What that means is for whoever decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from pairing import tpmcredential, tpmkeys
from pairing.protocol import wire
from pairing.protocol.wire import AsideMessage, Message
from pairing.tpmkeys import CERTIFICATE_LIMIT

ASK_SECONDS = 120.0
"""For both answers together: some chips need half a minute to make an RSA key."""
_AREA = wire.blob(tpmkeys.PUBLIC_LIMIT, 1)


class TpmQuestion(AsideMessage):
    """What an operator asks of a node's TPM."""


class TpmAnswer(AsideMessage):
    """What the node answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowTpm(TpmQuestion):
    """Which keys has your TPM?"""

    TYPE: ClassVar[str] = "tpm-show"


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmKeys(TpmAnswer):
    """Public areas (TPMT_PUBLIC) of endorsement and attestation key; the maker's certificate."""

    TYPE: ClassVar[str] = "tpm-keys"
    endorsement: bytes = wire.wire(_AREA)
    attestation: bytes = wire.wire(_AREA)
    certificate: bytes = wire.wire(wire.blob(CERTIFICATE_LIMIT, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivateTpm(TpmQuestion):
    """A secret that only the TPM with both keys can unwrap (`tpmcredential.Credential`)."""

    TYPE: ClassVar[str] = "tpm-activate"
    blob: bytes = wire.wire(wire.blob(256, 1))
    seed: bytes = wire.wire(wire.blob(1024, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmActivated(TpmAnswer):
    """It did: `tpmcredential.answer` of the secret, for this node and lease."""

    TYPE: ClassVar[str] = "tpm-activated"
    mac: bytes = wire.wire(wire.blob(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmUnproved(TpmAnswer):
    """It did not, and why."""

    TYPE: ClassVar[str] = "tpm-unproved"
    STRICT: ClassVar[bool] = False
    text: str = wire.wire(wire.text(500))


FROM_OPERATOR: tuple[type[Message], ...] = (ShowTpm, ActivateTpm)
FROM_NODE: tuple[type[Message], ...] = (TpmKeys, TpmActivated, TpmUnproved)


@dataclass(frozen=True, slots=True, kw_only=True)
class EkProof:
    """What is known of a node's endorsement key. `why`: why it is not proved.

    `ek_hash` is hex SHA-256 of its public area. A `certificate` (DER, may be empty) is not checked.
    """

    proved: bool
    ek_hash: str = ""
    endorsement: bytes = b""
    certificate: bytes = field(default=b"", repr=False)
    why: str = ""


@dataclass(slots=True)
class TpmExam:
    """The operator's half. Over when `proof` is there. `random(n)` gives n secret bytes."""

    node: bytes
    lease: bytes
    random: Callable[[int], bytes]
    until: float
    proof: EkProof | None = None
    _keys: TpmKeys | None = None
    _secret: bytes = field(default=b"", repr=False)

    def begin(self) -> TpmQuestion:
        """The first question."""
        return ShowTpm()

    def received(self, message: TpmAnswer) -> TpmQuestion | None:
        """The next question, if there is one."""
        match message:
            case TpmKeys() if self._keys is None:
                return self._challenge(message)
            case TpmActivated() if self._secret:
                self._judge(message)
            case TpmUnproved():
                self.fail(message.text or "the machine does not say why")
            case _:
                self.fail("the machine answered out of turn")
        return None

    def tick(self, now: float) -> None:
        """Time has passed."""
        if self.proof is None and now >= self.until:
            self.fail("the machine did not answer in time")

    def fail(self, why: str) -> None:
        """It ends without proof."""
        self.proof = EkProof(proved=False, why=why)

    def _challenge(self, shown: TpmKeys) -> TpmQuestion | None:
        try:
            endorsement = tpmkeys.read_endorsement(shown.endorsement)
            attestation = tpmkeys.read_attestation(shown.attestation)
        except ValueError as wrong:
            self.fail(f"a key of its TPM is {wrong}")
            return None
        self._keys, self._secret = shown, self.random(tpmcredential.SECRET_SIZE)
        made = tpmcredential.make_credential(
            endorsement, attestation.name, self._secret, self.random
        )
        return ActivateTpm(blob=made.blob, seed=made.seed)

    def _judge(self, message: TpmActivated) -> None:
        expected = tpmcredential.answer(self._secret, self.node, self.lease)
        if self._keys is None or not tpmcredential.same(message.mac, expected):
            self.fail("its TPM does not hold the endorsement key that it showed")
            return
        endorsement = tpmkeys.read_endorsement(self._keys.endorsement)
        self.proof = EkProof(
            proved=True,
            ek_hash=endorsement.hash,
            endorsement=self._keys.endorsement,
            certificate=self._keys.certificate,
        )
