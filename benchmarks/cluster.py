"""Joining a real Kubernetes: the control plane of the tests, and the way in.

Needs Go once (tests/kube) and etcd. The whole way to Ready is in tests/e2e/test_join.py.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from node.providers.kubernetes.identity import Identity
from node.providers.kubernetes.joining import Joining
from node.providers.kubernetes.settings import Settings
from node.testing import kube_build
from node.testing.cluster import Cluster, control_plane
from pairing.testing.measured import Figure

STARTS = 5
JOINS = 20


def measure(quick: bool) -> list[Figure]:
    """Seconds each."""
    kube_build.build("control")
    starts, joins = (1, 2) if quick else (STARTS, JOINS)
    return [*_starts(starts), *_joins(joins)]


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


def _starts(count: int) -> Iterator[Figure]:
    samples = []
    for _ in range(count):
        began = time.perf_counter()
        with _folder() as folder, control_plane(folder):
            samples.append(time.perf_counter() - began)
    note = "etcd, API server, controllers, roles"
    yield Figure(name="control plane ready", unit="s", samples=samples, goal=15.0, note=note)


def _joins(count: int) -> Iterator[Figure]:
    with _folder() as folder, control_plane(folder) as cluster:
        samples = [_join(cluster, folder, f"pem-{number}", False) for number in range(count)]
        note = "token to Node object"
        yield Figure(name="join, authority given", unit="s", samples=samples, note=note)
        samples = [_join(cluster, folder, f"hash-{number}", True) for number in range(count)]
        yield Figure(name="join, hash of the authority given", unit="s", samples=samples)


def _join(cluster: Cluster, folder: Path, name: str, by_hash: bool) -> float:
    token = cluster.token()
    if by_hash:
        cluster.cluster_info(token)
    asked = Settings(
        host=cluster.host,
        port=cluster.port,
        token=token,
        authority=cluster.authority.fingerprint if by_hash else cluster.authority.pem,
        name=name,
    )
    one = Joining(settings=asked, identity=Identity(folder / name, name))

    async def join() -> None:
        await one.join(await one.authority())

    began = time.perf_counter()
    trio.run(join)
    return time.perf_counter() - began
