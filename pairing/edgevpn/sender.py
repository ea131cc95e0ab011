"""The end that has a config: meets exactly one other, sends, waits for its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from pairing import errors
from pairing.edgevpn.exchange import (
    DATA,
    PAIRING,
    PRESENCE,
    Acknowledged,
    Delivered,
    Effect,
    Failed,
    Met,
    NotAcknowledged,
    Party,
    Suspicion,
    present,
)
from pairing.edgevpn.ledger import Block
from pairing.edgevpn.nettoken import NetworkToken

LEFT_SECONDS = 3.0
"""For an answer that is still under way when its author has left."""
SILENT_SECONDS = 0.5
"""After these, who is connected and says nothing is taken for one that does not listen to us. Our
own nodes answer at once; a stock node looks around every ten seconds, so each moment counts."""
SETTLE_SECONDS = 3.5
"""A stock peer puts its presence back within 3 seconds."""
PATIENCE_SECONDS = 12.0
"""For those who are silent, once somebody has shown itself: whoever has no token can come again and
again."""
YEAR_2020 = 1_577_836_800
"""Unix seconds."""
HEIGHT_MOST = 2**30
"""A stock node on a 32-bit machine counts to 2^31."""


def height_at(unix: float) -> int:
    """A height above the blocks of any node that waits, and of earlier attempts.

    A stock node writes a block every half minute, and what is lower than its own it ignores: we
    would hear nothing from it until it repeats itself, which takes up to 15 seconds. It takes a
    higher one at once, and then says what is missing there.
    """
    return min(max(int(unix) - YEAR_2020, 0), HEIGHT_MOST)


class Sender(Party):
    """Stock senders write the config before anybody is there; this one waits for the one node.

    It believes a node's words only as that node's own: gossip is signed by its author.
    """

    def __init__(
        self,
        token: NetworkToken,
        own_id: str,
        text: str,
        now: float,
        unix: float,
        randbytes: Callable[[int], bytes],
        *,
        wait_seconds: float,
        ack_seconds: float,
    ) -> None:
        """`text`: the payload as JSON. `wait_seconds`: for a node; `ack_seconds`: for its answer,
        counted from when the config was written."""
        super().__init__(token, own_id, now, unix, randbytes)
        self.node = ""
        """The peer id of the one that we sent to."""
        self.delivered = False
        self._is_said = self._has_come = False
        self._text, self._ack_seconds = text, ack_seconds
        self._wait_until, self._ack_until, self._gone_at = now + wait_seconds, math.inf, math.inf
        self._rise_at, self._settled_at, self._patient_until = math.inf, now, math.inf
        self._shown = False
        self._silent: set[str] = set()
        """Who is connected and has said nothing yet."""

    def joined(self, peer: str, now: float) -> list[Effect]:
        if peer == self.node:
            self._gone_at = math.inf
        # In a network that lives on, all would have to say again what they had written.
        if not (self.node or self.token.rotates or peer in self.holders):
            self._silent.add(peer)
            self._rise_at = min(self._rise_at, now + SILENT_SECONDS)
            # It looks every ten seconds whether two are there: it must not miss itself meanwhile.
            self.ledger.stand_in(PRESENCE, peer, self._unix)
        return super().joined(peer, now)

    def left(self, peer: str, now: float) -> list[Effect]:
        if peer == self.node:
            self._gone_at = now
        self._await_no_more(peer)
        self.ledger.take_back(PRESENCE, peer, self._unix)
        effects = super().left(peer, now)
        self._shown = self._shown and bool(self.others)
        return effects

    @property
    def _has_config(self) -> bool:
        return bool(self.node)

    def _await_no_more(self, peer: str) -> None:
        """It has spoken, or left. Once nobody is silent, we need not rise."""
        self._silent.discard(peer)
        if not self._silent:
            self._rise_at = math.inf

    def reached(self, peers: Iterable[str]) -> None:
        self._has_come = self._has_come or (self._is_said and self.node in peers)

    def _say(self, now: float) -> list[Effect]:
        self._is_said = bool(self.node)
        return super()._say(now)

    def _judge(self, block: Block, sender: str) -> Suspicion | None:
        suspicion = super()._judge(block, sender)
        data = block.values(PAIRING).get(DATA)
        if suspicion is None and data is not None and data != self._text:
            return Suspicion.CHANGED
        answers = block.values(PAIRING).keys() - {DATA}
        # Ours is somebody's lie. Another one before we sent is fine only beside our very config:
        # then this is the second attempt to say the same thing.
        early = answers and not self.node and data is None
        if suspicion is None and (self.own_id in answers or early):
            return Suspicion.ANSWERED
        return suspicion

    def _take(self, block: Block, sender: str, now: float) -> list[Effect]:
        effects: list[Effect] = []
        self._await_no_more(sender)
        if not self.node and self._is_here(block, sender):
            if not self._shown:
                self._shown, self._patient_until = True, now + PATIENCE_SECONDS
            effects += self._meet(now)
        if sender != self.node:
            return effects
        pairing = block.values(PAIRING)
        if pairing.get(DATA) == self._text and not self.delivered:
            self.delivered = True
            effects.append(Delivered(self.node))
        if self.node in pairing:
            effects.append(Acknowledged(self.node))
        return effects

    def _meet(self, now: float) -> list[Effect]:
        """Send it, once the one that has shown itself is known to be the only one."""
        is_settled = now >= self._settled_at and self._rise_at == math.inf
        # Who has shown itself may have taken itself out again since.
        if self.node or not self._shown or len(self.others) != 1:
            return []
        if not is_settled and now < self._patient_until:
            return []
        (self.node,) = self.others
        self._ack_until = now + self._ack_seconds
        self._write(PAIRING, DATA, self._text, now)
        return [Met(self.node)]

    def _rise(self, now: float) -> None:
        """Make who is there but silent speak; whoever else is there will then, too."""
        if now >= self._rise_at:
            self._silent.clear()
            self._rise_at, self._settled_at = math.inf, now + SETTLE_SECONDS
            self.ledger.rise(height_at(self._unix), self._unix)
            self._soon(now)

    def _is_here(self, block: Block, sender: str) -> bool:
        """The one other has said that it wants to pair."""
        here = present(block) - {self.own_id}
        if not here or here != self.others:
            return False
        return self.token.rotates or {sender} == self.others

    def _deadlines(self, now: float) -> list[Effect]:
        self._rise(now)
        if not self.node:
            late = now >= self._wait_until
            return self._meet(now) or ([Failed(self._nobody())] if late else [])
        # A stock node leaves a second after it has the config; its last words can be lost.
        has_it = self.delivered or self._has_come
        left = has_it and now >= self._gone_at + LEFT_SECONDS
        if left or (self.delivered and now >= self._ack_until):
            return [NotAcknowledged(self.node)]
        return [Failed(errors.KairosNoAnswer())] if now >= self._ack_until else []

    def _nobody(self) -> errors.KairosNobodyCame:
        if not self.unreadable:
            return errors.KairosNobodyCame()
        count = f"{self.unreadable} message{'s' if self.unreadable > 1 else ''}"
        return errors.KairosNobodyCame(f"{count} came that could not be read.")
