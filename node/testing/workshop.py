"""Unified kernel images as a thief makes them: taken apart, changed, put together again.

With the tools that build ours (node.image.uki), and without the builder's keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.image import uki
from node.image.rooms import WORK, Room
from node.system.kernelimage import sections

PARTS = (".linux", ".initrd", ".cmdline", ".osrel", ".uname", ".pcrpkey", ".pcrsig")
WHOLE = 1 << 28
"""Bytes: no section of ours is as large."""
SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where kernels are made: the tools, and a folder of one's own."""

    tools: Room
    folder: Path

    def apart(self, kernel: Path) -> Mapping[str, bytes]:
        """The sections of a kernel image that matter. Raises ValueError, OSError."""
        return sections(kernel, PARTS, WHOLE)

    def together(self, parts: Mapping[str, bytes], keys: Path | None = None) -> bytes:
        """A kernel image with these sections, unsigned.

        `keys`: a folder with `pcr.key` and `pcr.pub`, which sign its policy; without it the old
        policy's signature (`.pcrsig`) is taken along. Raises what Room.run raises.
        """
        self._write(parts)
        argv = ["ukify", "build", f"--linux={WORK}/linux", f"--initrd={WORK}/initrd"]
        argv += [f"--cmdline=@{WORK}/cmdline", f"--os-release=@{WORK}/osrel"]
        argv += [f"--uname={parts['.uname'].decode()}"]
        if keys is not None:
            argv += uki.policy_options()
        elif ".pcrsig" in parts:
            argv += [f"--pcrpkey={WORK}/pcrpkey", f"--section=.pcrsig:@{WORK}/pcrsig"]
        return self._made(argv, keys)

    def addon(self, words: str) -> bytes:
        """An add-on with kernel words (systemd-stub(7)). Raises what Room.run raises."""
        return self._made(["ukify", "build", f"--cmdline={words}"], None)

    def _write(self, parts: Mapping[str, bytes]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, content in parts.items():
            (self.folder / name.removeprefix(".")).write_bytes(content)

    def _made(self, argv: Sequence[str], keys: Path | None) -> bytes:
        self.folder.mkdir(parents=True, exist_ok=True)
        target = [f"--output={WORK}/made.efi"]
        self.tools.run([*argv, *target], self.folder, seconds=SECONDS, keys=keys)
        return (self.folder / "made.efi").read_bytes()


def more_words(parts: Mapping[str, bytes], words: str) -> Mapping[str, bytes]:
    """The same with more kernel words."""
    return {**parts, ".cmdline": parts[".cmdline"] + b" " + words.encode()}
