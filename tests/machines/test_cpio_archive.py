"""The initramfs that virtual machines boot, read back by a reader of its own."""

from __future__ import annotations

import io
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.testing import cpio

NAMES = st.lists(
    st.text("abcäß-._0123456789", min_size=1, max_size=12).filter(lambda n: n not in (".", "..")),
    unique=True,
    max_size=6,
)


@dataclass(frozen=True, slots=True)
class Entry:
    mode: int
    uid: int
    mtime: int
    content: bytes
    device: tuple[int, int]


def unpacked(archive: bytes) -> dict[str, Entry]:
    """What the kernel would unpack (buffer-format.rst), with every alignment checked."""
    found: dict[str, Entry] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        start = at + 110 + fields[11]
        name = archive[at + 110 : start - 1].decode()
        assert archive[start - 1] == 0
        start += -start % 4
        if name == "TRAILER!!!":
            assert len(archive) % 512 == 0
            assert not archive[start:].strip(b"\0")
            return found
        content = archive[start : start + fields[6]]
        found[name] = Entry(fields[1], fields[2], fields[5], content, (fields[9], fields[10]))
        at = start + fields[6] + -fields[6] % 4


def packed(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], *leave_out: str) -> bytes:
    source, target = tmp_path / "a.tar", tmp_path / "a.cpio"
    with tarfile.open(source, "w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    cpio.from_tar(source, target, leave_out)
    return target.read_bytes()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode, made.uid, made.mtime = kind, link, 0o750, 42, 7
    return made


@given(st.data())
def test_every_file_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    files = {name: data.draw(st.binary(max_size=600)) for name in data.draw(NAMES)}
    folder = tmp_path_factory.mktemp("cpio")
    members = [(member(f"./{name}"), content) for name, content in files.items()]
    back = unpacked(packed(folder, members))
    assert {name: entry.content for name, entry in back.items()} == files
    assert all(entry.mode == stat.S_IFREG | 0o750 for entry in back.values())


def test_links_and_devices(tmp_path: Path) -> None:
    console = member("dev/console", tarfile.CHRTYPE)
    console.devmajor, console.devminor = 5, 1
    members = [
        (member("."), b""),
        (member("bin", tarfile.DIRTYPE), b""),
        (member("bin/sh"), b"#!"),
        (member("bin/again", tarfile.LNKTYPE, "bin/sh"), b""),
        (member("lib", tarfile.SYMTYPE, "usr/lib"), b""),
        (console, b""),
    ]
    back = unpacked(packed(tmp_path, members))
    assert list(back) == ["bin", "bin/sh", "bin/again", "lib", "dev/console"]
    assert back["bin/again"].content == b"#!"
    assert (stat.S_ISLNK(back["lib"].mode), back["lib"].content) == (True, b"usr/lib")
    assert (stat.S_ISCHR(back["dev/console"].mode), back["dev/console"].device) == (True, (5, 1))
    assert (back["bin/sh"].uid, back["bin/sh"].mtime) == (42, 7)


def test_what_is_left_out(tmp_path: Path) -> None:
    members = [(member("boot/vmlinuz"), b"k"), (member("bootstrap"), b"b")]
    assert list(unpacked(packed(tmp_path, members, "boot/"))) == ["bootstrap"]
