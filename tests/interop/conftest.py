"""Networks for stock Kairos peers and ours: one LAN, or two LANs that mDNS does not cross."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pairing.testing import netns, stock
from pairing.testing.commands import Commands
from pairing.testing.netns import Lab, Namespace, lab
from pairing.testing.stock import AGES, Stock

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "build" / "interop"
MACHINE = ROOT / "examples" / "machines" / "virtio-vm.json"
CONFIG = ROOT / "examples" / "configs" / "stock-kairos.yaml"
DHT_IP, DHT_PORT = "10.78.0.1", 4001


@dataclass(frozen=True, slots=True)
class Lan:
    """Machines on one Ethernet: everybody hears everybody's multicast."""

    machines: Sequence[Namespace]

    def pairs(self) -> list[tuple[Namespace, Namespace]]:
        """Node and operator, machine by machine."""
        return list(zip(self.machines[::2], self.machines[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Apart:
    """A node and an operator in two networks, and between them a router with a DHT server.

    `bootstrap` is the server's address. Packets are forwarded, multicast is not.
    """

    node: Namespace
    operator: Namespace
    bootstrap: str


@pytest.fixture(scope="session", autouse=True)
def _what_was_built() -> None:
    """The modules of both programs are kept beside the results, in the compiler's words."""
    if not netns.possible():
        pytest.skip("needs root and network namespaces")
    if not stock.possible():
        pytest.skip("needs Go: stock Kairos peers are built from their sources")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for age in AGES:
        (RESULTS / f"go-{age}.txt").write_text(Stock(age).program.contents(), encoding="utf-8")


@pytest.fixture
def built() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture
def lan(built: Lab) -> Callable[[int], Lan]:
    """Lays a LAN for that many machines."""

    def lay(count: int) -> Lan:
        machines = [built.namespace(f"m{number}") for number in range(count)]
        built.switch({f"10.78.3.{n}/24": machine for n, machine in enumerate(machines, 1)})
        return Lan(machines)

    return lay


@pytest.fixture
def apart(built: Lab) -> Iterator[Apart]:
    node, router, operator = (built.namespace(name) for name in ("node", "router", "operator"))
    built.cable(node, "10.78.1.2/24", router, "10.78.1.1/24")
    built.cable(operator, "10.78.2.2/24", router, "10.78.2.1/24")
    router.ip("address", "add", f"{DHT_IP}/32", "dev", "lo")
    router.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    node.ip("route", "add", "default", "via", "10.78.1.1")
    operator.ip("route", "add", "default", "via", "10.78.2.1")
    where = f"/ip4/{DHT_IP}/tcp/{DHT_PORT}"
    with Stock().start(router, "dht", None, "-listen", where) as server:
        yield Apart(node, operator, server.wait("started")["address"])


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    with Commands(tmp_path, MACHINE, CONFIG, wanted=("--kairos",)) as started:
        yield started
