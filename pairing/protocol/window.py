"""The one-time secrets that a node's screen shows, and how long each is honoured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

SECRET_SIZE = 16
REMEMBERED = 8
"""Spent secrets that are still recognised, so that an old photo is told what it is."""


@dataclass(frozen=True, slots=True)
class OneTimeSecret:
    """S of the token, and until when (seconds since boot) it is honoured."""

    value: bytes = field(repr=False)
    shown_until: float
    honoured_until: float


class ClaimWindow:
    """Draws a new secret each window; the one before it is honoured for one more window.

    Changes the secret only, never the node's key. Time is seconds since boot, so a wrong clock
    changes nothing.
    """

    def __init__(self, seconds: float, random: Callable[[int], bytes], now: float) -> None:
        self.seconds = seconds
        self._random = random
        self._spent: list[OneTimeSecret] = []
        self._previous: OneTimeSecret | None = None
        self.current = self._draw(now)

    def _draw(self, now: float) -> OneTimeSecret:
        end = now + self.seconds
        return OneTimeSecret(self._random(SECRET_SIZE), end, end + self.seconds)

    def rotate(self, now: float) -> None:
        """A new secret for the screen; the old one stays valid for one more window."""
        self._retire(self._previous)
        self._previous, self.current = self.current, self._draw(now)

    def spend(self, now: float) -> None:
        """Nothing shown so far is valid any more: a new secret for the next claim."""
        self._retire(self._previous)
        self._retire(self.current)
        self._previous, self.current = None, self._draw(now)

    def remember(self, secret: bytes) -> None:
        """A secret that was spent in an earlier boot."""
        self._retire(OneTimeSecret(secret, 0.0, 0.0))

    def tick(self, now: float) -> bool:
        """Rotate if it is time. True when the screen must be redrawn."""
        if self._previous and now >= self._previous.honoured_until:
            self._retire(self._previous)
            self._previous = None
        if now < self.current.shown_until:
            return False
        self.rotate(now)
        return True

    def valid(self) -> tuple[OneTimeSecret, ...]:
        """The secrets that a claim may prove, newest first."""
        return (self.current, self._previous) if self._previous else (self.current,)

    def spent(self) -> tuple[OneTimeSecret, ...]:
        """Secrets that were valid once; the newest few."""
        return tuple(self._spent)

    def _retire(self, secret: OneTimeSecret | None) -> None:
        if secret:
            self._spent = [secret, *self._spent][:REMEMBERED]
