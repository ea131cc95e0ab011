"""One example of every message, with fixed keys: for vectors, fuzzers and other implementations."""

from __future__ import annotations

from dataclasses import dataclass, field

from pairing import keys
from pairing.events import Event, EventType, Mode, State
from pairing.peertoken import Token
from pairing.protocol import (
    admission,
    handshake,
    maintenance,
    messages,
    requests,
    terminal,
    tpmproof,
)
from pairing.protocol.certificate import StationCertificate
from pairing.protocol.handshake import Transcript
from pairing.protocol.reportkey import PrivateReportKey
from pairing.protocol.rescue import RESCUE_DOMAIN
from pairing.protocol.wire import Message

NODE = keys.SigningKey(bytes(range(32)))
OPERATOR = keys.SigningKey(bytes(range(32, 64)))
FLEET = keys.SigningKey(bytes(range(64, 96)))
SECRET = bytes(range(16))
LEASE = bytes(range(16, 32))


@dataclass(frozen=True, slots=True)
class Handshake:
    """A whole claim."""

    secret: bytes = field(repr=False)
    transcript: Transcript

    def _key(self, purpose: str) -> bytes:
        return handshake.derive(self.secret, self.transcript.node_key, purpose)

    @property
    def operator_mac(self) -> bytes:
        return handshake.operator_mac(self._key("claim"), self.transcript.digest())

    @property
    def node_mac(self) -> bytes:
        return handshake.node_mac(self._key("claim"), self.transcript.digest())

    @property
    def operator_signature(self) -> bytes:
        return OPERATOR.sign(handshake.CLAIM_DOMAIN, admission.operator_body(self.transcript))

    @property
    def words(self) -> tuple[str, ...]:
        return handshake.comparison_words(self._key("sas"), self.transcript.digest())


HANDSHAKE = Handshake(
    SECRET,
    Transcript(
        subject=Token(NODE.public, SECRET).id,
        node_key=NODE.public,
        operator_channel=b"\xaa" * 32,
        operator_key=OPERATOR.public,
        operator_nonce=b"\xbb" * 32,
        node_nonce=b"\xcc" * 32,
        version=messages.VERSION,
    ),
)


def _certificate() -> StationCertificate:
    made = keys.certify(FLEET, OPERATOR.public, 1, "north")
    return StationCertificate(
        fleet=made.fleet,
        station=made.station,
        sequence=made.sequence,
        name=made.name,
        signature=made.signature,
    )


def example_manifest() -> messages.Manifest:
    """A manifest with every field."""
    return messages.Manifest(
        node=NODE.public,
        lease=LEASE,
        sequence=1,
        digest=b"\xdd" * 32,
        length=42,
        device="/dev/sda",
        escrow=(b"\xee" * 32,),
        relays=("relay.example",),
        unlock="",
        reboot=True,
        poweroff=False,
        report_for=86400,
        time=1_790_000_000,
    )


def _release() -> messages.Release:
    manifest = example_manifest()
    signature = OPERATOR.sign(handshake.MANIFEST_DOMAIN, handshake.signed_body(manifest))
    return messages.Release(manifest=manifest, signature=signature)


def _report_key() -> messages.ShownReportKey:
    return PrivateReportKey(b"\x44" * 32).shown(NODE, LEASE)


def _order() -> requests.Maintain:
    return maintenance.order(
        OPERATOR,
        _report_key().record,
        "boot-1",
        requests.Task.ROTATE,
        escrow=(b"\xee" * 32,),
        recovery=b"",
        time=1_790_000_000,
    )


def _report() -> messages.Report:
    event = Event(
        node=keys.fingerprint(NODE.public),
        boot="boot-1",
        seq=1,
        up_ms=1234,
        type=EventType.STATE,
        state=State.CLAIMED,
        text="ä€",
    ).to_json()
    receipt = handshake.receipt_body(LEASE, event)
    return messages.Report(event=event, signature=NODE.sign(handshake.RECEIPT_DOMAIN, receipt))


def _escrow() -> messages.Escrow:
    sealed = messages.SealedKey(recipient=b"\xee" * 32, sealed=b"\x11" * 119)
    record = messages.EscrowRecord(node=NODE.public, lease=LEASE, serial="S-1", keys=(sealed,))
    signature = NODE.sign(handshake.ESCROW_DOMAIN, handshake.signed_body(record))
    return messages.Escrow(record=record, signature=signature)


