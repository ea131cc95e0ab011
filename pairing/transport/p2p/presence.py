"""Being found: the mDNS responder and the node's places at relays, as the session asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from pairing.transport.base import Presence
from pairing.transport.p2p.upgrade import Caller

Welcome = Callable[[trio.abc.Stream, Caller], None]


class PresenceKeeper:
    """Holds what `announce` asked for last."""

    def __init__(self) -> None:
        self._presence = Presence(mdns=False)

    def replace(self, presence: Presence) -> None:
        self._presence = presence

    def relays(self) -> tuple[Sequence[str], Sequence[str]]:
        return (), tuple(self._presence.relays)

    async def run(self, welcome: Welcome) -> None:
        await trio.sleep_forever()
