"""A real kubelet with containerd in a virtual machine: refused, joined, Ready, runs a pod."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from node.testing import cluster as clusters
from node.testing import guest as images
from node.testing.certificates import Authority
from node.testing.cluster import Cluster, control_plane
from node.testing.kubelet_guest import IMAGE
from node.testing.kubernetes_node import config, made
from pairing.events import State
from pairing.testing import netns
from pairing.testing.lan import HOST, Lan, lan

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
def test_a_real_kubelet_becomes_ready_and_each_failure_has_its_name(
    cluster: Cluster, network: Lan
) -> None:
    token = cluster.token()
    wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
    expired = cluster.token(timedelta(minutes=-1))
    nobody = "https://10.77.0.254:6443"
    machine = made(
        network,
        FOLDER,
        {
            "1-wrong": config(cluster, "till-1", wrong),
            "2-expired": config(cluster, "till-2", expired),
            "3-away": config(cluster, "till-3", token, server=nobody),
            "4-stranger": config(cluster, "till-4", token, authority=Authority.new().pem),
            "5-good": config(cluster, "till-7", token),
        },
    )
    with machine.running(network) as node:
        said = node.until_done()
        pod = cluster.run_pod("till", "till-7", IMAGE)
    assert [(one.config, one.state, one.code) for one in said] == [
        ("1-wrong", State.FAILED, "join-token"),
        ("2-expired", State.FAILED, "join-token"),
        ("3-away", State.FAILED, "join-unreachable"),
        ("4-stranger", State.FAILED, "join-ca"),
        ("5-good", State.JOINED, ""),
        ("5-good", State.READY, ""),
    ]
    assert all(one.seconds < 60 for one in said if one.state == State.FAILED)
    assert not [n for n in (1, 2, 3, 4) if cluster.node(f"till-{n}")]
    found = cluster.node("till-7")
    assert found is not None
    info = found["status"]["nodeInfo"]
    assert info["systemUUID"] == machine.hardware.uuid
    assert info["containerRuntimeVersion"].startswith("containerd://")
    assert found["metadata"]["labels"]["shop"] == "7"
    assert pod["status"]["podIP"].startswith("10.88.")
    log = (FOLDER / "ttyS0.log").read_bytes()
    assert not [secret for secret in (token, wrong, expired) if secret.encode() in log]
