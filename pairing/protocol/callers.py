"""Who is connected to a node, and how strict the node is with them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from pairing import keys
from pairing.protocol import messages

HANDSHAKE_SECONDS = 10.0
IDLE_SECONDS = 30.0
PING_SECONDS = 10.0
STILL_SECONDS = 5.0
"""A node looks at the time each second; it stood still itself where this much is between two."""
PAUSE_TEXT = "it begins in {seconds:g} seconds: until then it can be switched off without harm"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePolicy:
    """How strict a node is. All times in seconds.

    `fleets`: pinned fleets; with any, only their stations are served (O1). `window`: how long a
    code is shown. `abort_delay`: time to stop an installation at the screen (O0 only).
    `decide_within`: how long a claimed node waits for a config. `lapse_after`: how long it waits
    for an operator that is gone. `refused_pause`: how long a refusal stays on the screen.
    """

    fleets: tuple[keys.PinnedFleet, ...] = ()
    window: float = 3600.0
    abort_delay: float = 30.0
    decide_within: float = 1800.0
    lapse_after: float = 600.0
    refused_pause: float = 120.0


class Phase(enum.Enum):
    """How far a connection has come."""

    CLAIM = 1
    PROOF = 2
    LEASE = 3


@dataclass(slots=True)
class Caller:
    """One connection."""

    source: str
    channel_key: bytes
    deadline: float
    phase: Phase = Phase.CLAIM
    claim: messages.Claim | None = None
    nonce: bytes = b""
    pinged: float = 0.0
