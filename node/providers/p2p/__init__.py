"""The provider `p2p`: a machine as a meeting place for others, and its name in its LAN."""
