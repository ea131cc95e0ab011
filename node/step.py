"""What every step of a plan has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One step of any plan. `name` is stable: it is in JSON, events and the documentation."""

    name: ClassVar[str]

    @property
    def text(self) -> str:
        """What it does, in one line for people."""
        raise NotImplementedError

    @property
    def weight(self) -> int:
        """Its share of the whole, in rough seconds on a small machine."""
        return 1

    def to_json(self) -> dict[str, Any]:
        """The name and all fields, ready for `json.dumps`."""
        return {"step": self.name, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(PlanStep):
    """One step on a machine; a journal may hold it."""

    seconds: ClassVar[float] = 120.0
    """Deadline of one run of this step."""
    destructive: ClassVar[bool] = False
    """Changes the disk or the firmware: skipped in a dry run, never before the escrow."""
    rehearsed: ClassVar[bool] = False
    """Only looks, at what is there before anything is written: carried out in a dry run too."""
    needs_key: ClassVar[bool] = False
    """Needs the recovery key that was escrowed in this plan."""
    again_from: ClassVar[str] = ""
    """The step with which an interrupted run of this one starts again; empty = with itself."""
