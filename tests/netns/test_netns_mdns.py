"""One Ethernet, and an address that the photo does not know: mDNS finds the node."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pairing.testing import netns
from pairing.testing.commands import Commands, Event, verdicts
from pairing.testing.netns import Namespace, lab

ROOT = Path(__file__).parents[2]
MACHINE = ROOT / "examples" / "machines" / "virtio-vm.json"
CONFIG = ROOT / "examples" / "configs" / "minimal.yaml"
OLD_IP, NEW_IP = "10.77.3.2", "10.77.3.9"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not netns.possible(), reason="needs root and network namespaces"),
    pytest.mark.timeout(180),
]


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    with Commands(tmp_path, MACHINE, CONFIG) as started:
        yield started


@pytest.fixture
def ends() -> Iterator[tuple[Namespace, Namespace]]:
    """Node and operator on one switch."""
    with lab() as built:
        node, operator = built.namespace("node"), built.namespace("operator")
        built.switch({f"{OLD_IP}/24": node, "10.77.3.3/24": operator})
        yield node, operator


def photo_with_an_old_address(commands: Commands, node: Namespace, *more: str) -> Path:
    """The screen is photographed, then the machine gets another address."""
    photo = commands.folder / "photo.png"
    shutil.copy(commands.node(node, 0, *more), photo)
    port = node.ip("-o", "-4", "address", "show", "to", OLD_IP).split()[1]
    node.ip("address", "add", f"{NEW_IP}/24", "dev", port)
    node.ip("address", "delete", f"{OLD_IP}/24", "dev", port)
    return photo


def where(events: list[Event]) -> list[str]:
    return [event["path"] for event in events if event["type"] == "node"]


def test_a_node_whose_address_changed_is_found(
    commands: Commands, ends: tuple[Namespace, Namespace]
) -> None:
    node, operator = ends
    photo = photo_with_an_old_address(commands, node)
    events = list(commands.register(operator, [photo]))
    assert verdicts(events) == [(0, "serial-0")]
    assert where(events)[0].startswith((f"{NEW_IP}:", "[fe80:"))


def test_without_mdns_it_is_not(commands: Commands, ends: tuple[Namespace, Namespace]) -> None:
    """The positive control."""
    node, operator = ends
    settings = commands.folder / "node.yaml"
    settings.write_text("mdns: false\n")
    photo = photo_with_an_old_address(commands, node, "--settings", str(settings))
    events = list(commands.register(operator, [photo], "--timeout", "6"))
    assert verdicts(events) == [(5, "")]
