"""The plan of an upgrade: pure, from what lies on the disk and what a source offers to steps.

Rules: only from a version that was proved good; the running slot and the last good one are never
written; the new kernel is looked at before anything is changed; what is removed is removed before
anything new is written, entries before their slots, so that at no moment an entry is left whose
slot is not whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from node.plan.slots import ROOT, VERITY, Entry, is_newer, last_good, version_key
from node.step import Step
from pairing import errors
from pairing.facts import binary_size

VERSION = re.compile(r"[A-Za-z0-9.+~^-]{1,26}", re.A)
FILE = re.compile(r"kr_(?P<version>[^/_]+)\.(?P<kind>root|verity|efi)", re.A)
SUM = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>[^/\s]+)", re.A)
KINDS = ("verity", "root", "efi")
"""The order of writing: the kernel, which is the boot entry, comes last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A partition of a slot: its device and its label."""

    device: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeFacts:
    """What is there. Sizes in bytes; `kernel` is the running one's, `room` free on the ESP.

    `tries`: how often the loader starts a new version before it goes back, as the image says.
    """

    mode: str
    version: str
    disk: str
    entries: Sequence[Entry]
    slots: Sequence[Slot]
    room: int
    kernel: int
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A source whose list of files is signed. `base` and `room`: URLs, with a slash at the end.

    `name`: for people. `room`: of the folder where its kernel is brought first, with the list; all
    files, where systemd-sysupdate cannot read the source (`base` is the same then).
    """

    name: str
    base: str
    room: str
    versions: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveEntry(Step):
    """Remove a boot entry, so that nothing starts the slot that will be written."""

    name: ClassVar[str] = "remove-entry"
    destructive: ClassVar[bool] = True
    entry: str

    @property
    def text(self) -> str:
        return f"Remove the boot entry {self.entry}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearSlot(Step):
    """Mark a slot's partition as empty."""

    name: ClassVar[str] = "clear-slot"
    destructive: ClassVar[bool] = True
    device: str
    label: str

    @property
    def text(self) -> str:
        return f"Mark {self.label} ({self.device}) as empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFiles(Step):
    """Bring these files of a version here, each checked against the signed list."""

    name: ClassVar[str] = "fetch-files"
    seconds: ClassVar[float] = 3600.0
    source: str
    version: str
    kinds: tuple[str, ...]

    @property
    def text(self) -> str:
        what = "version" if self.kinds == KINDS else "the kernel of version"
        return f"Fetch {what} {self.version} from {self.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSlot(Step):
    """Write the new version: one run of systemd-sysupdate, which checks signature and digests.

    `kernel`: the URL of the folder with the kernel that was looked at.
    """

    name: ClassVar[str] = "write-slot"
    seconds: ClassVar[float] = 3600.0
    destructive: ClassVar[bool] = True
    version: str
    base: str
    kernel: str
    disk: str
    protected: str
    tries: int

    @property
    def text(self) -> str:
        return f"Write version {self.version} beside {self.protected or 'nothing'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckKernel(Step):
    """Check that this firmware starts the new kernel, and that the volumes will open under it."""

    name: ClassVar[str] = "check-kernel"
    version: str

    @property
    def text(self) -> str:
        return f"Check that this machine starts {self.version} and its volumes open under it"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradePlan:
    """`protected`: the version that stays whatever happens."""

    version: str
    protected: str
    steps: Sequence[Step]

    @property
    def text(self) -> tuple[str, ...]:
        """Lines for people."""
        count = len(self.steps)
        lines = (
            f"{number}/{count} {step.name}: {step.text}"
            for number, step in enumerate(self.steps, start=1)
        )
        stays = f"{self.protected} stays" if self.protected else "no good version is there"
        return (f"upgrade to {self.version}; {stays}", *lines)


def plan_upgrade(facts: UpgradeFacts, offer: Offer, wanted: str = "") -> UpgradePlan:
    """The steps to `wanted`, or to the newest version of the offer. Raises errors.UpgradeRefused.

    From the recovery system the last good version is kept, if there is one.
    """
    protected = _protected(facts)
    version = _chosen(facts, offer, wanted, protected)
    _require_room(facts, protected)
    return UpgradePlan(
        version=version,
        protected=protected,
        steps=tuple(_steps(facts, offer, version, protected)),
    )


def _protected(facts: UpgradeFacts) -> str:
    if facts.mode == "recovery":
        return last_good(facts.entries)
    if facts.mode != "installed":
        raise errors.UpgradeRefused("This system is not installed: it runs from a stick.")
    running = [entry for entry in facts.entries if entry.version == facts.version]
    if not any(entry.blessed for entry in running):
        raise errors.UpgradeRefused(
            f"Version {facts.version}, which is running, was not proved good yet."
        )
    return facts.version


