"""The key folder: made once, private, never half there."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cli import folders
from cli.keyring import RECIPIENTS_LIMIT, Keyring, certificate_text, public_from
from pairing import errors, keys
from pairing.protocol.wire import to_base64


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_made_on_first_use_and_then_kept(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "keys")
    first, escrow = ring.operator(), ring.escrow()
    assert Keyring(tmp_path / "keys").operator() == first
    assert Keyring(tmp_path / "keys").escrow() == escrow
    assert mode(tmp_path / "keys") == 0o700
    for name in ("operator.pem", "escrow.pem"):
        assert mode(tmp_path / "keys" / name) == 0o600
        load_pem_private_key((tmp_path / "keys" / name).read_bytes(), None)
    assert sorted(p.name for p in (tmp_path / "keys").iterdir()) == ["escrow.pem", "operator.pem"]


def test_two_at_once_get_the_same_key(tmp_path: Path) -> None:
    got: list[keys.SigningKey] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        got.append(Keyring(tmp_path / "keys").operator())

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len({key.seed for key in got}) == 1


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o660])
def test_loose_permissions_are_refused(tmp_path: Path, loose: int) -> None:
    ring = Keyring(tmp_path / "keys")
    ring.operator()
    (ring.folder / "operator.pem").chmod(loose)
    with pytest.raises(errors.KeyFolderUnsafe, match=f"{loose:o}") as refused:
        ring.operator()
    assert "chmod 600" in refused.value.hint
    (ring.folder / "operator.pem").chmod(0o600)
    ring.folder.chmod(0o755)
    with pytest.raises(errors.KeyFolderUnsafe):
        ring.operator()


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff" * 100])
def test_a_damaged_key_is_named_and_kept(tmp_path: Path, content: bytes) -> None:
    ring = Keyring(tmp_path / "keys")
    ring.operator()
    path = ring.folder / "operator.pem"
    path.write_bytes(content)
    with pytest.raises(errors.KeyFileInvalid, match=r"operator\.pem"):
        ring.operator()
    assert path.read_bytes() == content


def test_a_key_of_the_wrong_kind(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "keys")
    ring.escrow()
    (ring.folder / "escrow.pem").rename(ring.folder / "operator.pem")
    with pytest.raises(errors.KeyFileInvalid, match="Ed25519"):
        ring.operator()


def test_a_fleet_and_its_stations(tmp_path: Path) -> None:
    founder, north = Keyring(tmp_path / "founder"), Keyring(tmp_path / "north")
    with pytest.raises(errors.KeyMissing):
        founder.fleet()
    fleet = founder.make_fleet()
    with pytest.raises(errors.UsageError):
        founder.make_fleet()
    first = founder.certify(founder.operator().public, "founder")
    second = founder.certify(north.operator().public, "north")
    assert (first.sequence, second.sequence) == (1, 2)
    north.keep_certificate(certificate_text(second).encode(), element="mail")
    found = north.certificate()
    assert found == second
    keys.PinnedFleet(fleet.public).check(second, north.operator().public)
    with pytest.raises(errors.KeyFileInvalid, match="another operator"):
        founder.keep_certificate(certificate_text(second).encode(), element="mail")
    forged = certificate_text(second).replace("north", "south")
    with pytest.raises(errors.KeyFileInvalid, match="signature"):
        north.keep_certificate(forged.encode(), element="mail")
    with pytest.raises(errors.KeyFileInvalid):
        north.keep_certificate(b"[" * 100_000, element="mail")


def test_recipients_are_our_own_key_and_those_added(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "keys")
    assert ring.recipients() == (ring.escrow().public,)
    others = [keys.generate_escrow().public for _ in range(RECIPIENTS_LIMIT - 1)]
    for number, other in enumerate(others):
        ring.add_recipient(other, f"safe {number}")
    assert ring.recipients() == (ring.escrow().public, *others)
    assert ring.others()[others[0]] == "safe 0"
    with pytest.raises(errors.UsageError):
        ring.add_recipient(keys.generate_escrow().public, "one too many")
    (ring.folder / "recipients").write_text("# a comment\n\nrubbish\n")
    with pytest.raises(errors.KeyFileInvalid, match="Line 3"):
        ring.recipients()


def test_public_keys_as_text() -> None:
    public = keys.generate().public
    assert public_from(f" {to_base64(public)}\n") == public
    for wrong in ("", "x", to_base64(public)[:-1], to_base64(public) + "AA"):
        with pytest.raises(errors.KeyFileInvalid):
            public_from(wrong)


def test_writing_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    folders.write_private(path, b"old")
    with pytest.raises(FileExistsError):
        folders.write_private(path, b"new", replace=False)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.StoreUnwritable, match="No space left"):
        folders.write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert mode(path) == 0o600


def test_xdg_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert folders.config_folder() == tmp_path / "kairos-register"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert folders.config_folder() == Path("/home/somebody/.config/kairos-register")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert folders.data_folder() == Path("/home/somebody/.local/share/kairos-register")
