"""Joining, against a real API server and its controllers: what is accepted, and what is refused."""

from __future__ import annotations

import base64
import itertools
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node.providers.kubernetes.api import Api, with_certificate
from node.providers.kubernetes.identity import CURRENT, KEY, PKI, Identity
from node.providers.kubernetes.joining import CSRS, NODES, Joining
from node.providers.kubernetes.settings import Settings
from node.testing.certificates import Authority
from node.testing.cluster import Cluster
from pairing import errors

pytestmark = pytest.mark.timeout(600)  # the first one builds Kubernetes where that was not done

NAMES = (f"shop-{number}" for number in itertools.count(1))
SYSTEM = "11111111-2222-3333-4444-555555555555"


def joining(cluster: Cluster, root: Path, token: str, name: str = "") -> Joining:
    asked = Settings(
        host=cluster.host,
        port=cluster.port,
        token=token,
        authority=cluster.authority.pem,
        name=name or next(NAMES),
        labels={"shop": "7"},
    )
    identity = Identity(root, asked.name)
    return Joining(settings=asked, identity=identity, system=SYSTEM, connect=cluster.connect)


async def join(one: Joining) -> None:
    await one.join(await one.authority())


def other_secret(token: str) -> str:
    return token[:-1] + ("a" if token[-1] != "a" else "b")


def everything(folder: Path) -> bytes:
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert found
    return b"".join(path.read_bytes() for path in found)


@contextmanager
def refused(error: type[errors.KnownError], cluster: Cluster, one: Joining) -> Iterator[None]:
    """Refused by this very error, and neither a Node nor a certificate is left."""
    with pytest.raises(error) as caught:
        yield
    assert type(caught.value) is error
    assert one.settings.token not in str(caught.value)
    assert cluster.node(one.settings.name) is None
    assert not one.identity.pair.exists()


async def test_a_machine_becomes_a_node(cluster: Cluster, tmp_path: Path) -> None:
    one = joining(cluster, tmp_path, cluster.token())
    await join(one)
    node = cluster.node(one.settings.name)
    assert node is not None
    labels = node["metadata"]["labels"]
    assert labels["shop"] == "7"
    assert labels["kubernetes.io/hostname"] == one.settings.name
    assert one.identity.valid(datetime.now(UTC))


async def test_only_root_reads_the_key_and_the_link_is_the_kubelets(
    cluster: Cluster, tmp_path: Path
) -> None:
    one = joining(cluster, tmp_path, cluster.token())
    await join(one)
    pair = tmp_path / CURRENT
    assert pair.is_symlink()
    assert stat.S_IMODE(pair.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / PKI).stat().st_mode) == 0o700
    assert not (tmp_path / KEY).exists()
    assert not [path for path in (tmp_path / PKI).iterdir() if path.name.startswith(".")]
    assert one.settings.token.encode() not in everything(tmp_path)


async def test_the_hash_of_the_authority_is_enough(cluster: Cluster, tmp_path: Path) -> None:
    token = cluster.token()
    cluster.cluster_info(token)
    one = joining(cluster, tmp_path, token)
    one = replace(one, settings=replace(one.settings, authority=cluster.authority.fingerprint))
    assert await one.authority() == cluster.authority.pem
    await join(one)
    assert cluster.node(one.settings.name) is not None


async def test_a_later_start_needs_no_token(cluster: Cluster, tmp_path: Path) -> None:
    token = cluster.token()
    one = joining(cluster, tmp_path, token)
    await join(one)
    before = (tmp_path / CURRENT).read_bytes()
    cluster.forget(token)
    cluster.delete_node(one.settings.name)
    await join(one)
    assert cluster.node(one.settings.name) is not None
    assert (tmp_path / CURRENT).read_bytes() == before


async def test_a_certificate_of_an_older_cluster_is_replaced(
    cluster: Cluster, tmp_path: Path
) -> None:
    one = joining(cluster, tmp_path, cluster.token())
    key = one.identity.key()
    request = base64.b64decode(one.identity.request(key)["spec"]["request"])
    one.identity.keep(Authority.new().sign(request), key)
    foreign = one.identity.pair.read_bytes()
    await join(one)
    assert cluster.node(one.settings.name) is not None
    assert one.identity.pair.read_bytes() != foreign


async def test_a_wrong_token(cluster: Cluster, tmp_path: Path) -> None:
    one = joining(cluster, tmp_path, other_secret(cluster.token()))
    with refused(errors.JoinTokenRefused, cluster, one):
        await join(one)


async def test_an_expired_token(cluster: Cluster, tmp_path: Path) -> None:
    one = joining(cluster, tmp_path, cluster.token(timedelta(minutes=-1)))
    with refused(errors.JoinTokenRefused, cluster, one):
        await join(one)


