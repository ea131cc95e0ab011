"""A real kubelet with containerd, in a virtual machine, becomes Ready with the provider's files."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from node.providers.base import Scene
from node.providers.kubernetes import kubelet
from node.providers.kubernetes.provider import Kubernetes
from node.stages.doing import carry_out
from node.testing import cluster as clusters
from node.testing.cluster import Cluster, control_plane
from node.testing.kubelet_guest import MEMORY, WORDS, Guest, guest
from pairing import process
from pairing.config import load
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts
from pairing.testing import guest as images
from pairing.testing import netns, qemu
from pairing.testing.hardware import Boot, Drive, Hardware
from pairing.testing.lan import HOST, Lan, lan

NAME = "till-7"
TOOLS = ("qemu-system-x86_64", "mmdebstrap", "mkfs.ext4", "dnsmasq", "systemctl")
READY_SECONDS = 420.0
FOLDER = images.TOP / "build/e2e/kubelet"


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Lan]:
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None] + [*clusters.missing()]
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)} (as root: .ci/packages)")
    if os.geteuid() != 0 or not netns.possible():
        pytest.skip("needs root and network namespaces")
    with lan(tmp_path / "lan") as up:
        yield up


@pytest.fixture
def cluster(network: Lan, tmp_path: Path) -> Iterator[Cluster]:
    with control_plane(tmp_path / "cluster", network.place, HOST) as running:
        yield running


@dataclass
class Machine:
    """The machine: its files below a folder first, then running."""

    config: Document
    facts: Facts
    provider: Kubernetes
    guest: Guest
    states: list[State] = field(default_factory=list)

    @property
    def scene(self) -> Scene:
        return Scene(
            config=self.config,
            facts=self.facts,
            root=self.guest.tree,
            command=_none,
            log=print,
        )

    async def check(self) -> None:
        await self.provider.check(self.scene)

    async def watch(self) -> None:
        with trio.fail_after(READY_SECONDS):
            await self.provider.watch(self.scene, lambda state, _: self.states.append(state))


async def _none(*_: object, **__: object) -> process.Result:
    return process.Result(0, b"", b"")


@contextlib.contextmanager
def booted(machine: Machine, network: Lan) -> Iterator[qemu.Machine]:
    for action in machine.provider.prepare(machine.config, machine.facts).actions:
        carry_out(action, machine.guest.tree, process.run)
    machine.guest.start_at_boot(kubelet.UNIT)
    hardware = Hardware(
        serial="E2E-KUBELET",
        uuid=machine.facts.uuid,
        mac="52:54:00:00:00:70",
        tap=network.tap(70),
        memory=MEMORY,
        drives=(Drive(image=machine.guest.disk(FOLDER / "disk.raw")),),
    )
    boot = Boot(kernel=machine.guest.kernel, initramfs=machine.guest.initramfs, words=WORDS)
    with qemu.running(hardware, boot, FOLDER, network.entry) as running:
        yield running
    (FOLDER / "disk.raw").unlink()


@pytest.mark.timeout(3000)  # where Kubernetes is not built yet
def test_a_real_kubelet_becomes_ready(cluster: Cluster, network: Lan, tmp_path: Path) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    authority = cluster.authority.pem.strip().replace("\n", "\n    ")
    text = (
        f"#cloud-config\nhostname: {NAME}\nkubernetes:\n  enabled: true\n  labels: {{shop: '7'}}\n"
        f"  server: {cluster.server}\n  token: {cluster.token()}\n  ca: |-\n    {authority}\n"
    )
    machine = Machine(
        config=load(text, "config.yaml"),
        facts=Facts(uuid=str(uuid.uuid4())),
        provider=Kubernetes(connect=cluster.connect),
        guest=guest(tmp_path, NAME),
    )
    trio.run(machine.check)
    with booted(machine, network):
        trio.run(machine.watch)
    assert machine.states == [State.JOINED, State.READY]
    node = cluster.node(NAME)
    assert node is not None
    info = node["status"]["nodeInfo"]
    assert info["systemUUID"] == machine.facts.uuid
    assert info["containerRuntimeVersion"].startswith("containerd://")
    assert node["metadata"]["labels"]["shop"] == "7"
