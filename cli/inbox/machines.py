"""The machines that an inbox' photos show: photos of one machine are one, the newest counts.

How far a machine has come is not noted here: the operator's records know it, whoever registered it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from cli.inbox.ledger import Photo
from cli.records import Records
from pairing.events import State


class Standing(StrEnum):
    """How far a machine has come, as far as this station knows."""

    WAITING = "waiting"
    """Nothing was released to it yet."""
    REGISTERED = "registered"
    """A config was released to it."""
    FAILED = "failed"


_FAILED = (State.FAILED, State.REFUSED)


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine and its photos, the newest first."""

    node: str
    photos: tuple[Photo, ...]

    @property
    def newest(self) -> Photo:
        """The photo that is registered: the code's secret changes from time to time."""
        return self.photos[0]

    def standing(self, records: Records) -> tuple[Standing, str]:
        """How far it has come, and its last state in the journal if there is one."""
        state = records.last_state(self.node)
        leases = (records.lease(photo.code) for photo in self.photos)
        released = any(lease.released for lease in leases if lease)
        if state in _FAILED:
            return Standing.FAILED, str(state)
        if released or (state is not None and state not in (State.WAITING, State.CLAIMED)):
            return Standing.REGISTERED, str(state or "")
        return Standing.WAITING, str(state or "")


def machines(photos: Iterable[Photo]) -> list[Machine]:
    """Every machine, in the order of their first photos. Copies of a picture count once."""
    found: dict[str, dict[str, Photo]] = {}
    for photo in photos:
        if photo.node:
            found.setdefault(photo.node, {})[photo.digest] = photo
    return [
        Machine(node, tuple(sorted(those.values(), key=lambda one: one.taken, reverse=True)))
        for node, those in found.items()
    ]
