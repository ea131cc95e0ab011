"""States and events: the one vocabulary of console, web page, CLI, JSON lines and journal."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pairing import protection
from pairing.protection import Protection

SCHEMA = 1
TEXT_LIMIT = 4096
"""Characters that an event's text may hold; longer texts are cut at the front (tail of a log)."""


class State(enum.StrEnum):
    """Where a node is in its life. `FAILED` and `LOCKED` carry a code."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    APPROVED = "approved"
    REFUSED = "refused"
    PLANNED = "planned"
    INSTALLING = "installing"
    WRITTEN = "written"
    REBOOTING = "rebooting"
    INSTALLED = "installed"
    JOINED = "joined"
    READY = "ready"
    LOCKED = "locked"
    FAILED = "failed"


ORDER: tuple[State, ...] = (
    State.WAITING,
    State.CLAIMED,
    State.APPROVED,
    State.PLANNED,
    State.INSTALLING,
    State.WRITTEN,
    State.REBOOTING,
    State.INSTALLED,
    State.JOINED,
    State.READY,
)
"""The good way, in order. A `--wait` goal is reached by its state or any later one."""


def reached(state: State, goal: State) -> bool:
    """Whether `state` is at or after `goal` on the good way."""
    return state in ORDER and ORDER.index(state) >= ORDER.index(goal)


class Mode(enum.StrEnum):
    """Which boot a node is in: what it can be asked for. The kernel word `kairos.mode=`, or locked.

    `LOCKED` is an installed node whose volumes are not open: it has its report key only.
    """

    LIVE = "live"
    RECOVERY = "recovery"
    INSTALLED = "installed"
    LOCKED = "locked"


INSTALLS = frozenset({Mode.LIVE, Mode.RECOVERY})
"""The boots in which a node takes a config."""


class EventType(enum.StrEnum):
    STATE = "state"
    """The node's state changed. Signed by the node: a receipt."""
    STEP = "step"
    """A step began, advanced (`done` of `total`) or ended (`done == total`)."""
    LOG = "log"
    """A line for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened on a node.

    `node` is the node's fingerprint, `boot` the boot's id, `seq` counts from 1 within a lease and
    goes on over reconnects and the reboot, `up_ms` is milliseconds since boot (monotonic).
    `step` names the step, `of` is its number and the number of all ("3/9"), `done`/`total` its
    progress in the step's own unit. `code` is an error's slug. `dry_run`: nothing was changed.
    """

    node: str
    boot: str
    seq: int
    up_ms: int
    type: EventType
    state: State
    step: str = ""
    of: str = ""
    done: int = 0
    total: int = 0
    code: str = ""
    text: str = ""
    dry_run: bool = False
    protection: Protection | None = None
    """What protects the disk, where the event says that it is written or installed."""
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """Only the fields that say something, in the order of the class."""
        body = asdict(self)
        kept = {"node", "boot", "seq", "up_ms", "type", "state", "schema"}
        if self.protection is not None:
            body["protection"] = self.protection.to_json()
        return {key: value for key, value in body.items() if key in kept or value}


def from_json(body: Mapping[str, Any]) -> Event:
    """Read an event; unknown fields are ignored. Raises ValueError naming the wrong field."""
    try:
        event = Event(
            node=_text(body, "node", 128),
            boot=_text(body, "boot", 64),
            seq=_number(body, "seq"),
            up_ms=_number(body, "up_ms"),
            type=EventType(body["type"]),
            state=State(body["state"]),
        )
    except KeyError as missing:
        raise ValueError(f"event lacks {missing}") from None
    return replace(
        event,
        step=_text(body, "step", 64),
        of=_text(body, "of", 16),
        done=_number(body, "done"),
        total=_number(body, "total"),
        code=_text(body, "code", 64),
        text=_text(body, "text", TEXT_LIMIT),
        dry_run=body.get("dry_run", False) is True,
        protection=(
            protection.from_json(body["protection"]) if body.get("protection") is not None else None
        ),
    )


def _text(body: Mapping[str, Any], key: str, limit: int) -> str:
    value = body.get(key, "")
    if not isinstance(value, str) or len(value) > limit:
        raise ValueError(f"event field {key} is not a text of at most {limit} characters")
    return value


def _number(body: Mapping[str, Any], key: str) -> int:
    value = body.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"event field {key} is not a whole number from 0 to 2^53 - 1")
    return value
