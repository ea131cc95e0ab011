"""Every provider of this system: our own, Python packages, and programs of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Protocol, runtime_checkable

from node.providers.base import Provider
from node.providers.join import chosen
from node.providers.k3s.provider import K3s, agent
from node.providers.kubernetes.provider import Kubernetes
from node.providers.p2p.provider import Meeting
from node.providers.program import programs
from pairing import errors
from pairing.config.document import Document

GROUP = "kairos_register.providers"
"""Entry points of other packages: classes, or functions, that make a provider without arguments."""
OURS: Sequence[Callable[[], Provider]] = (Meeting, K3s, agent, Kubernetes)
"""By name: a node's image holds our packages, but no record of an installation of them."""


def found(root: Path) -> list[Provider]:
    """All providers. Raises errors.ProviderBroken for one that cannot be loaded."""
    providers = [make() for make in OURS]
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name):
        try:
            providers.append(point.load()())
        except Exception as wrong:  # somebody else's code
            raise errors.ProviderBroken(type(wrong).__name__, element=point.name) from None
    return [*providers, *programs(root)]


@runtime_checkable
class NeedsProgram(Protocol):
    """A provider that cannot do without a program of the image."""

    def missing(self, root: Path) -> str:
        """What the image at `root` lacks; empty if nothing."""


def require_programs(config: Document, root: Path) -> None:
    """That the image at `root` can do what `config` asks for: known before anything is written.

    Raises errors.JoinProgramMissing.
    """
    for provider in chosen(config, found(root)):
        if isinstance(provider, NeedsProgram) and (name := provider.missing(root)):
            raise errors.JoinProgramMissing(element=name)
