"""The plan of an installation: pure, from facts and config to steps.

Nothing here looks at the machine, the clock or random numbers: the same input gives the same plan,
at the operator who approves it and at the node that runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from node.partition import VERSION, Partition
from node.plan.encrypt import LITERAL_PCRS, SIGNED_PCRS, describe
from node.plan.reset import OWNER
from node.steps import (
    BindApproval,
    BindTang,
    CheckData,
    CheckDisk,
    CheckImage,
    CheckMachine,
    ClearBoot,
    EscrowKey,
    FillBoot,
    KeepConfig,
    KeepData,
    MakeVolumes,
    MarkComplete,
    Plan,
    ProveKey,
    SetBootEntries,
    Step,
    WipeTables,
    WriteDisk,
)
from pairing import errors
from pairing.config.document import Document
from pairing.config.machine import choose_disk, is_own, keeps_data, require_fit
from pairing.config.rules import Encryption, encryption
from pairing.facts import Disk, Facts, Image, binary_size, disk_text, machine_name

MIB = 2**20
GRAIN = 4 * MIB
"""Partitions start and end on multiples of this."""
TABLE_ROOM = 2 * MIB
"""For both copies of the partition table and the alignment of the first partition."""
SMALLEST_ESP, SMALLEST_SLOT, SMALLEST_VERITY = 512 * MIB, 384 * MIB, 16 * MIB
LUKS_HEADER = 16 * MIB
OEM_SIZE = 64 * MIB + LUKS_HEADER
SMALLEST_PERSISTENT = 1024 * MIB
RECOVERY = "9d28fd57-6e1f-4c0e-8b0d-2b3f0a6b7c11"
RECOVERY_HASHES = "9d28fd57-6e1f-4c0e-8b0d-2b3f0a6b7c12"
"""Partition types of our own: an upgrade never takes them for slots, nor systemd-repart, which
knows partitions by their type, for one of the others when it makes those anew."""
VOLUMES = ("KR_OEM", "KR_PERSISTENT")
"""The encrypted ones: the config with this node's key and lease, and the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallOptions:
    """What comes from neither facts nor config.

    `device` is the disk that the operator's signed manifest names: the plan is for it or fails.
    `recipients` are the fingerprints of the escrow keys of that manifest. `release` names lease and
    config: a journal of another release, with other secrets in its config, never counts for this.
    """

    device: str = ""
    recipients: Sequence[str] = ()
    release: str = ""


DEFAULT = InstallOptions()
UNKNOWN_IMAGE = Image(version="")
"""Planned with where a machine has no image to install: a rehearsal, with the smallest sizes."""


_SECURE_BOOT = {"off": "switched off", "setup": "in setup mode"}


def plan_install(facts: Facts, config: Document, options: InstallOptions = DEFAULT) -> Plan:
    """The steps that install this machine.

    `config` is valid and rendered (`pairing.config`). Raises errors.ConfigNotForThisMachine, or
    errors.DiskNotChosen if more than one disk would do.
    """
    image = facts.image or UNKNOWN_IMAGE
    _check_machine(facts, image)
    require_fit(config, facts)
    disk = choose_disk(config, facts)
    if options.device and options.device not in (disk.path, *disk.by_id):
        raise errors.ConfigNotForThisMachine(
            f"It was released for {options.device}, but the config chooses {disk.path}."
        )
    asked = encryption(config)
    if facts.image and asked.mode == "tpm2" and not facts.image.policies:
        raise errors.ConfigNotForThisMachine(
            "Its image has no key for signed policies, so the TPM could not tell its kernels from"
            " others: build it with keys, or choose another install.encrypt.mode."
        )
    keep, encrypted = keeps_data(config), asked.mode != "none"
    partitions = layout(image, encrypted=encrypted, again=is_own(disk, facts), keep=keep)
    _check_size(disk, partitions)
    return Plan(
        kind="reinstall" if is_own(disk, facts) else "install",
        disk=disk,
        encryption=asked.mode,
        steps=tuple(_steps(facts, image, disk, asked, partitions, options)),
        summary=tuple(_summary(facts, disk, asked, config)),
        warnings=(*_lost(disk, keep=keep), *_warnings(facts, disk, asked, options)),
        release=options.release,
    )


