"""The ISO: the same partitions as the stick's in a file that also starts as a CD by UEFI.

xorriso(1) appends them and describes them in a GPT. As a disk the kernel finds them there; as a CD
it does not look, and the initrd's loop unit does (`node.image.initrd`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from node.image.media.stick import Part, identifier
from node.image.rooms import Room

SECONDS = 300.0
NAME = "KR_LIVE"
"""The volume's name, by which the initrd knows our CD."""
README = "This is for booting: as a CD drive's medium, or written to a disk.\n"


def make(
    tools: Room, work: Path, parts: Sequence[Part], seed: str, target: str, epoch: int
) -> Path:
    """Write `work/target`. The same `seed` gives the same identifiers.

    Raises what Room.run raises.
    """
    folder = work / "iso"
    folder.mkdir()
    (folder / "README.txt").write_text(README, encoding="ascii")
    guid = identifier(seed, "iso").replace("-", "").lower()
    argv = ["xorriso", "-as", "mkisofs", "-quiet", "-V", NAME, "-J", "-r", "-o", target]
    argv += ["-appended_part_as_gpt", "-partition_offset", "16", "--gpt_disk_guid", guid]
    for number, part in enumerate(parts, 2):
        source = str(part.content.relative_to(work))
        argv += ["-append_partition", str(number), part.kind, source]
    argv += ["-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]
    argv += ["-boot-load-size", "0", "iso"]
    (work / target).unlink(missing_ok=True)
    date = {"SOURCE_DATE_EPOCH": str(epoch)}
    tools.run(argv, work, seconds=SECONDS, environment=date)
    names = [f"--change-name={number}:{part.label}" for number, part in enumerate(parts, 2)]
    ids = [
        f"--partition-guid={number}:{identifier(seed, part.label)}"
        for number, part in enumerate(parts, 2)
    ]
    tools.run(["sgdisk", *names, *ids, target], work, seconds=SECONDS)
    return work / target
