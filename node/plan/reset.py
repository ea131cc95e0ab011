"""The plan of a reset: pure, from what lies on the disk to steps that lead back to pairing.

The order keeps two promises. Until the last old kernel is gone, the old system starts with all it
has; from then on the loader finds nothing but the recovery system, which shows a new code. And a
mark on the boot partition is there before the first change and goes after the last. What was cut
off after the last old kernel is finished by the recovery system's next start, before it pairs with
anybody; what was cut off before never came to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from node.plan.slots import EMPTY, ROOT, VERITY, Entry
from node.plan.upgrade import ClearSlot, RemoveEntry, Slot
from node.step import Step
from pairing import errors

OEM, PERSISTENT = "KR_OEM", "KR_PERSISTENT"
RECOVERY, RECOVERY_HASHES = "kr_recovery", "kr_recovery_v"
OWNER = ("kairos/report.json", "kairos/escrow.json")
"""Records beside the boot files: who owns the machine, and the sealed recovery key. They stay where
data stays: its owner can open a repair session, and open the volume."""
TRIAL = "kairos/trial.json"
"""Beside them: why the last version on trial was not good."""


class Data(StrEnum):
    """What becomes of the data volume."""

    KEEP = "keep"
    WIPE = "wipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFound:
    """A volume as it lies there. `in_use`: open or mounted now."""

    label: str
    device: str
    encrypted: bool
    in_use: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetFacts:
    """What a reset finds. `roothash`: of the recovery system, by its own kernel's line.

    `begun`: the mark of a reset that was cut off, None without.
    """

    mode: str
    version: str
    entries: Sequence[Entry]
    slots: Sequence[Slot]
    volumes: Sequence[VolumeFound]
    recovery: str = ""
    recovery_hashes: str = ""
    roothash: str = ""
    begun: Data | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRecovery(Step):
    """Read the recovery system against its hashes: it is all that is left afterwards."""

    name: ClassVar[str] = "check-recovery"
    rehearsed: ClassVar[bool] = True
    seconds: ClassVar[float] = 900.0
    data: str
    hashes: str
    roothash: str

    @property
    def text(self) -> str:
        return f"Check the recovery system on {self.data}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkReset(Step):
    """Note what was begun, so that a cut does not leave it half done."""

    name: ClassVar[str] = "mark-reset"
    destructive: ClassVar[bool] = True
    wanted: Data

    @property
    def text(self) -> str:
        return f"Note on the boot partition that a reset has begun (data: {self.wanted})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRecords(Step):
    """Remove records from the boot partition."""

    name: ClassVar[str] = "forget-records"
    destructive: ClassVar[bool] = True
    files: Sequence[str]

    @property
    def text(self) -> str:
        return f"Remove {', '.join(self.files)} from the boot partition"


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseKeys(Step):
    """Destroy every key slot of a volume: no TPM and no recovery key opens it again."""

    name: ClassVar[str] = "erase-keys"
    destructive: ClassVar[bool] = True
    label: str
    device: str

    @property
    def text(self) -> str:
        return f"Destroy all keys of {self.label} ({self.device})"


@dataclass(frozen=True, slots=True, kw_only=True)
class WipeVolume(Step):
    """Tell the disk that the volume's blocks are free, and remove what names its content."""

    name: ClassVar[str] = "wipe-volume"
    seconds: ClassVar[float] = 600.0
    destructive: ClassVar[bool] = True
    label: str
    device: str

    @property
    def text(self) -> str:
        return f"Wipe {self.label} ({self.device})"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmarkReset(Step):
    """Take the mark away: the reset is complete."""

    name: ClassVar[str] = "unmark-reset"
    destructive: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return "Note that the reset is complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPlan:
    """`unfinished`: volumes are in use, the recovery system's next start does the rest."""

    data: Data
    steps: Sequence[Step]
    unfinished: bool
    warnings: Sequence[str]

    @property
    def text(self) -> tuple[str, ...]:
        """Lines for people."""
        count = len(self.steps)
        lines = [
            f"{number}/{count} {step.name}: {step.text}"
            for number, step in enumerate(self.steps, start=1)
        ]
        if self.unfinished:
            lines.append("the rest: done by the recovery system's next start, before it pairs")
        return (_SUMMARY[self.data], *lines, *(f"warning: {text}" for text in self.warnings))


_SUMMARY = {
    Data.KEEP: "reset to pairing; the data volume stays as it is, the config and its keys go",
    Data.WIPE: "reset to pairing; the config and all data are destroyed",
}
_NOT_ENCRYPTED = "{} was never encrypted: what is on it can be read until it is written over"


def plan_reset(facts: ResetFacts, wanted: Data) -> ResetPlan:
    """The steps of a reset, or of the rest of one that was cut off.

    A reset that has begun to wipe is never turned into one that keeps: keys may be gone. With an
    old kernel left it never came to be, and its mark says nothing: what is asked now counts.
    Raises errors.ResetRefused.
    """
    _require_possible(facts)
    if facts.begun is Data.WIPE and not facts.entries:
        wanted = Data.WIPE
    gone = [volume for volume in facts.volumes if _goes(volume, wanted)]
    later = any(volume.in_use for volume in facts.volumes) or facts.mode != "recovery"
    return ResetPlan(
        data=wanted,
        steps=tuple(_steps(facts, wanted, gone, later=later)),
        unfinished=later,
        warnings=tuple(_NOT_ENCRYPTED.format(one.label) for one in gone if not one.encrypted),
    )


def _require_possible(facts: ResetFacts) -> None:
    if facts.mode not in ("installed", "recovery"):
        raise errors.ResetRefused(
            "It runs from a stick: install it from there, or start its recovery system."
        )
    if not (facts.recovery and facts.recovery_hashes and facts.roothash):
        raise errors.ResetRefused("Its disk has no recovery system to start afterwards.")
    if not any(volume.label == OEM for volume in facts.volumes):
        raise errors.ResetRefused("Its disk has no volumes of an installed system.")


def _goes(volume: VolumeFound, wanted: Data) -> bool:
    return volume.label == OEM or wanted is Data.WIPE


def _steps(
    facts: ResetFacts, wanted: Data, gone: Sequence[VolumeFound], *, later: bool
) -> Iterator[Step]:
    if facts.mode != "recovery":
        yield CheckRecovery(
            data=facts.recovery, hashes=facts.recovery_hashes, roothash=facts.roothash
        )
    yield MarkReset(wanted=wanted)
    # The one that would be started goes last: until then a cut leaves the system as it was.
    newest_first = sorted(facts.entries, key=lambda one: -_rank(one, facts.version))
    yield from (RemoveEntry(entry=entry.name) for entry in reversed(newest_first))
    yield ForgetRecords(files=(TRIAL, *(OWNER if wanted is Data.WIPE else ())))
    for volume in gone:
        if volume.encrypted:
            yield EraseKeys(label=volume.label, device=volume.device)
    if later:
        return
    for slot in facts.slots:
        if slot.label.startswith((ROOT, VERITY)) and slot.label != EMPTY:
            yield ClearSlot(device=slot.device, label=slot.label)
    yield from (WipeVolume(label=volume.label, device=volume.device) for volume in gone)
    yield UnmarkReset()


def _rank(entry: Entry, running: str) -> int:
    if entry.version == running:
        return 2
    return 1 if entry.blessed else 0
