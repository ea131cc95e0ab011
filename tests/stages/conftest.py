"""A scratch system for stages, and a door that records what would be run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pairing import process
from pairing.config.document import Document, from_plain
from pairing.config.problem import Mark
from pairing.process import Result

PASSWD = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
SHADOW = "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n"
GROUP = "root:x:0:\ndaemon:x:1:\nsudo:x:27:\n"
GSHADOW = "root:*::\ndaemon:*::\nsudo:*::\n"


def document(value: Mapping[str, Any]) -> Document:
    return Document(from_plain(value, Mark("config.yaml")))


@dataclass
class Ran:
    """In place of `pairing.process.run`: keeps each call; a chroot's shell runs here instead."""

    calls: list[tuple[tuple[str, ...], dict[str, Any]]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], **how: Any) -> Result:
        self.calls.append((tuple(argv), how))
        if argv[0] == "chroot":
            return process.run(argv[2:], **how)
        return Result(0, b"", b"")

    @property
    def programs(self) -> list[str]:
        return [" ".join(argv) for argv, _ in self.calls]


@pytest.fixture
def ran() -> Ran:
    return Ran()


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A small system's files."""
    root = tmp_path / "system"
    etc = root / "etc"
    etc.mkdir(parents=True)
    for name, text in (
        ("passwd", PASSWD),
        ("shadow", SHADOW),
        ("group", GROUP),
        ("gshadow", GSHADOW),
    ):
        (etc / name).write_text(text)
    for name in ("shadow", "gshadow"):
        (etc / name).chmod(0o640)
    kernel = root / "proc/sys/kernel"
    kernel.mkdir(parents=True)
    (kernel / "hostname").write_text("localhost\n")
    return root


def tree(root: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Every entry below `root`: type and mode, owner, group, and content or target."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            content = b""
            if path.is_symlink():
                content = os.fsencode(path.readlink())
            elif path.is_file():
                content = path.read_bytes()
            owner = (status.st_mode, status.st_uid, status.st_gid)
            found[str(path.relative_to(root))] = (*owner, content)
    return found
