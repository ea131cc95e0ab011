"""Exit 7 as well: what keeps any provider from joining (`pairing.errors.joining` has the rest)."""

from __future__ import annotations

from pairing.errors.joining import JoinFailed


class JoinTimeout(JoinFailed):
    """The machine did not join its cluster in time."""

    number, slug, retryable = 645, "join-timeout", True
    hint = "The end of the service's log is shown above."


class JoinSettingsIncomplete(JoinFailed):
    """The config lacks what is needed to join."""

    number, slug = 646, "join-settings-incomplete"
    hint = "k3s-agent needs env.K3S_URL and env.K3S_TOKEN."


class ProviderBroken(JoinFailed):
    """A provider's program failed, or did not answer as a provider does."""

    number, slug = 647, "provider-broken"
    hint = "Run it by hand: it reads an event as JSON and answers as JSON."
