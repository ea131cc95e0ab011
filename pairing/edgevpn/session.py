"""Pairings over Kairos' own protocol, driven over a network: deadlines, cancellation, farewell."""

from __future__ import annotations

import enum
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

from pairing import errors
from pairing.edgevpn.exchange import (
    ENDS,
    Acknowledged,
    Delivered,
    Effect,
    Failed,
    Follow,
    Met,
    NotAcknowledged,
    Party,
    Publish,
    Received,
)
from pairing.edgevpn.gossip import Gossip, KairosNetwork
from pairing.edgevpn.names import Names, names_at
from pairing.edgevpn.nettoken import NetworkToken
from pairing.edgevpn.payload import Payload, to_json
from pairing.edgevpn.receiver import LINGER_MOST, Receiver
from pairing.edgevpn.sender import Sender

WAIT_SECONDS = 300.0
"""For a node to be there."""
ACK_SECONDS = 60.0
"""For its answer. Stock nodes take 10 to 25 seconds."""
WINDOW_SECONDS = 3600.0
"""For a config to come to a node."""
TICK = 0.1
PUBLISH_SECONDS = 5.0
FAREWELL_SECONDS = 2.0
MARGIN_SECONDS = 60.0
"""More than all deadlines together: a network that hangs ends here."""


class Progress(enum.Enum):
    """How far a sending is. Values are for JSON."""

    LOOKING = "looking"
    MET = "met"
    SENT = "sent"
    DELIVERED = "delivered"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class Sent:
    """`receiver`: the peer id of who has the config, which is all that is known of it.

    Not `acknowledged`: it had the config, and then left or never answered (exit 10).
    """

    receiver: str
    acknowledged: bool


async def send(
    network: KairosNetwork,
    token: NetworkToken,
    payload: Payload,
    *,
    wait_seconds: float = WAIT_SECONDS,
    ack_seconds: float = ACK_SECONDS,
    clock: Callable[[], float] = time.time,
    on_event: Callable[[Progress], None] | None = None,
) -> Sent:
    """Give `payload` to the one node that waits with this token.

    `clock`: Unix seconds, for tokens that rotate. Until exactly one other is there, nothing of the
    payload is said to anybody; at the end, also when cancelled, it is taken out again.
    Raises errors.KairosConfigTooLarge and KairosNobodyCame (nothing was sent), KairosNoAnswer
    (sent, and nothing shows that it arrived), KairosIntruder.
    """
    text = to_json(payload)
    tell = on_event or (lambda _progress: None)

    def begin(own_id: str) -> Sender:
        now = trio.current_time()
        return Sender(
            token,
            own_id,
            text,
            now,
            clock(),
            secrets.token_bytes,
            wait_seconds=wait_seconds,
            ack_seconds=ack_seconds,
        )

    tell(Progress.LOOKING)
    watch = _Watch(tell)
    with trio.move_on_after(wait_seconds + ack_seconds + MARGIN_SECONDS):
        end = await _take_part(network, token, begin, clock, watch.seen)
        if isinstance(end, NotAcknowledged | Acknowledged):
            return Sent(end.peer, isinstance(end, Acknowledged))
    raise errors.KairosNoAnswer() if watch.met else errors.KairosNobodyCame("The network hangs.")


class _Watch:
    """Tells of a sending's progress, each step once."""

    def __init__(self, tell: Callable[[Progress], None]) -> None:
        self._tell = tell
        self.met = self._sent = False

    def seen(self, effect: Effect) -> None:
        match effect:
            case Met():
                self.met = True
                self._tell(Progress.MET)
            case Publish() if self.met and not self._sent:
                self._sent = True
                self._tell(Progress.SENT)
            case Delivered():
                self._tell(Progress.DELIVERED)
            case Acknowledged():
                self._tell(Progress.ACKNOWLEDGED)


