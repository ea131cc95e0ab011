"""Escrow, leases and journals on the operator's disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.records import Records
from pairing import errors, keys
from pairing.events import Event, EventType, State
from pairing.protocol import handshake
from pairing.protocol.messages import EscrowRecord, SealedKey, VolumeProof
from pairing.protocol.terms import KnownLease
from pairing.protocol.wire import to_base64

LEASE = b"l" * 16


def a_record(escrow: keys.EscrowKey, passphrase: bytes = b"recovery") -> EscrowRecord:
    node = keys.generate().public
    sealed = keys.seal(passphrase, escrow.public, handshake.escrow_context(node, LEASE))
    key = SealedKey(recipient=escrow.public, sealed=sealed)
    return EscrowRecord(node=node, lease=LEASE, serial="S-1", keys=(key,))


def a_proof(record: EscrowRecord) -> VolumeProof:
    digest = handshake.record_digest(record)
    return VolumeProof(digest=digest, volumes=(), ek_hash="", dry_run=True)


def test_an_escrowed_key_can_be_opened_from_disk(tmp_path: Path) -> None:
    escrow, records = keys.generate_escrow(), Records(tmp_path)
    record = a_record(escrow)
    path = records.keep_escrow(record, b"s" * 64)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    stored = EscrowRecord.from_json(json.loads(path.read_bytes())["record"])
    context = handshake.escrow_context(stored.node, stored.lease)
    assert escrow.open(stored.keys[0].sealed, context) == b"recovery"


def test_the_proof_completes_the_record(tmp_path: Path) -> None:
    records, record = Records(tmp_path), a_record(keys.generate_escrow())
    records.keep_escrow(record, b"s" * 64)
    path = records.keep_proof(a_proof(record), b"p" * 64)
    body = json.loads(path.read_bytes())
    assert body["record"] == record.to_json()
    assert body["proof"]["dry_run"] is True
    assert body["signature"] == to_base64(b"s" * 64)


def test_a_proof_of_nothing_that_is_kept(tmp_path: Path) -> None:
    with pytest.raises(errors.StoreUnwritable):
        Records(tmp_path).keep_proof(a_proof(a_record(keys.generate_escrow())), b"")


def test_a_second_key_of_a_node_never_replaces_the_first(tmp_path: Path) -> None:
    records, escrow = Records(tmp_path), keys.generate_escrow()
    paths = {records.keep_escrow(a_record(escrow, b"%d" % n), b"") for n in range(3)}
    assert len(paths) == 3


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "escrow").write_text("a file where the folder should be")
    with pytest.raises(errors.StoreUnwritable) as refused:
        Records(tmp_path).keep_escrow(a_record(keys.generate_escrow()), b"")
    assert refused.value.exit_code == 9


def test_leases(tmp_path: Path) -> None:
    records, known = Records(tmp_path), KnownLease(LEASE, b"secret" * 5)
    assert records.lease("0a1b2c3d") is None
    records.keep_lease("0a1b2c3d", known, released=False)
    stored = records.lease("0a1b2c3d")
    assert stored is not None
    assert (stored.known, stored.released) == (known, False)
    records.keep_lease("0a1b2c3d", known, released=True)
    again = records.lease("0a1b2c3d")
    assert again is not None
    assert again.released
    path = tmp_path / "leases" / "0a1b2c3d.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes()[:20])
    assert records.lease("0a1b2c3d") is None


def event(seq: int, **said: object) -> Event:
    given = {"node": "N", "boot": "b", "seq": seq, "up_ms": 10 * seq, "type": EventType.STATE,
             "state": State.INSTALLING, **said}  # fmt: skip
    return Event(**given)  # type: ignore[arg-type]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_journal_holds_each_event_once(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for _ in range(2):  # the second run hears everything again, and one more
        journal = records.journal("NODE")
        for seq in (1, 2, 3):
            journal.append(event(seq), b"s" * 64, "S-1")
        journal.append(event(4, type=EventType.STEP, done=1, total=3), b"", "S-1")
        journal.close()
    found = lines(tmp_path / "journal" / "NODE.jsonl")
    assert [line["seq"] for line in found] == [1, 2, 3], "progress within a step is left out"
    assert {"at", "serial", "signature", "sum"} <= set(found[0])


def test_a_damaged_journal_is_set_aside(tmp_path: Path) -> None:
    records = Records(tmp_path)
    journal = records.journal("NODE")
    journal.append(event(1), b"", "S-1")
    journal.close()
    path = tmp_path / "journal" / "NODE.jsonl"
    path.write_text(path.read_text().replace('"seq": 1', '"seq": 7'))
    journal = records.journal("NODE")
    journal.append(event(2), b"", "S-1")
    journal.close()
    assert [line["seq"] for line in lines(path)] == [2]
    (aside,) = path.parent.glob("*.damaged-*")
    assert '"seq": 7' in aside.read_text()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    held = Records(tmp_path).journal("NODE")
    with pytest.raises(errors.StoreUnwritable, match="Another process"):
        Records(tmp_path).journal("NODE")
    held.close()
    Records(tmp_path).journal("NODE").close()
