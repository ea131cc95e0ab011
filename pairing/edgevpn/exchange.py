"""What both ends of a pairing over Kairos' protocol have in common, sans-IO.

Inputs: `heard`, `joined`, `left`, `tick`; each returns the effects to carry out. Times are seconds:
`now` monotonic, `unix` the wall clock, which only names that rotate depend on.
The ends themselves: `sender`, `receiver`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pairing import errors
from pairing.edgevpn import blocktext, sealing
from pairing.edgevpn.authors import Authors
from pairing.edgevpn.ledger import STAND_IN, Block, Heard, Ledger
from pairing.edgevpn.limits import Unreadable
from pairing.edgevpn.names import Names, accepted_at, names_at
from pairing.edgevpn.nettoken import NetworkToken
from pairing.edgevpn.payload import Payload

PRESENCE, PAIRING, DATA = "presence", "pairing", "data"
"""Buckets of go-nodepair, and the key of what is sent; any other key in `pairing` is an answer."""
HERE, OK = '""', '"ok"'
PACE = (0.3, 0.7, 1.0, 2.0, 3.0)
"""Seconds between two repetitions of our block, from whenever something changed."""
SPACING, SPACING_BEHIND = 0.2, 1.0
"""Seconds between any two of them, however loud others are; and for one who is merely behind."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Hear exactly these topics."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """Say this to all who follow the topic."""

    topic: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Met:
    """One other is there, and nobody else. The config is on its way to it."""

    peer: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """Its own ledger holds our config."""

    peer: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """It says that it has the config. The end."""

    peer: str


@dataclass(frozen=True, slots=True)
class NotAcknowledged:
    """It had the config and left, or never said so. The end."""

    peer: str


