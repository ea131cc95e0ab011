"""Every provider of this system: our own, and those that came as Python packages."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from node.providers.base import Provider
from node.providers.kubernetes.provider import Kubernetes
from node.stages.doing import Door
from pairing import errors

GROUP = "kairos_register.providers"


def found(root: Path, run: Door) -> list[Provider]:
    """All providers. Raises errors.ProviderBroken for one that cannot be loaded."""
    # Ours by name: a node's image holds our packages, but no record of an installation of them.
    providers: list[Provider] = [Kubernetes()]
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name):
        try:
            providers.append(point.load()())
        except Exception as wrong:  # somebody else's code
            raise errors.ProviderBroken(type(wrong).__name__, element=point.name) from None
    return providers
