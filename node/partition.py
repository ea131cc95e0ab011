"""A partition that a plan makes: frozen data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pairing.facts import binary_size

Source = Literal["", "boot", "root", "hashes"]
"""What a partition is filled with: nothing, the boot files, or the booted image's two parts."""


VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~^_-]{0,25}")
"""Of an image: with `kr_verity_` before it, it fits into a partition label (36 characters)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition to be made. Sizes in bytes; `size` 0 takes what is left.

    `kind` is a partition type of systemd-repart (repart.d(5)). `content` says what is put there,
    for people; `source` for the one who puts it there.
    """

    label: str
    kind: str
    size: int
    filesystem: str = ""
    encrypted: bool = False
    content: Sequence[str] = ()
    source: Source = ""
    kept: bool = False
    """It is there already and stays as it is: the recovery system runs from it."""

    @property
    def text(self) -> str:
        """One line for people."""
        size = binary_size(self.size) if self.size else "the rest"
        what = "LUKS2, " + self.filesystem if self.encrypted else self.filesystem
        if self.kept:
            return f"{self.label}: stays"
        return ", ".join(filter(None, (f"{self.label}: {size}", what, *self.content)))
