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
        """When (UTC) an earlier run gave this code's node the config; empty: never."""
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

    def delivered(self, event: Event) -> None:
        """The machine has the config: journal and inventory. Raises errors.StoreUnwritable."""
        with contextlib.closing(self.records.journal(event.node)) as journal:
            journal.append(event, b"", "")

        def note(entry: Entry) -> Entry:
            return replace(entry, origin=replace(self.origin, at=now()))

        Inventory(self.records.folder).change(event.node, note)

    def event(self, node: str, state: State, text: str, code: str = "") -> Event:
        """The next event of this node, of our own making: Kairos nodes report none."""
        self._seq += 1
        up_ms = int((self.clock() - self._began) * 1000)
        return Event(
            node=node,
            boot=self.boot,
            seq=self._seq,
            up_ms=up_ms,
            type=EventType.STATE,
            state=state,
            code=code,
            text=text,
        )