async def receive(
    network: KairosNetwork,
    token: NetworkToken,
    *,
    wait_seconds: float = WINDOW_SECONDS,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[Payload] = trio.TASK_STATUS_IGNORED,
) -> Payload:
    """Wait for a config; return it once its sender had time to hear that (12 to 40 seconds).

    `await nursery.start(receive, network, token)` gives it as soon as it is there. Until this has
    returned nothing irreversible should be done with it: it raises errors.KairosIntruder if
    somebody changes it meanwhile. Before: KairosNobodyCame, KairosPayloadInvalid, KairosIntruder.
    """
    found: list[Payload] = []

    def begin(own_id: str) -> Receiver:
        now, unix = trio.current_time(), clock()
        return Receiver(token, own_id, now, unix, secrets.token_bytes, wait_seconds=wait_seconds)

    def seen(effect: Effect) -> None:
        if isinstance(effect, Received):
            found.append(effect.payload)
            task_status.started(effect.payload)

    with trio.move_on_after(wait_seconds + LINGER_MOST + MARGIN_SECONDS):
        await _take_part(network, token, begin, clock, seen)
    if not found:
        raise errors.KairosNobodyCame("The network hangs.")
    return found[0]


_Input = Callable[[], list[Effect]]


async def _take_part(
    network: KairosNetwork,
    token: NetworkToken,
    begin: Callable[[str], Party],
    clock: Callable[[], float],
    seen: Callable[[Effect], None],
) -> Effect:
    """Play one end until it is over; its last effect. Raises its error."""

    def names() -> Names:
        return names_at(token, int(clock()))

    async with network.joining(token, names=names) as gossip:
        party = begin(gossip.own_id)
        part = _Part(gossip, party, clock, seen)
        try:
            end = await part.run()
        finally:
            await part.farewell()
    if isinstance(end, Failed):
        raise end.error
    return end


class _Part:
    """One queue of inputs, one loop; what others say and what time it is come from beside it."""

    def __init__(
        self,
        gossip: Gossip,
        party: Party,
        clock: Callable[[], float],
        seen: Callable[[Effect], None],
    ) -> None:
        self.gossip, self.party, self.clock, self.seen = gossip, party, clock, seen
        self.inputs, self._queue = trio.open_memory_channel[_Input](64)
        self._stays = False

    async def run(self) -> Effect:
        """To the last effect. What the network itself refuses is a `Failed`."""
        try:
            return await self._run()
        except BaseExceptionGroup as group:
            known, other = group.split(errors.KnownError)
            if known is None or other is not None:
                raise
            return Failed(errors.first_known(known))

    async def _run(self) -> Effect:
        ends: list[Effect] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            nursery.start_soon(self._watch_time_and_peers)
            async for take in self._queue:
                for effect in take():
                    await self._apply(effect)
                    ends += [effect] if isinstance(effect, ENDS) else []
                if ends:
                    break
            nursery.cancel_scope.cancel()
        return ends[0]

    async def farewell(self) -> None:
        """Leave nothing of ours behind, unless it is the answer to a config that we have."""
        if self._stays:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + FAREWELL_SECONDS):
            for effect in self.party.withdraw(trio.current_time()):
                await self._apply(effect)

    async def _listen(self) -> None:
        while True:
            heard = await self.gossip.receive()
            topic, data, sender = heard.topic, heard.data, heard.sender
            await self.inputs.send(partial(self._heard, topic, data, sender))

    def _heard(self, topic: str, data: bytes, sender: str) -> list[Effect]:
        effects = self.party.heard(topic, data, sender, trio.current_time())
        if sender in self.party.holders:
            self.gossip.vouch(sender)
        return effects

    async def _watch_time_and_peers(self) -> None:
        known: frozenset[str] = frozenset()
        while True:
            await self.inputs.send(self._tick)
            there = self.gossip.peers()
            for peer in there - known:
                await self.inputs.send(partial(self._joined, peer))
            for peer in known - there:
                await self.inputs.send(partial(self._left, peer))
            known = there
            await trio.sleep(TICK)

    def _tick(self) -> list[Effect]:
        # Asked here, where all that was to be said before has been said.
        self.party.reached(self.gossip.reached())
        return self.party.tick(trio.current_time(), self.clock())

    def _joined(self, peer: str) -> list[Effect]:
        return self.party.joined(peer, trio.current_time())

    def _left(self, peer: str) -> list[Effect]:
        return self.party.left(peer, trio.current_time())

    async def _apply(self, effect: Effect) -> None:
        match effect:
            case Follow(topics):
                await self.gossip.follow(topics)
            case Publish(topic, data):
                with trio.move_on_after(PUBLISH_SECONDS):
                    await self.gossip.publish(topic, data)
            case Received():
                self._stays = True
        self.seen(effect)
