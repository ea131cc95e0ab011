"""The medium's boot partition: the loader, the live UKI, and what an installation copies.

A vfat image made by mkfs.vfat(8) and mtools(1): nothing is mounted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.image import product, secureboot, uki
from node.image.root import Root
from node.image.uki import Ingredients, Mode

SECONDS = 300.0
MIB = 2**20
LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
LOADER_CONF = "timeout 0\nconsole-mode keep\neditor no\n"
ENROL = "secure-boot-enroll force\n"
"""In setup mode, without a question and on any machine: only where the recipe says so."""
SPARE = 8 * MIB
VOLUME_ID = "4b524c56"


@dataclass(frozen=True, slots=True)
class Payload:
    """The files that an installation copies, by their name below `kairos/`."""

    files: Mapping[str, Path]

    @property
    def sums(self) -> str:
        """As sha256sum(1) prints them."""
        lines = (f"{_digest(path)}  {name}" for name, path in sorted(self.files.items()))
        return "".join(f"{line}\n" for line in lines)


def payload(made: Ingredients, root: Root) -> Payload:
    """Build what is installed: both UKIs, the loader, `image.json`. Raises what Room.run raises."""
    version, work = made.recipe.version, made.work
    installed = uki.make(made, Mode.INSTALLED, f"kr_{version}.efi")
    recovery = uki.make(made, Mode.RECOVERY, "recovery.efi")
    sizes = {
        "root": root.squashfs.stat().st_size,
        "verity": root.verity.stat().st_size,
        "kernel": max(installed.stat().st_size, recovery.stat().st_size),
    }
    body = {**product.described(made.recipe), "sizes": sizes, "roothash": root.hash}
    image = work / "image.json"
    image.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    files = {installed.name: installed, recovery.name: recovery, "image.json": image}
    return Payload({**files, "loader.efi": loader(made)})


def loader(made: Ingredients) -> Path:
    """systemd-boot, signed where the recipe asks for it."""
    plain, target = made.work / "loader.plain", made.work / "loader.efi"
    plain.write_bytes((made.tools.tree / LOADER).read_bytes())
    if made.keys is not None and made.recipe.secure_boot != "off":
        uki.sign(made.tools, made.work, made.keys, plain.name, target.name)
    else:
        plain.replace(target)
    return target


def make(made: Ingredients, files: Payload, target: str) -> Path:
    """Write the boot partition's image. Raises what Room.run raises."""
    work = made.work
    (work / "SHA256SUMS").write_text(files.sums, encoding="ascii")
    digest = hashlib.sha256(files.sums.encode()).hexdigest()
    live = uki.make(made, Mode.LIVE, "kr-live.efi", (f"kairos.sums={digest}",))
    enrols = made.recipe.secure_boot == "enroll"
    (work / "loader.conf").write_text(LOADER_CONF + (ENROL if enrols else ""), encoding="ascii")
    content = {
        "EFI/BOOT/BOOTX64.EFI": files.files["loader.efi"],
        "EFI/Linux/kr-live.efi": live,
        "loader/loader.conf": work / "loader.conf",
        "kairos/SHA256SUMS": work / "SHA256SUMS",
        **{f"kairos/{name}": path for name, path in files.files.items()},
        **_secure_boot_keys(made),
    }
    vfat(made, content, target)
    return work / target


def _secure_boot_keys(made: Ingredients) -> dict[str, Path]:
    """What firmware in setup mode enrols: for a person to do, or the loader too."""
    if made.keys is None or made.recipe.secure_boot == "off":
        return {}
    lists = secureboot.enrolment(made.tools, made.work, made.keys)
    found = {f"kairos/keys/{name}": path for name, path in lists.items()}
    if made.recipe.secure_boot == "enroll":
        found |= {f"loader/keys/auto/{name}": path for name, path in lists.items()}
    return found


def vfat(made: Ingredients, content: Mapping[str, Path], target: str) -> None:
    """A vfat image with these files, as large as they need."""
    size = sum(path.stat().st_size for path in content.values()) * 17 // 16 + SPARE
    blocks = -(-size // MIB) * 1024
    run = made.tools.run
    label = ["-n", "KR_LIVE", "-i", VOLUME_ID, "--invariant"]
    (made.work / target).unlink(missing_ok=True)
    run(["mkfs.vfat", *label, "-F", "32", "-C", target, str(blocks)], made.work, seconds=SECONDS)
    parents = (parent for name in content for parent in Path(name).parents)
    folders = sorted({str(parent) for parent in parents} - {"."})
    run(["mmd", "-i", target, *(f"::/{folder}" for folder in folders)], made.work, seconds=SECONDS)
    for name, path in content.items():
        source = str(path.relative_to(made.work))
        run(["mcopy", "-m", "-i", target, source, f"::/{name}"], made.work, seconds=SECONDS)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
