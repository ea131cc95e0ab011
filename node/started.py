"""How this start went: what `kairos-node boot` leaves for everything after it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from node.plan.boot import ApplyStage, SealOff
from node.system.reading import read, text
from pairing.durable import write_durably

SCHEMA = 1
FOLDER = "run/kairos-register"
FILE = FOLDER + "/boot.json"
OPEN = FOLDER + "/open"
"""There if, and only if, the volumes are open and the early stages are applied: the condition of
every unit that needs them."""
LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
"""GUID of the boot loader's variables (systemd-boot(7))."""

BootState = Literal["open", "locked", "incomplete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A part of the start that failed, though the rest went on: its name and why."""

    step: str
    text: str

    @property
    def harmless(self) -> bool:
        """A TPM that does not measure: the start goes on only where nothing is encrypted."""
        return self.step == SealOff.name


@dataclass(frozen=True, slots=True, kw_only=True)
class BootReport:
    """`code` is an error's slug, `text` what its sentence does not say; empty if all is well.

    `trial`: the loader counts this start's tries, because its version is not proved yet. `means`
    tells how the volumes were opened (`node.plan.boot.Means`), `volumes` their UUIDs.
    """

    state: BootState
    code: str = ""
    text: str = ""
    version: str = ""
    trial: bool = False
    means: str = ""
    volumes: Sequence[str] = ()
    troubles: Sequence[Trouble] = ()
    schema: int = SCHEMA

    @property
    def parts(self) -> Sequence[Trouble]:
        """The troubles except those of the config's stages: each stage keeps its own outcome."""
        return tuple(one for one in self.troubles if one.step != ApplyStage.name)


def write_report(root: Path, report: BootReport) -> None:
    """Leave it, and the mark `open` if everything may go on."""
    folder = root / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(root / FILE, json.dumps(asdict(report), indent=1).encode(), 0o644)
    if report.state == "open":
        write_durably(root / OPEN, b"", 0o644)


def read_report(root: Path) -> BootReport | None:
    """None before the start is through, or if it is not an installed system."""
    try:
        body: Any = json.loads(read(root / FILE))
        troubles = tuple(Trouble(**trouble) for trouble in body.pop("troubles", ()))
        volumes = tuple(map(str, body.pop("volumes", ())))
        report = BootReport(**body, volumes=volumes, troubles=troubles)
    except (ValueError, TypeError):
        return None
    return report if report.state in get_args(BootState) else None


def on_trial(root: Path) -> bool:
    """Whether systemd-boot counts the tries of what it started."""
    return bool(counted_entry(root))


def counted_entry(root: Path) -> str:
    """Path on the boot partition of the entry that was started with a counter; empty without."""
    value = read(root / f"sys/firmware/efi/efivars/LoaderBootCountPath-{LOADER}")[4:]
    return value.decode("utf-16-le", "replace").strip("\0").replace("\\", "/")


def disk_is_open(root: Path) -> bool:
    """Whether the mark is there."""
    return (root / OPEN).exists()


def boot_id(root: Path) -> str:
    """The kernel's id of this start."""
    return text(root / "proc/sys/kernel/random/boot_id")
