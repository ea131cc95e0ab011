"""Our own protocol, ours over Kairos' protocol, and Kairos' own tools: side by side in one run.

Two machines on one Ethernet (network namespaces; root, and Go once), found by mDNS. The node waits,
with its code on the screen as a picture; the clock runs from the operator's process start to
the moment when it knows that the node has the config:

    native      kairos-register, our node                 the node's plan is back
    compat      kairos-register --kairos, our node        acknowledged
    to stock    kairos-register --kairos, a stock node    acknowledged
    stock       go-nodepair's Send, a stock node          Send returns

and twelve stock nodes at once by one kairos-register, as stock tools would need one each.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairing.testing.commands import Commands
from pairing.testing.measured import TOP, Figure
from pairing.testing.netns import Namespace, lab
from pairing.testing.stock import Peer, Stock

RUNS = 3
TWELVE = 12
SETTLED = 3.0
"""Seconds that a node has been there before the operator starts: somebody has to take a photo."""
GOAL_NATIVE, GOAL_TWELVE = 2.0, 15.0
MACHINE = TOP / "examples" / "machines" / "virtio-vm.json"
CONFIG = TOP / "examples" / "configs" / "stock-kairos.yaml"
PLAIN = """#cloud-config
hostname: shop-0815
install:
  device: auto
  nousers: true
  encrypt: none
"""
NATIVE = ("--wait", "planned", "--approve", "yes")
KAIROS = ("--kairos",)
ENDED: list[int] = []
"""Exit codes of all registrations of the run."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A shop, an office and a folder; each run makes its own commands below it."""

    folder: Path
    shop: Namespace
    office: Namespace

    @contextlib.contextmanager
    def commands(self, config: Path, wanted: Sequence[str]) -> Iterator[Commands]:
        """The commands, with records of their own."""
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as name,
            Commands(Path(name), MACHINE, config, wanted=wanted) as made,
        ):
            yield made

    def our_node(self, form: str, wanted: Sequence[str]) -> float:
        """Our command and our node, whose code has this form."""
        config = self.folder / "plain.yaml"
        config.write_text(PLAIN, encoding="utf-8")
        with self.commands(config, wanted) as commands:
            settings = commands.folder / "node.yaml"
            settings.write_text(f"token: {form}\n", encoding="utf-8")
            picture = commands.node(self.shop, 0, "--settings", str(settings))
            time.sleep(SETTLED)
            return registered(commands, self.office, [picture])

    def stock_node(self) -> float:
        """Our command and a stock node."""
        return self.stock_nodes([self.shop])

    def stock_nodes(self, shops: Sequence[Namespace]) -> float:
        """Our command and stock nodes; until the last one has acknowledged."""
        peers = Stock()
        with self.commands(CONFIG, KAIROS) as commands:
            tokens = [peers.token() for _ in shops]
            pictures = [
                peers.picture(token, commands.folder / f"{number}.png")
                for number, token in enumerate(tokens)
            ]
            with contextlib.ExitStack() as running:
                for shop, token in zip(shops, tokens, strict=True):
                    running.enter_context(receiver(peers, shop, token))
                time.sleep(SETTLED)
                return registered(commands, self.office, pictures)

    def stock_tool(self) -> float:
        """Kairos' own sender and receiver; the sender reads the picture, as `kairosctl` does."""
        peers = Stock()
        token = peers.token()
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            picture = peers.picture(token, Path(name) / "screen.png")
            with receiver(peers, self.shop, token):
                time.sleep(SETTLED)
                began = time.perf_counter()
                payload = {"cc": CONFIG.read_text(encoding="utf-8"), "device": ""}
                request = {"payload": payload}
                with peers.start(self.office, "send", request, "-photo", str(picture)) as sender:
                    sender.wait("sent")
                return time.perf_counter() - began


@contextlib.contextmanager
def receiver(peers: Stock, shop: Namespace, token: str) -> Iterator[Peer]:
    """A stock node that waits."""
    with peers.start(shop, "receive", {"token": token}) as node:
        node.wait("started")
        yield node


def registered(commands: Commands, office: Namespace, pictures: Sequence[Path]) -> float:
    """Seconds until the last verdict that is 0. The others are counted: a stock node that leaves at
    once may take its answer with it. Raises RuntimeError if none is."""
    began, found = time.perf_counter(), list[int]()
    ended = began
    for event in commands.register(office, pictures):
        if event["type"] == "verdict":
            found.append(event["exit"])
            ended = time.perf_counter() if event["exit"] == 0 else ended
    ENDED.extend(found)
    if 0 not in found:
        raise RuntimeError(f"exit {found}; nodes: {commands.said}")
    return ended - began


def measure(quick: bool) -> list[Figure]:
    """All of them in turn, run by run: they share the machine's moods."""
    samples: dict[str, list[float]] = {"native": [], "compat": [], "to stock": [], "stock": []}
    with tempfile.TemporaryDirectory() as name, lab() as built:
        folder = Path(name)
        machines = [built.namespace(f"m{number}") for number in range(1 + TWELVE)]
        built.switch({f"10.79.0.{number}/24": each for number, each in enumerate(machines, 1)})
        bench = Bench(folder, machines[1], machines[0])
        for _ in range(1 if quick else RUNS):
            samples["native"].append(bench.our_node("native", NATIVE))
            samples["compat"].append(bench.our_node("kairos", KAIROS))
            samples["to stock"].append(bench.stock_node())
            samples["stock"].append(bench.stock_tool())
        twelve = [bench.stock_nodes(machines[1:]) for _ in range(1 if quick else RUNS)]
    return _figures(samples, twelve)


def _figures(samples: dict[str, list[float]], twelve: Sequence[float]) -> list[Figure]:
    versions = ", ".join(f"{name} {version}" for name, version in Stock().versions().items())
    what = {
        "native": "photo to plan, our protocol, our node",
        "compat": "photo to acknowledged, Kairos' protocol, our node",
        "to stock": "photo to acknowledged, Kairos' protocol, a stock node",
        "stock": "photo to acknowledged, go-nodepair, a stock node",
    }
    found = [
        Figure(
            name=what[kind],
            unit="s",
            samples=taken,
            goal=GOAL_NATIVE if kind == "native" else None,
            note=versions if "stock" in kind else "",
        )
        for kind, taken in samples.items()
    ]
    stock = statistics.median(samples["stock"])
    found += [
        Figure(
            name=f"go-nodepair takes so many times as long as {kind}",
            unit="x",
            samples=[stock / statistics.median(samples[kind])],
        )
        for kind in ("native", "compat", "to stock")
    ]
    note = f"{TWELVE * stock:.0f} s with the stock tool, one after another"
    name = f"{TWELVE} stock nodes, one kairos-register, to the last acknowledgement"
    found.append(Figure(name=name, unit="s", samples=twelve, goal=GOAL_TWELVE, note=note))
    lost = [code for code in ENDED if code]
    name = f"registrations without an acknowledgement, of {len(ENDED)}"
    return [*found, Figure(name=name, unit="", samples=[len(lost)], note=f"exit codes {lost}")]
