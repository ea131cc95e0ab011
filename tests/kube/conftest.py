"""A real control plane, one for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.testing.cluster import Cluster, control_plane, missing


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    lacking = missing()
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)} (as root: .ci/packages)")
    with control_plane(tmp_path_factory.mktemp("cluster")) as running:
        yield running
