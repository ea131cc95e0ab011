"""The plan of an installed system's start: pure, from what lies on the disk to steps.

The order keeps three promises. Both volumes are open before anything of them is used. The TPM is
closed (`SealOff`) before anything of them is used: whatever a volume makes the system do, it can
not ask the TPM for a key again. Nothing of the data is used before the two are known to belong
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from node.plan.header import Header
from node.steps import Step
from pairing import errors

OEM, PERSISTENT = "KR_OEM", "KR_PERSISTENT"
MAPPED = {OEM: "kr_oem", PERSISTENT: "kr_persistent"}
OEM_FOLDER, DATA_FOLDER = "/oem", "/usr/local"
STATE_FOLDER = DATA_FOLDER + "/.kairos/state"
EARLY_STAGES = ("initramfs", "fs")
"""Stages before sysinit.target; `boot` has a unit of its own (it may start services)."""

Means = Literal["none", "tpm2", "approval", "clevis", "key"]
"""How a volume opens: it is not encrypted; by its TPM; by TPM and PIN; by clevis (Tang); by a key
that a person gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A volume as it lies on the disk. `filesystem` as blkid(8) names it, empty = not known.

    `header` is None if there is none that can be read. `is_open`: its mapping exists already.
    """

    label: str
    device: str
    filesystem: str
    header: Header | None = None
    uuid: str = ""
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFacts:
    """What the start finds. `esp` is the device of the boot partition, empty if not found."""

    volumes: Sequence[Found]
    esp: str = ""
    esp_mounted: bool = False
    tpm: bool = False
    kept: Sequence[str] = ()
    """Paths that are kept over restarts (persistent.conf)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootStep(Step):
    """A step of the start. If one that is not `required` fails, it is told and the rest goes on."""

    required: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MountEsp(BootStep):
    """Make the boot partition readable: its boot files and the machine's records."""

    name: ClassVar[str] = "mount-esp"
    required: ClassVar[bool] = False
    device: str

    @property
    def text(self) -> str:
        return f"Mount the boot partition {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVolume(BootStep):
    """Open an encrypted volume. Its failure means: locked."""

    name: ClassVar[str] = "open-volume"
    seconds: ClassVar[float] = 180.0
    label: str
    device: str
    means: Means

    @property
    def mapped(self) -> str:
        """Its name below /dev/mapper."""
        return MAPPED[self.label]

    @property
    def text(self) -> str:
        how = {
            "tpm2": "with the TPM",
            "approval": "with the TPM, after an operator's approval",
            "clevis": "with its Tang server",
            "key": "with the recovery key",
        }
        return f"Open {self.label} {how.get(self.means, '')}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class SealOff(BootStep):
    """Measure that the volumes are open: until the next start the TPM gives their key to nobody."""

    name: ClassVar[str] = "seal-off"
    volumes: Sequence[str]
    """Their UUIDs: what is measured."""
    strict: bool
    """Without it, nothing goes on. Not where nothing is encrypted: an old TPM must not stop that
    machine, and one that was exchanged for such a disk has a TPM that measures."""

    @property
    def text(self) -> str:
        return "Close the TPM until the next start"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountVolume(BootStep):
    """Check and mount a volume's file system."""

    name: ClassVar[str] = "mount-volume"
    seconds: ClassVar[float] = 600.0
    label: str
    device: str
    where: str
    options: str

    @property
    def text(self) -> str:
        return f"Mount {self.label} at {self.where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchVolumes(BootStep):
    """Check that the two volumes are of the same installation. Its failure means: locked."""

    name: ClassVar[str] = "match-volumes"

    @property
    def text(self) -> str:
        return "Check that the volumes belong together"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPath(BootStep):
    """Bind a path to its place on the data volume."""

    name: ClassVar[str] = "keep-path"
    required: ClassVar[bool] = False
    path: str

    @property
    def text(self) -> str:
        return f"Keep {self.path} over restarts"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepIdentity(BootStep):
    """Host keys of ssh and the machine id: made once, the same at every start."""

    name: ClassVar[str] = "keep-identity"
    required: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return "Restore host keys and machine id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyStage(BootStep):
    """Carry out one stage of the config."""

    name: ClassVar[str] = "apply-stage"
    seconds: ClassVar[float] = 300.0
    required: ClassVar[bool] = False
    stage: str

    @property
    def text(self) -> str:
        return f"Apply the config's stage {self.stage}"


def plan_boot(facts: BootFacts) -> tuple[BootStep, ...]:
    """The steps of this start. Raises errors.HeaderDamaged if a volume is not there at all."""
    return tuple(_steps(facts))


def means_of(volume: Found) -> Means:
    """How a volume opens, by what lies on the disk. Raises errors.HeaderDamaged.

    Whoever has the disk can exchange a volume for one that opens in another way: `SealOff` and
    `MatchVolumes` are there for that.
    """
    if volume.filesystem == "ext4":
        return "none"
    if volume.filesystem != "crypto_LUKS" or volume.header is None:
        raise errors.HeaderDamaged(element=volume.label)
    if volume.header.clevis:
        return "clevis"
    if volume.header.by_pin:
        return "approval"
    return "tpm2" if volume.header.tpm else "key"


def _steps(facts: BootFacts) -> Iterator[BootStep]:
    oem, persistent = (_named(facts, label) for label in (OEM, PERSISTENT))
    if facts.esp and not facts.esp_mounted:
        yield MountEsp(device=facts.esp)
    for volume in (oem, persistent):
        means = means_of(volume)
        if means != "none" and not volume.is_open:
            yield OpenVolume(label=volume.label, device=volume.device, means=means)
    if facts.tpm:
        encrypted = "none" not in (means_of(oem), means_of(persistent))
        yield SealOff(volumes=(oem.uuid, persistent.uuid), strict=encrypted)
    yield _mount(oem, OEM_FOLDER, "nodev,nosuid,noexec")
    yield _mount(persistent, DATA_FOLDER, "nodev")
    yield MatchVolumes()
    yield from (KeepPath(path=path) for path in facts.kept)
    yield KeepIdentity()
    yield from (ApplyStage(stage=stage) for stage in EARLY_STAGES)


def _named(facts: BootFacts, label: str) -> Found:
    for volume in facts.volumes:
        if volume.label == label:
            return volume
    raise errors.HeaderDamaged("The partition is not there.", element=label)


def _mount(volume: Found, where: str, options: str) -> MountVolume:
    encrypted = volume.filesystem != "ext4"
    device = f"/dev/mapper/{MAPPED[volume.label]}" if encrypted else volume.device
    return MountVolume(label=volume.label, device=device, where=where, options=options)
