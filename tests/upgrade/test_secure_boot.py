"""Whether this firmware would start a program: signatures made by others' tools, lists as UEFI has
them.
"""

from __future__ import annotations

import shutil
import struct
import uuid
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from node.system import firmwarekeys
from node.system.authenticode import signatures
from node.system.board import EFI_GLOBAL
from node.testing.installed import InstalledMachine
from pairing import process

DATA = Path(__file__).resolve().parents[1] / "data/signed"
SIGNED = ("sbsign", "systemd", "chain")
UNKNOWN = "signed by a key that this firmware does not know"


def certificate(name: str) -> bytes:
    """In DER, as the firmware has it."""
    read = x509.load_pem_x509_certificate((DATA / f"{name}.crt").read_bytes())
    return read.public_bytes(Encoding.DER)


def signature_list(kind: bytes, *entries: bytes) -> bytes:
    owner = uuid.uuid4().bytes_le
    each = 16 + len(entries[0])
    body = b"".join(owner + entry for entry in entries)
    return kind + struct.pack("<III", 28 + len(body), 0, each) + body


def allowing(*names: str) -> bytes:
    return b"".join(signature_list(firmwarekeys.CERTIFICATE, certificate(name)) for name in names)


def machine(root: Path, db: bytes, dbx: bytes = b"", *, on: bool = True) -> Path:
    made = InstalledMachine(root)
    variables = "sys/firmware/efi/efivars"
    made.write(f"{variables}/SecureBoot-{EFI_GLOBAL}", b"\6\0\0\0" + bytes([on]))
    made.write(f"{variables}/db-{firmwarekeys.GUID}", b"\x27\0\0\0" + db)
    if dbx:
        made.write(f"{variables}/dbx-{firmwarekeys.GUID}", b"\x27\0\0\0" + dbx)
    return root


def refused(root: Path, name: str) -> str:
    return firmwarekeys.refused(root, DATA / f"{name}.efi")


@pytest.mark.parametrize("name", SIGNED)
def test_what_a_known_key_signed_is_started(tmp_path: Path, name: str) -> None:
    assert refused(machine(tmp_path, allowing("other", "db")), name) == ""
    assert signatures(DATA / f"{name}.efi").chains


@pytest.mark.parametrize("name", SIGNED)
def test_what_another_key_signed_is_not(tmp_path: Path, name: str) -> None:
    assert refused(machine(tmp_path, allowing("other")), name) == f"it is {UNKNOWN}"
    assert refused(machine(tmp_path / "none", b""), name) == f"it is {UNKNOWN}"


def test_without_secure_boot_the_firmware_does_not_look(tmp_path: Path) -> None:
    assert refused(machine(tmp_path, allowing("other"), on=False), "sbsign") == ""


def test_unsigned_only_where_the_list_has_its_digest(tmp_path: Path) -> None:
    assert "no signature" in refused(machine(tmp_path, allowing("db")), "plain")
    digest = signatures(DATA / "plain.efi").digest
    listed = signature_list(firmwarekeys.DIGEST, bytes(32), digest)
    assert refused(machine(tmp_path / "b", listed), "plain") == ""


@pytest.mark.parametrize("what", ["certificate", "digest"])
def test_what_was_revoked_is_not_started(tmp_path: Path, what: str) -> None:
    digest = signatures(DATA / "sbsign.efi").digest
    listed = signature_list(firmwarekeys.DIGEST, digest)
    dbx = allowing("db") if what == "certificate" else listed
    assert "revoked" in refused(machine(tmp_path, allowing("db"), dbx), "sbsign")


@given(place=st.integers(0, 1535), change=st.integers(1, 255))
def test_a_changed_byte_fits_no_signature(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    """All but what firmware leaves out: checksum and place of the signatures."""
    data = bytearray((DATA / "systemd.efi").read_bytes())
    data[place] ^= change
    path = tmp_path_factory.mktemp("changed") / "x.efi"
    path.write_bytes(data)
    begin = 0x40 + 24
    left_out = {*range(begin + 64, begin + 68)}
    try:
        found = signatures(path)
    except ValueError:
        return
    assert bool(found.chains) == (place in left_out)


@given(cut=st.integers(0, 3071))
def test_a_file_that_is_cut_off_fits_no_signature(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "x.efi"
    path.write_bytes((DATA / "systemd.efi").read_bytes()[:cut])
    try:
        assert not signatures(path).chains
    except ValueError:
        return


@given(place=st.integers(1536, 3071), change=st.integers(1, 255))
def test_a_changed_signature_is_no_crash(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    data = bytearray((DATA / "systemd.efi").read_bytes())
    data[place] ^= change
    path = tmp_path_factory.mktemp("changed") / "x.efi"
    path.write_bytes(data)
    signatures(path)


@given(st.binary(max_size=200))
def test_a_damaged_list_allows_nothing(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes
) -> None:
    root = machine(tmp_path_factory.mktemp("m"), damage)
    assert firmwarekeys.refused(root, DATA / "sbsign.efi")


@pytest.mark.skipif(not shutil.which("sbverify"), reason="sbverify is not here")
@pytest.mark.parametrize("name", SIGNED)
def test_sbverify_agrees(name: str) -> None:
    argv = ("sbverify", "--cert", str(DATA / "db.crt"), str(DATA / f"{name}.efi"))
    assert process.run(argv, seconds=30, check=False).status == 0
