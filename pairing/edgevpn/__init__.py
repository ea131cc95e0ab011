"""Kairos' own wire protocol (edgevpn, go-nodepair): what it says, and how a pairing goes.

Everything here but `session` and `visit` is sans-IO. The network below it: `gossip.KairosNetwork`.
Weaker than ours in every respect, for it was made for another purpose: docs/ATTACKS.md.
Facts about the protocol come from edgevpn 0.28 to 0.35 and go-nodepair 0.3: docs/protocol.md.
"""
