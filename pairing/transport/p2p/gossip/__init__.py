"""What Kairos' own protocol needs of libp2p: a host, flooded messages, mDNS by tag, a DHT client.

On the wire: Noise and yamux over TCP, `/ipfs/id/1.0.0`, `/floodsub/1.0.0` and, as a client only,
`/ipfs/kad/1.0.0`. The handshake is `pairing.transport.p2p.upgrade`'s, as everywhere here.
"""
