"""What a token's holders call their meeting at a moment, and the key they seal with."""

from __future__ import annotations

from dataclasses import dataclass, field

from pairing.edgevpn.nettoken import NetworkToken, Otp
from pairing.edgevpn.otp import md5_hex, totp


@dataclass(frozen=True, slots=True)
class Names:
    """`topic` of the gossip, `seal_key` (32 bytes), `rendezvous`: what a DHT knows them by."""

    topic: str
    seal_key: bytes = field(repr=False)
    rendezvous: str


def names_at(token: NetworkToken, unix: int) -> Names:
    """The names of the window that `unix` (seconds) lies in."""
    return _names(token, unix, 0)


def accepted_at(token: NetworkToken, unix: int) -> tuple[Names, ...]:
    """The window of `unix`, then the one before and the one after: clocks differ.

    A token that does not rotate has one window.
    """
    found = dict.fromkeys(_names(token, unix, windows) for windows in (0, -1, 1))
    return tuple(found)


def _names(token: NetworkToken, unix: int, windows: int) -> Names:
    crypto, dht = token.crypto, token.dht
    at = _moved(crypto, unix, windows)
    # Both with the length and the interval of `crypto`: so does edgevpn.
    room = totp(token.room, crypto.length, crypto.interval, at)
    key = totp(crypto.key, crypto.length, crypto.interval, at)
    rendezvous = token.rendezvous
    if dht:
        meeting = totp(dht.key, dht.length, dht.interval, _moved(dht, unix, windows))
        rendezvous = md5_hex(meeting)
    return Names(md5_hex(room), md5_hex(key).encode(), rendezvous)


def _moved(otp: Otp, unix: int, windows: int) -> int:
    """`unix`, so many windows later; the same where the name does not change in our time."""
    moved = unix + windows * otp.interval
    return moved if otp.rotates and moved >= 0 else unix