def layout(
    image: Image, *, encrypted: bool, again: bool = False, keep: bool = False
) -> tuple[Partition, ...]:
    """The partitions, in their order on the disk. A slot has room for twice the image.

    `again`: the boot partition and the recovery system are there and stay. `keep`: so do both
    volumes' partitions; of one kind, they could not be told apart if one of them was made anew.
    """
    esp = _round(max(SMALLEST_ESP, 6 * image.kernel))
    root = _round(max(SMALLEST_SLOT, 2 * image.root))
    verity = _round(max(SMALLEST_VERITY, 2 * image.verity))
    records = ("sealed recovery key", "report record") if encrypted else ("report record",)
    oem, persistent = VOLUMES
    version = image.version or "1"
    return (
        Partition(
            label="KR_ESP",
            kind="esp",
            size=esp,
            filesystem="vfat",
            content=("boot files", *records),
            source="boot",
            kept=again,
        ),
        Partition(
            label=oem,
            kind="linux-generic",
            size=OEM_SIZE,
            filesystem="ext4",
            encrypted=encrypted,
            content=("config", "node key and lease"),
            kept=keep,
        ),
        Partition(
            label=f"kr_root_{version}",
            kind="root",
            size=root,
            content=("image",),
            source="root",
        ),
        Partition(
            label=f"kr_verity_{version}",
            kind="root-verity",
            size=verity,
            content=("image hashes",),
            source="hashes",
        ),
        Partition(label="_empty", kind="root", size=root, content=("empty, for the upgrade",)),
        Partition(label="_empty", kind="root-verity", size=verity),
        *_recovery(root, verity, again),
        Partition(
            label=persistent,
            kind="linux-generic",
            size=0,
            filesystem="ext4",
            encrypted=encrypted,
            kept=keep,
        ),
    )


def _recovery(root: int, verity: int, again: bool) -> tuple[Partition, Partition]:
    return (
        Partition(
            label="kr_recovery",
            kind=RECOVERY,
            size=root,
            content=("recovery image",),
            source="root",
            kept=again,
        ),
        Partition(
            label="kr_recovery_v",
            kind=RECOVERY_HASHES,
            size=verity,
            content=("recovery image hashes",),
            source="hashes",
            kept=again,
        ),
    )


def smallest_disk(partitions: Sequence[Partition]) -> int:
    """Bytes that a disk must have for this layout."""
    return TABLE_ROOM + sum(part.size or SMALLEST_PERSISTENT for part in partitions)


def _steps(
    facts: Facts,
    image: Image,
    disk: Disk,
    asked: Encryption,
    partitions: tuple[Partition, ...],
    options: InstallOptions,
) -> Iterator[Step]:
    path, encrypted = disk.path, asked.mode != "none"
    # A slot that the TPM opens alone would be a way around Tang, and around the approval.
    tpm_alone = asked.mode == "tpm2" and not asked.by_approval
    tang = (asked.tang,) if asked.wants_tang else ()
    uefi, arch = facts.firmware == "uefi", image.arch or facts.arch
    yield CheckImage(version=image.version)
    own = is_own(disk, facts)
    yield CheckDisk(
        disk=path, serial=disk.serial, size=disk.size, content=tuple(disk.content), own=own
    )
    yield CheckMachine(tpm=asked.wants_tpm, tang=tang, boot_entries=uefi)
    keep = any(part.kept for part in partitions if part.label == VOLUMES[1])
    if keep:
        yield CheckData(disk=path, volume=VOLUMES[1], encrypted=encrypted)
    if encrypted:
        yield EscrowKey(recipients=tuple(options.recipients), volumes=VOLUMES)
    if encrypted and not keep:
        yield _make_volumes(tpm=tpm_alone)
    forgets = () if keep else OWNER
    yield ClearBoot(disk=path, forgets=forgets) if own else WipeTables(disk=path)
    yield WriteDisk(
        disk=path,
        partitions=partitions,
        copied=(1 if own else 2) * (image.root + image.verity),
        again=own,
    )
    if keep:
        yield _keep_data(path, encrypted=encrypted, tpm=tpm_alone)
    if tang:
        yield BindTang(
            disk=path,
            volumes=VOLUMES,
            servers=tang,
            with_tpm=asked.wants_tpm,
            pcrs=LITERAL_PCRS if asked.wants_tpm else (),
        )
    if asked.mode == "tpm2" and asked.by_approval:
        yield BindApproval(disk=path, volumes=VOLUMES, pcrs=LITERAL_PCRS, signed_pcrs=SIGNED_PCRS)
    if encrypted:
        yield ProveKey(disk=path, volumes=VOLUMES)
    yield KeepConfig(disk=path, volume=VOLUMES[0], encrypted=encrypted)
    if own:
        yield FillBoot(disk=path)
    if uefi:
        entries = ("installed system", "recovery system")
        yield SetBootEntries(disk=path, entries=entries, arch=arch)
    yield MarkComplete(disk=path, arch=arch)


