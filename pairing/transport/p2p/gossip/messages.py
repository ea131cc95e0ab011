"""Pubsub's messages: signed by their author, checked by everybody.

https://github.com/libp2p/specs/blob/master/pubsub/README.md. The policy is StrictSign, as edgevpn
has it: author, sequence number and signature are there and right, or the message is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX, signature_validator

from pairing.transport.p2p.identity import Identity, peer_id

ENTRIES_LIMIT = 64
"""Subscriptions, and messages, of one RPC that are looked at."""
_SEQUENCE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Signed:
    """A message whose signature is right. `identifier` tells it from every other."""

    identifier: bytes
    author: ID
    topic: str
    data: bytes = field(repr=False)
    wire: rpc_pb2.Message = field(repr=False)


def sign(identity: Identity, sequence: int, topic: str, data: bytes) -> Signed:
    """A message of ours."""
    author = peer_id(identity.public_key)
    wire = rpc_pb2.Message(
        from_id=author.to_bytes(),
        data=data,
        seqno=sequence.to_bytes(_SEQUENCE_BYTES, "big"),
        topicIDs=[topic],
    )
    # The key is in the author's id already; go-libp2p leaves it out as well.
    text = PUBSUB_SIGNING_PREFIX.encode() + wire.SerializeToString()
    wire.signature = identity.pair.private_key.sign(text)
    return Signed(wire.from_id + wire.seqno, author, topic, data, wire)


def identifier_of(wire: rpc_pb2.Message) -> bytes:
    """What pubsub knows a message by: author and sequence number."""
    return bytes(wire.from_id + wire.seqno)


def checked(wire: rpc_pb2.Message) -> Signed | None:
    """The message if its author signed it, None if not."""
    if len(wire.topicIDs) != 1 or len(wire.seqno) != _SEQUENCE_BYTES:
        return None
    try:
        if not signature_validator(wire):
            return None
        author = ID(wire.from_id)
    except Exception:  # An author that is none, a key of no kind: libp2p raises what it likes.
        return None
    return Signed(identifier_of(wire), author, wire.topicIDs[0], wire.data, wire)


def subscriptions(topics: Iterable[str], wanted: bool = True) -> bytes:
    """An RPC that says which topics we follow, or no longer follow."""
    entries = [rpc_pb2.RPC.SubOpts(subscribe=wanted, topicid=topic) for topic in sorted(topics)]
    return rpc_pb2.RPC(subscriptions=entries).SerializeToString()


def publication(message: Signed) -> bytes:
    """An RPC that carries one message."""
    return rpc_pb2.RPC(publish=[message.wire]).SerializeToString()


def parse(data: bytes) -> rpc_pb2.RPC | None:
    """An RPC, or None for bytes that are none."""
    rpc = rpc_pb2.RPC()
    try:
        rpc.ParseFromString(data)
    except Exception:  # google.protobuf.message.DecodeError, UnicodeDecodeError, ...
        return None
    return rpc
