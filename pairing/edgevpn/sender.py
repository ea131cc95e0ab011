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
)
from pairing.edgevpn.ledger import Block
from pairing.edgevpn.nettoken import NetworkToken

LEFT_SECONDS = 3.0
"""For an answer that is still under way when its author has left."""


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

    def joined(self, peer: str, now: float) -> list[Effect]:
        if peer == self.node:
            self._gone_at = math.inf
        return super().joined(peer, now)

    def left(self, peer: str, now: float) -> list[Effect]:
        if peer == self.node:
            self._gone_at = now
        return []

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
        if not self.node and self._is_here(block, sender):
            (self.node,) = self.others
            self._ack_until = now + self._ack_seconds
            self._write(PAIRING, DATA, self._text, now)
            effects.append(Met(self.node))
        if sender != self.node:
            return effects
        pairing = block.values(PAIRING)
        if pairing.get(DATA) == self._text and not self.delivered:
            self.delivered = True
            effects.append(Delivered(self.node))
        if self.node in pairing:
            effects.append(Acknowledged(self.node))
        return effects

    def _is_here(self, block: Block, sender: str) -> bool:
        """The one other has said that it wants to pair."""
        present = block.values(PRESENCE).keys() - {self.own_id}
        if not present or present != self.others:
            return False
        return self.token.rotates or {sender} == self.others

    def _deadlines(self, now: float) -> list[Effect]:
        if not self.node:
            return [Failed(self._nobody())] if now >= self._wait_until else []
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
