"""Which peer to dial, and when. Pure: time comes in, decisions come out.

go-libp2p dials whom it finds at once. Two ends that dial each other in the same instant get two
connections for one, so we give a Go peer a moment to dial us; of two ends of our own kind, the one
with the lower peer id dials and the other waits a little longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pairing.transport.base import Address

GO_HEAD_START = 2.0
"""Seconds that a Go peer has to dial us."""
OWN_KIND_HEAD_START = 1.5
AGAIN_FIRST, AGAIN_MOST = 1.0, 30.0
"""Seconds between two attempts at one peer: the first pause, doubled up to the second."""
CANDIDATES_LIMIT = 64
"""Peers that are kept in mind; of more, who failed most often is forgotten."""
ADDRESS_LIMIT = 16


@dataclass(slots=True)
class _Candidate:
    addresses: tuple[Address, ...]
    due: float
    pause: float = AGAIN_FIRST


class DialPolicy:
    """Keeps candidates in mind. Peers are base58 ids, times are seconds on any clock."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._candidates: dict[str, _Candidate] = {}

    def found(
        self, peer: str, addresses: Sequence[Address], now: float, *, own_kind: bool, dials_us: bool
    ) -> None:
        """This peer is there. `own_kind`: it runs this program. `dials_us`: it saw us, too."""
        if peer == self._own or not addresses:
            return
        known = self._candidates.get(peer)
        if known is not None:
            fresh = [address for address in addresses if address not in known.addresses]
            known.addresses = (*fresh, *known.addresses)[:ADDRESS_LIMIT]
            return
        if len(self._candidates) >= CANDIDATES_LIMIT:
            # The first of them, if several: it has been there longest.
            del self._candidates[max(self._candidates, key=lambda p: self._candidates[p].pause)]
        head_start = 0.0
        if own_kind and peer < self._own:
            head_start = OWN_KIND_HEAD_START
        elif dials_us and not own_kind:
            head_start = GO_HEAD_START
        self._candidates[peer] = _Candidate(tuple(addresses)[:ADDRESS_LIMIT], now + head_start)

    def due(self, connected: frozenset[str], now: float) -> Mapping[str, tuple[Address, ...]]:
        """Whom to dial now, and where. Each is due again only after a pause."""
        chosen = {}
        for peer, candidate in self._candidates.items():
            if peer in connected:
                # It called, or we did. Should it be lost, it may call again first.
                candidate.due = now + AGAIN_FIRST
                candidate.pause = AGAIN_FIRST
            elif candidate.due <= now:
                chosen[peer] = candidate.addresses
                candidate.due = now + candidate.pause
                candidate.pause = min(2 * candidate.pause, AGAIN_MOST)
        return chosen
