"""Who we are, for those who ask: go-libp2p speaks pubsub only with peers that say they do.

https://github.com/libp2p/specs/blob/master/identify/README.md
"""

from __future__ import annotations

from collections.abc import Sequence

from libp2p.custom_types import TProtocol
from libp2p.identity.identify.pb.identify_pb2 import Identify

from pairing.transport.base import Address
from pairing.transport.p2p.gossip.addresses import to_bytes
from pairing.transport.p2p.gossip.line import Line
from pairing.transport.p2p.identity import Identity

IDENTIFY = TProtocol("/ipfs/id/1.0.0")
PROTOCOL_VERSION = "ipfs/0.1.0"
AGENT = "kairos-register"


async def answer_identify(
    identity: Identity,
    addresses: Sequence[Address],
    protocols: Sequence[TProtocol],
    line: Line,
) -> None:
    """Say who we are, which protocols we answer to and where we listen."""
    answer = Identify(
        protocol_version=PROTOCOL_VERSION,
        agent_version=AGENT,
        public_key=identity.pair.public_key.serialize(),
        listen_addrs=[to_bytes(address) for address in addresses],
        protocols=list(protocols),
    )
    await line.send(answer.SerializeToString())
    await line.finish()