def _chosen(facts: UpgradeFacts, offer: Offer, wanted: str, protected: str) -> str:
    if wanted and wanted not in offer.versions:
        there = ", ".join(offer.versions) or "none"
        raise errors.UpgradeRefused(f"Version {wanted} is not there; there is: {there}.")
    version = wanted or next(iter(offer.versions), "")
    if not version:
        raise errors.UpgradeRefused("There is no complete version.")
    if protected and not is_newer(version, protected):
        raise errors.UpgradeRefused(f"Version {version} is not newer than {protected}.")
    return version


def _require_room(facts: UpgradeFacts, protected: str) -> None:
    removed = sum(entry.version != protected for entry in facts.entries)
    room = facts.room + removed * facts.kernel
    # The new kernel may be a little larger; systemd-sysupdate writes it beside, then renames.
    needed = facts.kernel + facts.kernel // 4
    if room < needed:
        raise errors.UpgradeRefused(
            f"The boot partition has room for {binary_size(room)}, {binary_size(needed)} needed."
        )


def _steps(facts: UpgradeFacts, offer: Offer, version: str, protected: str) -> Iterator[Step]:
    kinds = KINDS if offer.base == offer.room else KINDS[-1:]
    yield FetchFiles(source=offer.name, version=version, kinds=kinds)
    yield CheckKernel(version=version)
    for entry in facts.entries:
        if entry.version != protected:
            yield RemoveEntry(entry=entry.name)
    kept = {ROOT + protected, VERITY + protected} if protected else set()
    for slot in facts.slots:
        if slot.label.startswith((ROOT, VERITY)) and slot.label not in kept:
            yield ClearSlot(device=slot.device, label=slot.label)
    yield WriteSlot(
        version=version,
        base=offer.base,
        kernel=offer.room,
        disk=facts.disk,
        protected=protected,
        tries=facts.tries,
    )


# --- what is offered ----------------------------------------------------------------------------


def read_sums(text: str) -> Mapping[str, str]:
    """File names and SHA-256 digests of a list as sha256sum(1) writes it. Raises ValueError."""
    lines = [SUM.fullmatch(line) for line in text.splitlines() if line]
    if not all(lines) or len(lines) > 1000:
        raise ValueError("not a list of checksums")
    return {match["name"]: match["digest"] for match in lines if match}


def complete_versions(names: Sequence[str]) -> tuple[str, ...]:
    """Versions of which all files are there, the newest first."""
    kinds: dict[str, set[str]] = {}
    for match in map(FILE.fullmatch, names):
        if match and VERSION.fullmatch(match["version"]):
            kinds.setdefault(match["version"], set()).add(match["kind"])
    whole = [version for version, found in kinds.items() if found == set(KINDS)]
    return tuple(sorted(whole, key=version_key, reverse=True))


# --- what systemd-sysupdate is told -------------------------------------------------------------


def definitions(step: WriteSlot, boot: str) -> Mapping[str, str]:
    """File names and texts for sysupdate.d(5). `boot` is the folder of the boot entries."""
    kinds = {"verity": "root-verity", "root": "root"}
    return {
        f"{number * 10}-{kind}.transfer": "\n".join(
            (*_source(step, kind), "", *_target(step, kind, kinds.get(kind, ""), boot), "")
        )
        for number, kind in enumerate(KINDS, start=1)
    }


def _source(step: WriteSlot, kind: str) -> Iterator[str]:
    yield "[Transfer]"
    if step.protected:
        yield f"ProtectVersion={_literal(step.protected)}"
        yield f"MinVersion={_literal(step.protected)}"
    yield "Verify=yes"
    base = step.kernel if kind == KINDS[-1] else step.base
    yield from ("", "[Source]", "Type=url-file", f"Path={_literal(base)}")
    yield f"MatchPattern=kr_@v.{kind}"


def _target(step: WriteSlot, kind: str, part: str, boot: str) -> Iterator[str]:
    yield "[Target]"
    if part:
        yield from ("Type=partition", f"Path={step.disk}", f"MatchPattern=kr_{kind}_@v")
        yield f"MatchPartitionType={part}"
    else:
        yield from ("Type=regular-file", f"Path={boot}")
        yield "MatchPattern=kr_@v+@l-@d.efi kr_@v+@l.efi kr_@v.efi"
        yield from ("Mode=0400", f"TriesLeft={step.tries}", "TriesDone=0")
    yield "InstancesMax=2"


def _literal(text: str) -> str:
    """`%` begins a specifier in systemd's files."""
    return text.replace("%", "%%")
