"""The node's lease as a file: whole, or as it was before; damage is named."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.tenancy_store import TenancyStore
from pairing import errors
from pairing.events import EventType, State
from pairing.protocol.eventlog import EventLog
from pairing.protocol.kept import EVENTS_LIMIT, SIZE_LIMIT, KeptTenancy, ReportFile, kept
from pairing.protocol.kept import report_file as report_file_of
from pairing.protocol.tenancy import Tenancy
from pairing.testing.vectors import NODE, OPERATOR, example_manifest


def tenancy(log: EventLog | None = None) -> Tenancy:
    return Tenancy(
        lease=b"l" * 16,
        secret=b"s" * 32,
        operator=OPERATOR.public,
        fleet=b"",
        claimed_label=b"c" * 32,
        claimed_secret=b"S" * 16,
        claimed_at=100.0,
        words=("a", "b", "c"),
        state=State.WRITTEN,
        log=log or EventLog(),
        sequence=1,
        manifest=example_manifest(),
        report_seed=b"r" * 32,
    )


def a_log(count: int, text: str = "") -> EventLog:
    log = EventLog()
    for _ in range(count):
        log.add(node="N", boot="b", up_ms=1, type=EventType.LOG, state=State.INSTALLING, text=text)
    return log


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    store = TenancyStore(tmp_path / "tenancy.json")
    assert store.load() is None
    held = tenancy(a_log(7))
    store.save(kept(NODE, held, 400.0, 0))
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    loaded = store.load()
    assert loaded is not None
    key, again = loaded.restored(20.0)
    assert key == NODE
    assert again.claimed_at == 20.0 - 300
    assert again.log.since(0) == held.log.since(0)
    assert (again.manifest, again.secret, again.report_seed) == (
        held.manifest, held.secret, held.report_seed,
    )  # fmt: skip
    assert kept(key, again, 20.0, 0) == loaded


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    store = TenancyStore(tmp_path / "tenancy.json")
    store.save(kept(NODE, tenancy(), 1.0, 0))
    before = store.path.read_bytes()
    (tmp_path / ".tenancy.json.new").mkdir()
    with pytest.raises(errors.TenancyUnwritable):
        store.save(kept(NODE, tenancy(a_log(3)), 1.0, 0))
    assert store.path.read_bytes() == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.TenancyUnwritable):
        TenancyStore(tmp_path / "oem" / "tenancy.json").save(kept(NODE, tenancy(), 1.0, 0))


def test_a_link_that_somebody_left_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / ".tenancy.json.new").symlink_to(other)
    with pytest.raises(errors.TenancyUnwritable):
        TenancyStore(tmp_path / "tenancy.json").save(kept(NODE, tenancy(), 1.0, 0))
    assert other.read_text() == "mine"


@given(place=st.integers(0), flip=st.integers(1, 255))
def test_one_changed_byte_is_noticed(place: int, flip: int) -> None:
    data = bytearray(kept(NODE, tenancy(a_log(2)), 1.0, 0).to_bytes()[:-1])
    data[place % len(data)] ^= flip
    with pytest.raises(ValueError, match=r"checksum|whole|schema|field"):
        KeptTenancy.from_bytes(bytes(data))


@given(end=st.integers(0))
def test_a_cut_file_is_noticed(end: int) -> None:
    data = kept(NODE, tenancy(), 1.0, 0).to_bytes()[:-1]
    with pytest.raises(ValueError, match="whole"):
        KeptTenancy.from_bytes(data[: end % len(data)])


def test_it_stays_small_and_its_numbers_go_on() -> None:
    held = tenancy(a_log(1500, "x" * 4000))
    record = kept(NODE, held, 1.0, 0)
    assert len(record.to_bytes()) < SIZE_LIMIT
    assert sum(len(str(event)) for event in record.events) <= EVENTS_LIMIT * 1.1
    _, again = record.restored(1.0)
    assert again.log.last == 1500
    assert again.log.since(1499) == held.log.since(1499)


def test_secrets_are_in_no_repr() -> None:
    record, report = kept(NODE, tenancy(), 1.0, 0), report_file_of(NODE, tenancy())
    for text in (repr(record), repr(report), repr(record.restored(1.0))):
        assert "ssss" not in text
        assert "rrrr" not in text
        assert "SSSS" not in text
        assert repr(NODE.seed) not in text


def test_the_report_file_says_nothing_of_the_lease_secret() -> None:
    data = report_file_of(NODE, tenancy()).to_bytes()
    again = ReportFile.from_bytes(data)
    assert again.operator == OPERATOR.public
    assert again.secret != tenancy().secret
    for secret in (tenancy().secret, NODE.seed, tenancy().claimed_secret):
        from pairing.protocol.wire import to_base64

        assert to_base64(secret).encode() not in data
