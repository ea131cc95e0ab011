"""The events of one lease, numbered, kept for whoever reconnects."""

from __future__ import annotations

from collections.abc import Iterable

from pairing.events import Event, EventType

LIMIT = 2000


class EventLog:
    """Appends events and replays them from a number on.

    Progress within a step replaces the progress before it, so the log stays short: what is
    dropped is never a state, the beginning or the end of a step.
    """

    def __init__(self, known: Iterable[Event] = ()) -> None:
        self._events = list(known)
        self.last = self._events[-1].seq if self._events else 0

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

    def _forget_one(self) -> None:
        for index, event in enumerate(self._events):
            if event.type is EventType.LOG:
                del self._events[index]
                return
        del self._events[0]


def _is_progress(before: Event, after: Event) -> bool:
    same_step = before.type is after.type is EventType.STEP and before.step == after.step
    return same_step and 0 < before.done < before.total
