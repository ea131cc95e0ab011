"""A real kubelet with containerd, in a virtual machine, becomes Ready with the provider's files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.testing import cluster as clusters
from node.testing.cluster import Cluster, control_plane
from node.testing.kubernetes_node import machine
from pairing.events import State
from pairing.testing import guest as images
from pairing.testing import netns
from pairing.testing.lan import HOST, Lan, lan

NAME = "till-7"
TOOLS = ("qemu-system-x86_64", "mmdebstrap", "mkfs.ext4", "dnsmasq", "systemctl")
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


@pytest.mark.timeout(3000)  # where Kubernetes is not built yet
def test_a_real_kubelet_becomes_ready(cluster: Cluster, network: Lan, tmp_path: Path) -> None:
    one = machine(cluster, tmp_path, NAME)
    one.prepare()
    with one.running(network, FOLDER):
        one.until_ready()
    assert one.states == [State.JOINED, State.READY]
    node = cluster.node(NAME)
    assert node is not None
    info = node["status"]["nodeInfo"]
    assert info["systemUUID"] == one.facts.uuid
    assert info["containerRuntimeVersion"].startswith("containerd://")
    assert node["metadata"]["labels"]["shop"] == "7"
