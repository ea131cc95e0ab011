"""An image, built from nothing and again from what was kept; what it weighs.

Needs mmdebstrap, and the network: from nothing, all packages are fetched.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from node.image import signing, trees
from node.image.build import Built, build
from node.image.store import Store
from node.testing.images import RECIPE
from pairing.testing.measured import Figure

AGAIN = 3


def measure(quick: bool) -> list[Figure]:
    """Seconds and bytes. Raises what node.image.build.build raises."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        store, keys = Store(folder / "cache"), folder / "keys"
        began = time.perf_counter()
        signing.make_keys(keys, trees.tool_room(RECIPE.base, store), "bench")
        built = build(RECIPE, folder / "first", keys, store=store)
        first = time.perf_counter() - began
        again = [_again(folder, store, keys) for _ in range(1 if quick else AGAIN)]
        note = "packages fetched, trees, Python, initrd, keys; the network's share is in it"
        return [
            Figure(name="an image from nothing", unit="s", samples=[first], note=note),
            Figure(name="an image of kept parts", unit="s", samples=again),
            *_sizes(built),
        ]


def _again(folder: Path, store: Store, keys: Path) -> float:
    began = time.perf_counter()
    build(RECIPE, folder / "again", keys, store=store)
    return time.perf_counter() - began


def _sizes(built: Built) -> list[Figure]:
    parts = {"stick": built.stick, "root": built.root, "kernel with initrd": built.kernel}
    return [
        Figure(name=f"size of the {part}", unit="MB", samples=[path.stat().st_size / 1e6])
        for part, path in parts.items()
    ]