async def test_a_token_that_was_removed_is_named_without_being_sent(
    cluster: Cluster, tmp_path: Path
) -> None:
    """With a hash the token's signature is asked for first."""
    one = joining(cluster, tmp_path, "abcdef.0123456789abcdef")
    one = replace(one, settings=replace(one.settings, authority=cluster.authority.fingerprint))
    with refused(errors.JoinTokenRefused, cluster, one):
        await join(one)


@pytest.mark.parametrize("form", ["certificate", "hash"])
async def test_another_authority(cluster: Cluster, tmp_path: Path, form: str) -> None:
    other = Authority.new()
    authority = other.pem if form == "certificate" else other.fingerprint
    one = joining(cluster, tmp_path, cluster.token())
    one = replace(one, settings=replace(one.settings, authority=authority))
    with refused(errors.JoinCaMismatch, cluster, one):
        await join(one)


async def test_a_name_that_another_machine_has(cluster: Cluster, tmp_path: Path) -> None:
    one = joining(cluster, tmp_path / "first", cluster.token())
    await join(one)
    told = {"status": {"nodeInfo": {"systemUUID": "99999999-2222-3333-4444-555555555555"}}}
    path = f"{NODES}/{one.settings.name}/status"
    answer = cluster.api.ask("PATCH", path, told, "merge-patch+json")
    assert answer.status == 200, answer.reason
    second = joining(cluster, tmp_path / "second", cluster.token(), one.settings.name)
    with pytest.raises(errors.JoinForbidden, match="Another machine"):
        await join(second)
    same = replace(second, system="99999999-2222-3333-4444-555555555555".upper())
    await join(same)


async def test_a_node_is_nobody_but_itself(cluster: Cluster, tmp_path: Path) -> None:
    """The positive control: the same request for its own name is the one that made it."""
    one = joining(cluster, tmp_path, cluster.token())
    await join(one)
    trust = with_certificate(cluster.authority.pem, one.identity.pair)
    api = Api(cluster.host, cluster.port, trust, connect=cluster.connect)
    stolen = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "till-1"}}
    assert api.ask("POST", NODES, stolen).status == 403
    assert api.ask("GET", "/api/v1/secrets").status == 403
    cluster.delete_node(one.settings.name)
    own = {**stolen, "metadata": {"name": one.settings.name}}
    assert api.ask("POST", NODES, own).status == 201


async def test_a_group_that_may_not_ask(cluster: Cluster, tmp_path: Path) -> None:
    """A token of a cluster without the roles of bootstrapping: forbidden, which is not wrong."""
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/test-bootstrap"
    kept = dict(cluster.must("GET", path))
    cluster.must("DELETE", path)
    try:
        one = joining(cluster, tmp_path, cluster.token())
        with refused(errors.JoinForbidden, cluster, one):
            await join(one)
    finally:
        meta = {"metadata": {"name": "test-bootstrap"}}
        body = {key: kept[key] for key in ("subjects", "roleRef")}
        cluster.must("POST", path.rpartition("/")[0], {**body, **meta})


async def test_nobody_approves(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request waits in the cluster; once somebody has said yes, the next start goes on."""
    monkeypatch.setattr("node.providers.kubernetes.joining.SIGN_SECONDS", 2.0)
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    kept = dict(cluster.must("GET", f"{bindings}/test-approve"))
    cluster.must("DELETE", f"{bindings}/test-approve")
    one = joining(cluster, tmp_path, cluster.token())
    try:
        with refused(errors.JoinNotSigned, cluster, one):
            await join(one)
    finally:
        body = {key: kept[key] for key in ("subjects", "roleRef")}
        cluster.must("POST", bindings, {**body, "metadata": {"name": "test-approve"}})
    name = one.identity.request(one.identity.key())["metadata"]["name"]
    waiting = dict(cluster.must("GET", f"{CSRS}/{name}"))
    said = {"type": "Approved", "status": "True", "reason": "Test", "message": "by hand"}
    waiting["status"] = {"conditions": [said]}
    cluster.must("PUT", f"{CSRS}/{name}/approval", waiting)
    monkeypatch.setattr("node.providers.kubernetes.joining.SIGN_SECONDS", 20.0)
    await join(one)
    assert cluster.node(one.settings.name) is not None


async def test_ready_is_what_the_cluster_says(cluster: Cluster, tmp_path: Path) -> None:
    one = joining(cluster, tmp_path, cluster.token())
    await join(one)
    pem = await one.authority()
    with pytest.raises(errors.JoinNotReady):
        await one.ready(pem, seconds=1)
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    good = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
    path = f"{NODES}/{one.settings.name}/status"
    cluster.api.ask("PATCH", path, {"status": {"conditions": [good]}}, "merge-patch+json")
    await one.ready(pem, seconds=10)
