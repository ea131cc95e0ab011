"""The end that wants a config: takes the first one, and says so until that must have been heard."""

from __future__ import annotations

import math
from collections.abc import Callable

from pairing import errors
from pairing.edgevpn.exchange import (
    DATA,
    OK,
    PAIRING,
    Effect,
    Failed,
    Finished,
    Party,
    Received,
    Suspicion,
)
from pairing.edgevpn.ledger import Block
from pairing.edgevpn.nettoken import NetworkToken
from pairing.edgevpn.payload import from_json

LINGER_SECONDS = 12.0
"""Stock senders look at who is there every 10 seconds, and only then for the answer."""
LINGER_MOST = 40.0
"""How long it goes on for a sender that is there and has not shown that it heard."""
LEFT_SECONDS = 2.0


class Receiver(Party):
    """Everything here is believed of whoever has the token: the first config is taken."""

    def __init__(
        self,
        token: NetworkToken,
        own_id: str,
        now: float,
        unix: float,
        randbytes: Callable[[int], bytes],
        *,
        wait_seconds: float,
    ) -> None:
        """`wait_seconds`: for a config."""
        super().__init__(token, own_id, now, unix, randbytes)
        self._text: str | None = None
        self._sender = ""
        self._heard_answer = False
        self._wait_until = now + wait_seconds
        self._since, self._gone_at = math.inf, math.inf

    def joined(self, peer: str, now: float) -> list[Effect]:
        if peer == self._sender:
            self._gone_at = math.inf
        return super().joined(peer, now)

    def left(self, peer: str, now: float) -> list[Effect]:
        if peer == self._sender:
            self._gone_at = now
        return super().left(peer, now)

    @property
    def _has_config(self) -> bool:
        return self._text is not None

    def _judge(self, block: Block, sender: str) -> Suspicion | None:
        suspicion = super()._judge(block, sender)
        pairing = block.values(PAIRING)
        if suspicion is None and self._text not in (None, pairing.get(DATA, self._text)):
            return Suspicion.CHANGED
        if suspicion is None and self.own_id in pairing and self._text is None:
            return Suspicion.ANSWERED
        return suspicion

    def _take(self, block: Block, sender: str, now: float) -> list[Effect]:
        pairing = block.values(PAIRING)
        if self._text is not None:
            self._heard_answer |= sender == self._sender and self.own_id in pairing
            return []
        if DATA not in pairing:
            return []
        try:
            payload = from_json(pairing[DATA])
        except errors.KairosPayloadInvalid as refused:
            return [Failed(refused)]
        self._text, self._sender, self._since = pairing[DATA], sender, now
        self._write(PAIRING, self.own_id, OK, now)
        return [Received(payload, sender)]

    def _deadlines(self, now: float) -> list[Effect]:
        if self._text is None:
            waited = now >= self._wait_until
            return [Failed(errors.KairosNobodyCame())] if waited else []
        lingered = now - self._since
        gone = now >= self._gone_at + LEFT_SECONDS
        known = gone or self._heard_answer
        enough = lingered >= LINGER_SECONDS and known
        if enough or (gone and self._heard_answer) or lingered >= LINGER_MOST:
            return [Finished()]
        return []
