"""The plan of an installation: pure, from facts and config to steps.

Nothing here looks at the machine, the clock or random numbers: the same input gives the same plan,
at the operator who approves it and at the node that runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from node.plan.encrypt import LITERAL_PCRS, SIGNED_PCRS, Encryption, Mode, choose_encryption
from node.steps import (
    BindTang,
    CheckDisk,
    CheckImage,
    EscrowKey,
    MarkComplete,
    Partition,
    Plan,
    ProveKey,
    SetBootEntries,
    Step,
    WipeTables,
    WriteDisk,
)
from pairing import errors
from pairing.config.validate import choose_disk
from pairing.facts import Disk, Facts, binary_size, disk_text

MIB = 2**20
GRAIN = 4 * MIB
"""Partitions start and end on multiples of this."""
TABLE_ROOM = 2 * MIB
"""For both copies of the partition table and the alignment of the first partition."""
SMALLEST_ESP, SMALLEST_SLOT, SMALLEST_VERITY = 512 * MIB, 384 * MIB, 16 * MIB
LUKS_HEADER = 16 * MIB
OEM_SIZE = 64 * MIB + LUKS_HEADER
SMALLEST_PERSISTENT = 1024 * MIB
VOLUMES = ("KR_OEM", "KR_PERSISTENT")
"""The encrypted ones: the config with this node's key and lease, and the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The image that is installed. Sizes in bytes; 0 where they are not known yet."""

    version: str = ""
    arch: str = ""
    root: int = 0
    verity: int = 0
    kernel: int = 0
    """One unified kernel image with its initrd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallOptions:
    """What comes from neither facts nor config.

    `device` is the disk that the operator's signed manifest names: the plan is for it or fails.
    `recipients` are the fingerprints of the escrow keys of that manifest.
    """

    image: Image = field(default_factory=Image)
    device: str = ""
    recipients: Sequence[str] = ()


DEFAULT = InstallOptions()


def plan_install(
    facts: Facts, config: Mapping[str, Any], options: InstallOptions = DEFAULT
) -> Plan:
    """The steps that install this machine.

    `config` is a valid document (`pairing.config`). Raises errors.ConfigNotForThisMachine, or
    what `choose_disk` raises when no disk, or more than one, qualifies.
    """
    _check_machine(facts, options.image)
    disk = choose_disk(config, facts)
    if options.device and options.device not in (disk.path, *disk.by_id):
        raise errors.ConfigNotForThisMachine(
            f"The operator released it for {options.device}, but the config chooses {disk.path}."
        )
    encryption = choose_encryption(config, facts)
    partitions = layout(options.image, encrypted=encryption.mode is not Mode.NONE)
    _check_size(disk, partitions)
    return Plan(
        kind="install",
        disk=disk,
        encryption=encryption.mode.value,
        steps=tuple(_steps(facts, disk, encryption, partitions, options)),
        summary=tuple(_summary(facts, disk, encryption, config)),
        warnings=tuple(_warnings(facts, disk, encryption, options)),
    )


def layout(image: Image, *, encrypted: bool) -> tuple[Partition, ...]:
    """The partitions, in their order on the disk. A slot has room for twice the image."""
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
        ),
        Partition(
            label=oem,
            kind="linux-generic",
            size=OEM_SIZE,
            filesystem="ext4",
            encrypted=encrypted,
            content=("config", "node key and lease"),
        ),
        Partition(label=f"kr_root_{version}", kind="root", size=root, content=("image",)),
        Partition(
            label=f"kr_verity_{version}", kind="root-verity", size=verity, content=("image hashes",)
        ),
        Partition(label="_empty", kind="root", size=root, content=("empty, for the upgrade",)),
        Partition(label="_empty", kind="root-verity", size=verity),
        # Of another kind than the slots, so that an upgrade never takes it for one.
        Partition(
            label="kr_recovery", kind="linux-generic", size=root, content=("recovery image",)
        ),
        Partition(
            label="kr_recovery_v",
            kind="linux-generic",
            size=verity,
            content=("recovery image hashes",),
        ),
        Partition(
            label=persistent, kind="linux-generic", size=0, filesystem="ext4", encrypted=encrypted
        ),
    )


def smallest_disk(partitions: Sequence[Partition]) -> int:
    """Bytes that a disk must have for this layout."""
    return TABLE_ROOM + sum(part.size or SMALLEST_PERSISTENT for part in partitions)


def _steps(
    facts: Facts,
    disk: Disk,
    encryption: Encryption,
    partitions: tuple[Partition, ...],
    options: InstallOptions,
) -> list[Step]:
    mode, path = encryption.mode, disk.path
    encrypted = mode is not Mode.NONE
    # With Tang as second condition a TPM slot of its own would be a way around it.
    tpm_alone = mode is Mode.TPM2
    steps: list[Step] = [
        CheckImage(version=options.image.version),
        CheckDisk(disk=path, serial=disk.serial, size=disk.size, content=tuple(disk.content)),
    ]
    if encrypted:
        steps.append(EscrowKey(recipients=tuple(options.recipients), volumes=VOLUMES))
    steps += [
        WipeTables(disk=path),
        WriteDisk(
            disk=path,
            partitions=partitions,
            copied=2 * (options.image.root + options.image.verity),
            tpm=tpm_alone,
            pcrs=LITERAL_PCRS if tpm_alone else (),
            signed_pcrs=SIGNED_PCRS if tpm_alone else (),
        ),
    ]
    if mode.uses_tang:
        servers = tuple(encryption.servers)
        bind = BindTang(disk=path, volumes=VOLUMES, servers=servers, with_tpm=mode.uses_tpm)
        steps.append(bind)
    if encrypted:
        steps.append(ProveKey(disk=path, volumes=VOLUMES))
    if facts.firmware == "uefi":
        entries = ("installed system", "recovery system")
        steps.append(SetBootEntries(disk=path, entries=entries))
    return [*steps, MarkComplete(disk=path)]


def _check_machine(facts: Facts, image: Image) -> None:
    if facts.mode == "installed":
        raise errors.ConfigNotForThisMachine(
            "It runs from its own disk: start it from the stick to install it again."
        )
    if facts.firmware == "bios":
        raise errors.ConfigNotForThisMachine(
            "It was started by BIOS: switch its firmware to UEFI and start the stick again."
        )
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


def _summary(
    facts: Facts, disk: Disk, encryption: Encryption, config: Mapping[str, Any]
) -> list[str]:
    machine = " ".join(filter(None, (facts.vendor, facts.product))) or "unknown"
    serial = f", serial {facts.serial}" if facts.serial else ""
    lines = [f"machine: {machine}{serial}"]
    if config.get("hostname"):
        lines.append(f"hostname: {config['hostname']}")
    return [*lines, f"disk: {disk_text(disk)}", f"encryption: {encryption.text}"]


def _warnings(
    facts: Facts, disk: Disk, encryption: Encryption, options: InstallOptions
) -> list[str]:
    warnings = []
    if disk.content:
        warnings.append(f"everything on {disk.path} is lost: {', '.join(disk.content)}")
    if encryption.mode is Mode.NONE:
        warnings.append("no encryption: whoever takes the disk reads the config and its secrets")
    if encryption.mode is Mode.RECOVERY_ONLY:
        warnings.append("after every start the machine waits for a person with the recovery key")
    if encryption.mode.uses_tpm and facts.secure_boot != "on":
        warnings.append(
            "Secure Boot is not on: the TPM ties the disk to this machine,"
            " but does not prove what software it starts"
        )
    if encryption.mode is not Mode.NONE and len(options.recipients) == 1:
        warnings.append("one escrow key only: if it is lost, so are all recovery keys")
    if facts.firmware == "devicetree":
        warnings.append("this board keeps no boot entries: it starts whatever disk it finds first")
    if not any(nic.link for nic in facts.nics):
        warnings.append("no network cable is connected")
    return warnings


def _round(size: int) -> int:
    return -(-size // GRAIN) * GRAIN
