"""The events of one lease, numbered, kept for whoever reconnects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pairing.events import TEXT_LIMIT, Event, EventType
from pairing.protocol.frames import canonical

LIMIT = 2000


class EventLog:
    """Appends events and replays them from a number on.

    Progress within a step replaces the progress before it, so the log stays short: what is
    dropped is never a state, the beginning or the end of a step.
    """

    def __init__(self, known: Iterable[Event] = (), last: int = 0) -> None:
        """Go on after `known`; `last` is the number of the last event, kept or not."""
        self._events = list(known)
        self.last = max(last, self._events[-1].seq if self._events else 0)

    def add(self, *, text: str = "", **said: Any) -> Event:
        """The next event, numbered; of a long text the end is kept."""
        event = Event(seq=self.last + 1, text=text[-TEXT_LIMIT:], **said)
        self.append(event)
        return event

    def append(self, event: Event) -> None:
        """Add an event whose `seq` is `last + 1`."""
        if event.seq != self.last + 1:
            raise ValueError(f"event {event.seq} after {self.last}")
        if self._events and _is_progress(self._events[-1], event):
            self._events.pop()
        self._events.append(event)
        self.last = event.seq
        if len(self._events) > LIMIT:
            self._forget_one()

    def since(self, seq: int) -> tuple[Event, ...]:
        """Every kept event after `seq`."""
        return tuple(event for event in self._events if event.seq > seq)

    def newest(self, limit: int) -> tuple[Event, ...]:
        """As many of the last events as `limit` bytes of JSON hold."""
        kept: list[Event] = []
        for event in reversed(self._events):
            limit -= len(canonical(event.to_json()))
            if limit < 0:
                break
            kept.append(event)
        return tuple(reversed(kept))

    def _forget_one(self) -> None:
        for index, event in enumerate(self._events):
            if event.type is EventType.LOG:
                del self._events[index]
                return
        del self._events[0]


def _is_progress(before: Event, after: Event) -> bool:
    same_step = before.type is after.type is EventType.STEP and before.step == after.step
    return same_step and 0 < before.done < before.total
