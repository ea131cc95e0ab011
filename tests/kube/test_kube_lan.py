"""The control plane on the network of virtual machines: nothing of it is on the host's own."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from node.providers.kubernetes.identity import Identity
from node.providers.kubernetes.joining import Joining
from node.providers.kubernetes.settings import Settings
from node.testing.cluster import control_plane, missing
from pairing.testing import netns
from pairing.testing.lan import HOST, lan


@pytest.mark.net
@pytest.mark.timeout(600)
async def test_a_machine_on_the_switch_joins(tmp_path: Path) -> None:
    lacking = [*missing(), *(tool for tool in ("dnsmasq",) if shutil.which(tool) is None)]
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)} (as root: .ci/packages)")
    if not netns.possible():
        pytest.skip("needs root and network namespaces")
    with (
        lan(tmp_path / "lan") as network,
        control_plane(tmp_path / "cluster", network.place, HOST) as cluster,
    ):
        asked = Settings(
            host=cluster.host,
            port=cluster.port,
            token=cluster.token(),
            authority=cluster.authority.pem,
            name="shop-7",
        )
        joining = Joining(
            settings=asked, identity=Identity(tmp_path, "shop-7"), connect=cluster.connect
        )
        await joining.join(await joining.authority())
        assert cluster.node("shop-7") is not None
        with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
            socket.create_connection((cluster.host, cluster.port), 1)