@dataclass(frozen=True, slots=True)
class Received:
    """A config came; it is being acknowledged from now on."""

    payload: Payload
    sender: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The sender had time enough to hear that. The end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The end."""

    error: errors.KnownError


Effect = (
    Follow
    | Publish
    | Met
    | Delivered
    | Acknowledged
    | NotAcknowledged
    | Received
    | Finished
    | Failed
)
ENDS = (Acknowledged, NotAcknowledged, Finished, Failed)


class Suspicion(enum.Enum):
    """Why a pairing is stopped. All of them only detect; the protocol prevents none of it."""

    THIRD = "A third party takes part."
    CHANGED = "Something else than this config is in the ledger."
    ANSWERED = "Somebody has answered who was sent nothing."


def intruder(why: Suspicion) -> Failed:
    """The end, for that reason."""
    return Failed(errors.KairosIntruder(why.value))


def present(block: Block) -> set[str]:
    """Who has said there that it takes part. A place that is kept for somebody says nothing."""
    return {key for key, value in block.values(PRESENCE).items() if value != STAND_IN}


class Party:
    """One end: its ledger, its names of the moment, and when to repeat itself."""

    def __init__(
        self,
        token: NetworkToken,
        own_id: str,
        now: float,
        unix: float,
        randbytes: Callable[[int], bytes],
    ) -> None:
        """`own_id`: this end's peer id. `randbytes`: a secure source, for nonces."""
        self.token, self.own_id, self._randbytes = token, own_id, randbytes
        self.over = False
        self.unreadable = 0
        """Messages that could not be unsealed or read."""
        self.ledger = Ledger(unix)
        self.ledger.write(PRESENCE, own_id, HERE, unix)
        self.others: set[str] = set()
        """Who takes part, as far as it shows. Whoever only listens does not."""
        self.holders: set[str] = set()
        """Who has shown to have the token: it said something new that could be unsealed."""
        self._unix, self._names_of = unix, -1
        self._accepted: tuple[Names, ...] = ()
        self._answering: Names | None = None
        self._pace, self._due, self._said = 0, now, -math.inf
        self._authors = Authors()

    # --- inputs -----------------------------------------------------------------------------------

    def tick(self, now: float, unix: float) -> list[Effect]:
        """Time passes; call it about ten times a second."""
        if self.over:
            return []
        self._unix = unix
        effects = [*self._renamed(), *self._deadlines(now)]
        if now >= self._due and not self.over:
            effects += self._say(now)
        return self._closed(effects)

    def joined(self, _peer: str, now: float) -> list[Effect]:
        """A connected peer follows our topic from now on."""
        self._soon(now)
        return []

    def left(self, peer: str, now: float) -> list[Effect]:
        """A peer is not connected any more.

        Who had taken itself out before any config was there is as if never met: a sender that was
        stopped comes again, under another name.
        """
        block = self.ledger.block
        if not self._has_config and peer not in present(block) | block.values(PAIRING).keys():
            self.others.discard(peer)
        return []

    def reached(self, peers: Iterable[str]) -> None:
        """What was said last has come to these peers' programs."""

    def heard(self, topic: str, data: bytes, sender: str, now: float) -> list[Effect]:
        """A message of `sender`, which is the author's peer id."""
        if self.over or sender == self.own_id:
            return []
        first = sorted(self._accepted, key=lambda names: names.topic != topic)
        try:
            block = blocktext.from_bytes(sealing.unseal(data, [n.seal_key for n in first]))
        except Unreadable:
            self.unreadable += 1
            return []
        if not self._authors.is_own(data, sender):
            return []
        self.holders.add(sender)
        self._answering = next((n for n in self._accepted if n.topic == topic), None)
        suspicion = self._judge(block, sender)
        if suspicion:
            return self._closed([*self.withdraw(now), intruder(suspicion)])
        heard = self.ledger.hear(block, self._unix)
        if heard is Heard.WROTE:
            self._soon(now)
        elif heard is Heard.BEHIND:
            self._due = min(self._due, max(now, self._said + SPACING_BEHIND))
        return self._closed(self._take(block, sender, now))

    def withdraw(self, now: float) -> list[Effect]:
        """Take out of the ledger what we wrote, as well as that can be done."""
        return self._say(now) if self.ledger.withdraw(self._unix) else []

    # --- what the two ends make of it -------------------------------------------------------------

    @property
    def _has_config(self) -> bool:
        """One was written or taken by this end."""
        raise NotImplementedError

    def _judge(self, block: Block, sender: str) -> Suspicion | None:
        """Whether all is as it must be with two that pair."""
        self.others |= self._participants(block, sender) - {self.own_id}
        if len(self.others) > 1:
            return Suspicion.THIRD
        return None

    def _take(self, block: Block, sender: str, now: float) -> list[Effect]:
        raise NotImplementedError

    def _deadlines(self, now: float) -> list[Effect]:
        raise NotImplementedError

    # --- inside -----------------------------------------------------------------------------------

    def _participants(self, block: Block, sender: str) -> set[str]:
        """In a network that lives on, many speak who do not pair: only who says so counts."""
        found = {*present(block), *(block.values(PAIRING).keys() - {DATA})}
        return found if self.token.rotates else {*found, sender}

    def _write(self, bucket: str, key: str, value: str, now: float) -> None:
        self.ledger.write(bucket, key, value, self._unix)
        self._soon(now)

    def _soon(self, now: float) -> None:
        """Say our block now, or as soon as we may, and then again at the pace of something new."""
        self._pace = 0
        self._due = min(self._due, max(now, self._said + SPACING))

    def _say(self, now: float) -> list[Effect]:
        self._said = now
        self._due = now + PACE[self._pace]
        self._pace = min(self._pace + 1, len(PACE) - 1)
        plain = blocktext.to_bytes(self.ledger.block)
        effects: list[Effect] = []
        for names in self._places():
            nonce = self._randbytes(sealing.NONCE_SIZE)
            self._authors.first(nonce, self.own_id)
            effects.append(Publish(names.topic, sealing.seal(plain, names.seal_key, nonce)))
        return effects

    def _places(self) -> Iterable[Names]:
        """Our window's, and that of whom we hear, whose clock may be in the next one."""
        return dict.fromkeys(
            names
            for names in (*self._accepted[:1], self._answering)
            if names is not None and names in self._accepted
        )

    def _renamed(self) -> list[Effect]:
        """New names if their window has come. Looked at once a second: it costs a few hashes."""
        second = int(self._unix)
        if second == self._names_of:
            return []
        self._names_of = second
        if self._accepted and names_at(self.token, second) == self._accepted[0]:
            return []
        self._accepted = accepted_at(self.token, second)
        return [Follow(tuple(dict.fromkeys(names.topic for names in self._accepted)))]

    def _closed(self, effects: list[Effect]) -> list[Effect]:
        self.over = self.over or any(isinstance(effect, ENDS) for effect in effects)
        return effects
