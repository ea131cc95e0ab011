"""Exit 7: what came to a node by Kairos' own protocol cannot be installed. Shown on its screen."""

from __future__ import annotations

from pairing.errors.node import NodeError


class KairosEncryptionRefused(NodeError):
    """Without install.encrypt: none the disk would be encrypted, and nobody keep its recovery key.

    A stock sender's config is silent about it, so the line that is missing comes first: a small
    screen shows no more.

    By Kairos' protocol no answer comes back to the operator, so no key can be acknowledged before
    the first write: docs/adr/0026.
    """

    number, slug = 680, "kairos-no-encryption"
    hint = "Say install.encrypt: none in the config, or use a machine that shows our own code."


class KairosAccountsUnresolved(NodeError):
    """The config names accounts whose keys this machine would have to look up."""

    number, slug = 681, "kairos-accounts"
    hint = "Write the ssh keys themselves in place of github:NAME."
