"""What is kept of a registration over Kairos' protocol: journal, inventory, audit log.

A Kairos node has no key of its own: its code's name stands for it, `kairos-` and eight hex digits.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cli.audit import Audit
from cli.inventory import Entry, Inventory, Origin
from cli.records import Records, now
from pairing import keys
from pairing.events import Event, EventType, State


def name_of(text: str) -> str:
    """What journals may hold instead of the network token `text`."""
    return "kairos-" + hashlib.sha256(b"kairos-token" + text.encode()).hexdigest()[:8]


@dataclass(slots=True)
class KairosNotes:
    """The notes of one run. `boot` keeps its journal lines apart from those of other runs."""

    records: Records
    key: keys.SigningKey
    origin: Origin
    boot: str = field(default_factory=lambda: secrets.token_hex(8))
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _seq: int = 0

    def __post_init__(self) -> None:
        self._began = self.clock()

    def earlier(self, node: str) -> str:
        """When (UTC) an earlier run sent this code's node the config; empty: never."""
        told = [
            str(record.get("at", ""))
            for record in self.records.history(node)
            if record.get("state") == State.APPROVED.value
        ]
        return told[-1] if told else ""

    def sending(self, node: str, device: str) -> None:
        """A line in the audit log, before anything leaves: whether anybody came, it cannot know.

        Raises errors.StoreUnwritable, errors.AuditBroken: then nothing is sent.
        """
        about = {"security": "bearer", "device": device, "config": ", ".join(self.origin.files)}
        Audit(self.records.folder, self.key).note("kairos-offer", node, **about)

    def ended(self, node: str, event: Event | None, outcome: str, peer: str) -> None:
        """How it ended. `event`: the config has left; `outcome`: acknowledged, or an error's slug.

        The journal gets the event, the inventory where the machine's config is from if it has it,
        the audit log a line in any case. Raises errors.StoreUnwritable, errors.AuditBroken.
        """
        if event is not None:
            with contextlib.closing(self.records.journal(node)) as journal:
                journal.append(event, b"", "")
            if event.type is EventType.STATE:
                Inventory(self.records.folder).change(node, self._with_origin)
        about = {"outcome": outcome, "sent": "yes" if event else "no", "peer": peer}
        Audit(self.records.folder, self.key).note("kairos-end", node, **about)

    def _with_origin(self, entry: Entry) -> Entry:
        return replace(entry, origin=replace(self.origin, at=now()))

    def event(self, node: str, text: str, code: str, *, has_it: bool) -> Event:
        """The next event of this node, of our own making: Kairos nodes report none.

        A state only if the machine has the config for certain, else a line.
        """
        self._seq += 1
        up_ms = int((self.clock() - self._began) * 1000)
        return Event(
            node=node,
            boot=self.boot,
            seq=self._seq,
            up_ms=up_ms,
            type=EventType.STATE if has_it else EventType.LOG,
            state=State.APPROVED,
            code=code,
            text=text,
        )