def _escrowed() -> messages.Escrowed:
    digest = handshake.record_digest(_escrow().record)
    return messages.Escrowed(
        digest=digest, signature=OPERATOR.sign(handshake.ESCROWED_DOMAIN, digest)
    )


def _proof() -> messages.EscrowProof:
    volume = messages.Volume(
        name="KR_OEM", uuid="0d0f5a3e-0000-4000-8000-000000000001", slot=b"\x22" * 32
    )
    proof = messages.VolumeProof(
        digest=_escrowed().digest, volumes=(volume,), ek_hash="00" * 32, dry_run=False
    )
    signature = NODE.sign(handshake.PROOF_DOMAIN, handshake.signed_body(proof))
    return messages.EscrowProof(proof=proof, signature=signature)


def _open_terminal() -> terminal.OpenTerminal:
    order = terminal.TerminalOrder(
        node=NODE.public,
        lease=LEASE,
        session=b"\x99" * 16,
        seconds=1800,
        idle=600,
        time=1_790_000_000,
    )
    return terminal.OpenTerminal(
        order=order,
        signature=OPERATOR.sign(RESCUE_DOMAIN, handshake.signed_body(order)),
        certificate=_certificate(),
        columns=80,
        rows=24,
        kind="xterm",
    )


def _asides_to_node() -> tuple[Message, ...]:
    return (
        tpmproof.ShowTpm(),
        tpmproof.ActivateTpm(blob=b"\x44" * 68, seed=b"\x55" * 258),
        _open_terminal(),
        terminal.TerminalData(data=b"ls\r"),
        terminal.TerminalTaken(total=3),
        terminal.Resize(columns=132, rows=50),
        terminal.CloseTerminal(),
    )


def _asides_to_operator() -> tuple[Message, ...]:
    return (
        tpmproof.TpmKeys(endorsement=b"\x66" * 314, attestation=b"\x77" * 88, certificate=b""),
        tpmproof.TpmActivated(mac=b"\x88" * 32),
        tpmproof.TpmUnproved(text="no TPM"),
        terminal.TerminalOpened(session=b"\x99" * 16, seconds=1800, idle=600),
        terminal.TerminalData(data=b"\x1b[1mhello\x1b[0m\r\n"),
        terminal.TerminalTaken(total=3),
        terminal.TerminalClosed(code="", text="", status=0),
    )


def _examples() -> tuple[tuple[str, Message], ...]:
    to_node: tuple[Message, ...] = (
        messages.Claim(
            version=1, commit=handshake.commitment(HANDSHAKE.transcript.operator_nonce), lease=b""
        ),
        messages.Proof(
            nonce=HANDSHAKE.transcript.operator_nonce,
            mac=HANDSHAKE.operator_mac,
            key=OPERATOR.public,
            signature=HANDSHAKE.operator_signature,
            certificate=_certificate(),
            since=0,
        ),
        _release(),
        messages.Chunk(sequence=1, offset=0, data=b"#cloud-config\n"),
        _escrowed(),
        messages.Ack(seq=1),
        messages.Ping(),
        messages.Pong(),
        messages.Bye(reason=messages.Reason.DONE, text=""),
        requests.Unlock(kind=requests.UnlockKind.APPROVAL.value, sealed=b"\x55" * 80),
        _order(),
        *_asides_to_node(),
    )
    to_operator: tuple[Message, ...] = (
        messages.Challenge(nonce=HANDSHAKE.transcript.node_nonce, fleet=True, window=3600),
        messages.Lease(
            mac=HANDSHAKE.node_mac,
            lease=LEASE,
            secret=b"\x33" * 32,
            trust="O1",
            mode=Mode.LIVE.value,
            boot="boot-1",
            state=State.CLAIMED.value,
            sequence=0,
            last=0,
            facts={"serial": "S-1"},
        ),
        messages.Refused(code="taken", text="", holder="ABCD-EFGH-IJKL-MNOP", age=7),
        messages.Want(sequence=1, offset=0),
        _report_key(),
        _report(),
        _escrow(),
        _proof(),
        requests.Answer(code="", text=""),
        messages.Ping(),
        messages.Pong(),
        *_asides_to_operator(),
    )
    return (
        *(("to-node", message) for message in to_node),
        *(("to-operator", message) for message in to_operator),
    )


EXAMPLES = _examples()
"""Direction and message, one of each type."""