def _make_volumes(*, tpm: bool) -> MakeVolumes:
    return MakeVolumes(
        volumes=VOLUMES,
        tpm=tpm,
        pcrs=LITERAL_PCRS if tpm else (),
        signed_pcrs=SIGNED_PCRS if tpm else (),
    )


def _keep_data(disk: str, *, encrypted: bool, tpm: bool) -> KeepData:
    return KeepData(
        disk=disk,
        config=VOLUMES[0],
        volume=VOLUMES[1],
        encrypted=encrypted,
        tpm=tpm,
        pcrs=LITERAL_PCRS if tpm else (),
        signed_pcrs=SIGNED_PCRS if tpm else (),
    )


def _check_machine(facts: Facts, image: Image) -> None:
    if facts.mode == "installed":
        raise errors.ConfigNotForThisMachine(
            "It runs from its own disk: start it from the stick to install it again."
        )
    if facts.firmware == "bios":
        raise errors.ConfigNotForThisMachine(
            "It was started by BIOS: switch its firmware to UEFI and start the stick again."
        )
    if image.version and not VERSION.fullmatch(image.version):
        raise errors.ConfigNotForThisMachine("Its image's version cannot be a partition label.")
    if image.arch and facts.arch and image.arch != facts.arch:
        raise errors.ConfigNotForThisMachine(
            f"The image is for {image.arch}, the machine is {facts.arch}."
        )


def _check_size(disk: Disk, partitions: tuple[Partition, ...]) -> None:
    least = smallest_disk(partitions)
    if disk.size < least:
        raise errors.ConfigNotForThisMachine(
            f"{disk.path} has {binary_size(disk.size)}, but {binary_size(least)} are needed."
        )


def _summary(facts: Facts, disk: Disk, asked: Encryption, config: Document) -> Iterator[str]:
    yield f"machine: {machine_name(facts)}" + (f", serial {facts.serial}" if facts.serial else "")
    if hostname := config.get("hostname"):
        yield f"hostname: {hostname}"
    yield f"disk: {disk_text(disk)}"
    yield f"encryption: {describe(asked)}"


def _lost(disk: Disk, *, keep: bool) -> Iterator[str]:
    if keep:
        yield f"the data on {VOLUMES[1]} stays; everything else on {disk.path} is lost"
    elif disk.content:
        yield f"everything on {disk.path} is lost: {', '.join(disk.content)}"


def _warnings(
    facts: Facts, disk: Disk, asked: Encryption, options: InstallOptions
) -> Iterator[str]:
    if asked.mode == "none":
        yield "no encryption: whoever takes the disk reads the config and its secrets"
    if asked.mode == "recovery-only":
        yield "after every start the machine waits for a person with the recovery key"
    if asked.wants_tpm and facts.secure_boot != "on":
        yield (
            "Secure Boot is not on: the TPM ties the disk to this machine,"
            " but does not prove what software it starts"
        )
    if facts.image and facts.image.secure_boot not in ("", "off") and facts.secure_boot != "on":
        yield (
            "the image is signed for Secure Boot, but this machine's firmware has it"
            f" {_SECURE_BOOT.get(facts.secure_boot, 'not at all')}"
        )
    if asked.wants_tang and asked.wants_tpm:
        yield "with a Tang server the TPM cannot check who signed the kernel (register 11)"
    if asked.mode != "none" and len(options.recipients) == 1:
        yield "one escrow key only: if it is lost, so are all recovery keys"
    if facts.firmware == "devicetree":
        yield "this board keeps no boot entries: it starts whatever disk it finds first"
    if not any(nic.link for nic in facts.nics):
        yield "no network cable is connected"


def _round(size: int) -> int:
    return -(-size // GRAIN) * GRAIN
