"""Ed25519 keys as libp2p identities, and the one place that says which handshakes exist."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.custom_types import TMuxerOptions, TProtocol, TSecurityOptions
from libp2p.peer.id import ID
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.upgrader import TransportUpgrader

from pairing import errors

_ED25519_ID = bytes.fromhex("002408011220")
"""Identity multihash of 36 bytes: a protobuf saying key type 1 (Ed25519) and 32 bytes of key.
https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md"""

# libp2p sets its logger not to propagate and gives it no handler, so Python would print its
# warnings to stderr; and what it calls a warning is every stranger's failed handshake.
logging.getLogger("libp2p").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Identity:
    """A key to authenticate with. `repr` never shows the private half."""

    pair: KeyPair

    def __repr__(self) -> str:
        return f"Identity({self.public_key.hex()[:16]})"

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self.pair.public_key.to_bytes()

    def security(self) -> TSecurityOptions:
        """Noise XX and nothing else. libp2p's default would also offer TLS, secio and plaintext."""
        noise_key = create_new_x25519_key_pair().private_key
        return {NOISE: NoiseTransport(self.pair, noise_privkey=noise_key)}

    def upgrader(self) -> TransportUpgrader:
        """Turns raw connections into authenticated, multiplexed ones: Noise XX, then yamux."""
        return TransportUpgrader(self.security(), muxers())


def muxers() -> TMuxerOptions:
    """Yamux and nothing else."""
    return {TProtocol(YAMUX): Yamux}


def from_seed(seed: bytes) -> Identity:
    """The identity of an Ed25519 private key (32-byte seed)."""
    return Identity(create_new_key_pair(seed))


def fresh() -> Identity:
    """An identity that nobody has seen before."""
    return from_seed(secrets.token_bytes(32))


def peer_id(key: bytes) -> ID:
    """The libp2p peer id of an Ed25519 public key (32 bytes)."""
    return ID(_ED25519_ID + key)


def key_of(peer: ID) -> bytes:
    """The Ed25519 public key in a peer id. Raises errors.NotAuthenticError for another type."""
    raw = peer.to_bytes()
    if len(raw) != len(_ED25519_ID) + 32 or not raw.startswith(_ED25519_ID):
        raise errors.NotAuthenticError("Its key is not an Ed25519 key.")
    return raw[len(_ED25519_ID) :]
