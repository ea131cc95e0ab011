"""What systemd-repart(8) is told: definitions for a disk, and its command line. Pure.

Everything it needs is named by a path: the booted image's own devices, folders of boot files and of
encrypted volumes. Nothing is looked up by a label, which a second disk could have too. Why it does
not encrypt by itself: docs/adr/0022.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.partition import Partition
from node.plan.encrypt import registers_text
from node.steps import WriteDisk

SMALLEST_REST = 1024 * 2**20
"""Bytes that the last partition has at least (`node.plan.install.SMALLEST_PERSISTENT`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the contents come from.

    `root` is read through dm-verity, so that every block is checked while it is copied; `hashes` is
    the partition with the hash tree: where it is wrong, the copy is refused at boot.
    """

    root: Path
    hashes: Path
    boot: Path
    """A folder: what goes on the ESP before the loader."""
    kept: Path
    """A folder: what the recovery system needs to install again, below `kairos` on the ESP."""
    volumes: Path
    """A folder: the heads of the encrypted volumes, by their label."""
    rest: int = SMALLEST_REST
    """Bytes that the last partition has at least. When the others are made anew, what it has: else
    it could be put into a smaller gap."""


def definitions(step: WriteDisk, sources: Sources) -> Mapping[str, str]:
    """File names and texts for repart.d(5), in the order of the partitions."""
    return {
        f"{number * 10:02}-{_file_name(part.label)}.conf": "\n".join(
            (*_lines(step, part, sources), "")
        )
        for number, part in enumerate(step.partitions, start=1)
    }


def command(step: WriteDisk, *, folder: Path) -> tuple[str, ...]:
    """The command line. It is given no key.

    `--empty=require`: the table was wiped before, and whatever has one again is not ours to erase.
    Around a recovery system that stays, a factory reset removes the other partitions first.
    """
    return (
        "systemd-repart",
        "--no-pager",
        "--dry-run=no",
        *(("--empty=refuse", "--factory-reset=yes") if step.again else ("--empty=require",)),
        "--discard=yes",
        "--seed=random",
        f"--definitions={folder}",
        step.disk,
    )


def tpm_options(
    pcrs: Sequence[int], signed: Sequence[int], public_key: Path
) -> tuple[str, str, str, str]:
    """How a volume is bound to this machine's TPM (systemd-cryptenroll(1), the same words)."""
    return (
        "--tpm2-device=auto",
        f"--tpm2-pcrs={registers_text(pcrs)}",
        f"--tpm2-public-key={public_key}",
        f"--tpm2-public-key-pcrs={'+'.join(map(str, signed))}",
    )


def _lines(step: WriteDisk, part: Partition, sources: Sources) -> Iterator[str]:
    yield "[Partition]"
    yield f"Type={part.kind}"
    if part.kept:
        return
    yield f"Label={part.label}"
    yield f"SizeMinBytes={part.size or sources.rest}"
    if part.size:
        yield f"SizeMaxBytes={part.size}"
    if step.again:
        yield "FactoryReset=yes"
    if part.encrypted:
        yield f"CopyBlocks={sources.volumes / part.label}"
    elif part.filesystem:
        yield f"Format={part.filesystem}"
    if part.source == "root":
        yield f"CopyBlocks={sources.root}"
    if part.source == "hashes":
        yield f"CopyBlocks={sources.hashes}"
    if part.source == "boot":
        yield f"CopyFiles={sources.boot}:/"
        yield f"CopyFiles={sources.kept}:/kairos"


def _file_name(label: str) -> str:
    """A label as part of a file name: versions may hold anything."""
    return "".join(letter if letter.isalnum() else "-" for letter in label.lower()).strip("-")
