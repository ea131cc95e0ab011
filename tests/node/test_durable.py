"""What is called flushed is: the content before the name, the name before it returns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pairing import durable


def test_a_file_is_whole_and_has_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable.write_durably(path, b"old", 0o644)
    durable.write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_what_a_power_cut_left_does_not_stop_the_next_one(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"half")
    durable.write_durably(tmp_path / "file", b"whole", 0o644)
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_the_old_file_is_there_until_the_new_one_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen: list[bytes] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        seen.append(path.read_bytes())
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    durable.write_durably(path, b"new")
    assert seen == [b"old", b"new"], "its content, then the folder"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.flush_volume(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        durable.flush_volume(tmp_path / "file")
