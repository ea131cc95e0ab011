"""Ways for two ends to reach each other. Only `p2p` imports libp2p, and only when used."""
