"""An upgrade of a real installed machine against the bare download of the same files.

Needs root, QEMU and the image's parts. KAIROS_TEST_INSTALLED: an installed machine that is kept
(tests/e2e); without it one is installed first, which takes minutes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from node.image.build import Built
from node.testing.images import Factory
from node.testing.shop import NODE, PLAIN, Shop
from pairing.testing.lan import HOST, Lan, lan
from pairing.testing.measured import Figure

SAMPLES = 3
PORT = "8000"
SECONDS, INSTALL_SECONDS = 600.0, 900.0


def measure(quick: bool) -> list[Figure]:
    """Seconds, as the machine's own clock has them; nothing for anybody but root."""
    if os.geteuid() != 0:
        return []
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        _machine(Path(name), 1 if quick else SAMPLES) as (shop, updates),
    ):
        web = (PORT, "--bind", HOST, "--directory", name)
        with shop.network.place.program("http.server", *web):
            return _figures(shop, Path(name), updates)


@contextmanager
def _machine(folder: Path, count: int) -> Iterator[tuple[Shop, list[Built]]]:
    """A running machine of 1.0.0, and newer ones: what is there already is not fetched again."""
    kept = os.environ.get("KAIROS_TEST_INSTALLED", "")
    factory = Factory(folder / "images", Path(kept, "keys") if kept else folder / "keys")
    first = factory.build("1.0.0")
    newer = [factory.build(f"1.1.{number}") for number in range(count)]
    with lan(folder / "lan") as network:
        if not kept:
            with _installed(network, folder / "shop", first) as shop:
                yield shop, newer
            return
        shop = Shop.kept(Path(kept, "installed"), network, folder / "shop", 20)
        with shop.resumed(first.stick):
            shop.wait_ssh(SECONDS)
            yield shop, newer


@contextmanager
def _installed(network: Lan, folder: Path, first: Built) -> Iterator[Shop]:
    shop = Shop.new(network, folder, PLAIN, 20)
    with shop.live(first.stick) as machine:
        with shop.register(shop.photo(machine), "--wait", "installed") as run:
            if run.end(INSTALL_SECONDS):
                raise RuntimeError(run.end_of())
        yield shop


def _figures(shop: Shop, top: Path, updates: Sequence[Built]) -> list[Figure]:
    """`top`: the folder that the web server shows."""
    downloads, upgrades = [], []
    for update in updates:
        files = (update.root, update.verity, update.kernel)
        size = sum(path.stat().st_size for path in files) / 2**20
        address = f"http://{HOST}:{PORT}/{update.root.parent.relative_to(top)}/"
        fetch = "".join(f"curl -sf -o /dev/null {address}{path.name};" for path in files)
        downloads.append(_seconds(shop, fetch))
        upgrades.append(_seconds(shop, f"sudo -n {NODE} upgrade {address} >&2;"))
    ratios = [whole / bare for whole, bare in zip(upgrades, downloads, strict=True)]
    note = f"{size:.0f} MiB, QEMU without KVM"
    return [
        Figure(name="update downloaded, not kept", unit="s", samples=downloads, note=note),
        Figure(name="upgrade: checked, fetched, written", unit="s", samples=upgrades, note=note),
        Figure(name="upgrade over its download", unit="", samples=ratios, note=note),
    ]


def _seconds(shop: Shop, command: str) -> float:
    """How long it takes there."""
    clock = "cut -d ' ' -f 1 /proc/uptime"
    began = time.monotonic()
    said = shop.on(f"set -e; {clock}; {command} {clock}", SECONDS)
    first, last = map(float, said.split()[:: len(said.split()) - 1])
    assert last - first <= time.monotonic() - began + 1
    return last - first
