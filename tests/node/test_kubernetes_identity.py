"""What a joining machine keeps and reads: the authority, its certificate, the kubelet's files."""

from __future__ import annotations

import base64
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.providers.kubernetes import authority, kubelet
from node.providers.kubernetes.api import Json
from node.providers.kubernetes.identity import CURRENT, PKI, Identity
from node.providers.kubernetes.joining import Joining, issued
from node.providers.kubernetes.provider import Kubernetes
from node.providers.kubernetes.settings import settings
from node.stages.actions import WriteFile
from node.testing.certificates import Authority
from node.testing.cluster_objects import kubeconfig
from pairing import errors
from pairing.config import load
from pairing.config.document import Document
from pairing.facts import Facts

TOKEN = "abcdef.0123456789abcdef"
CA = Authority.new()
UUID = "11111111-2222-3333-4444-555555555555"
FACTS = Facts(uuid=UUID)


def config(ca: str = CA.fingerprint, more: str = "") -> Document:
    lines = ca.strip().replace("\n", "\n    ")
    return load(
        "#cloud-config\nhostname: Till-7\nkubernetes:\n  enabled: true\n"
        f"  server: https://cluster.example\n  token: {TOKEN}\n  ca: |-\n    {lines}\n{more}",
        "c.yaml",
    )


def cluster_info(token: str = TOKEN, ca: Authority = CA) -> Json:
    text = kubeconfig("https://cluster.example:6443", ca.pem)
    key = f"jws-kubeconfig-{token.partition('.')[0]}"
    return {"data": {"kubeconfig": text, key: authority.signature(text, token)}}


# --- discovery by a hash --------------------------------------------------------------------------


def test_the_authority_of_the_hash_is_found() -> None:
    assert authority.found(cluster_info(), CA.fingerprint, TOKEN) == CA.pem


@pytest.mark.parametrize(
    ("info", "error"),
    [
        (cluster_info(ca=Authority.new()), errors.JoinCaMismatch),
        (cluster_info(token="zzzzzz.0123456789abcdef"), errors.JoinTokenRefused),
        (cluster_info(token="abcdef.0123456789abcdee"), errors.JoinTokenRefused),
        ({"data": {"kubeconfig": "clusters: [a"}}, errors.JoinAnswerUnknown),
        ({"data": {"kubeconfig": "clusters: 1"}}, errors.JoinAnswerUnknown),
        ({"data": {"kubeconfig": "[" * 20000}}, errors.JoinAnswerUnknown),
        ({"data": {"kubeconfig": "{}"}}, errors.JoinAnswerUnknown),
        ({"data": None}, errors.JoinAnswerUnknown),
    ],
)
def test_another_cluster_info(info: Json, error: type[errors.KnownError]) -> None:
    with pytest.raises(error):
        authority.found(info, CA.fingerprint, TOKEN)


@given(st.text(max_size=200))
def test_no_text_is_taken_for_an_authority(text: str) -> None:
    with pytest.raises(errors.JoinFailed):
        authority.found({"data": {"kubeconfig": text}}, CA.fingerprint, TOKEN)


# --- the certificate on the disk ------------------------------------------------------------------


def test_a_certificate_is_for_this_key_and_name(tmp_path: Path) -> None:
    identity, other = Identity(tmp_path / "a", "till-7"), Identity(tmp_path / "b", "till-8")
    key = identity.key()
    for wrong in (other.request(other.key()), other.request(key)):
        signed = CA.sign(base64.b64decode(wrong["spec"]["request"]))
        with pytest.raises(errors.JoinAnswerUnknown):
            identity.keep(signed, key)
    with pytest.raises(errors.JoinAnswerUnknown):
        identity.keep(b"no certificate", key)
    assert not identity.pair.exists()
    identity.keep(_signed(identity, timedelta(days=1)), key)
    assert identity.valid(datetime.now(UTC))


@pytest.mark.parametrize(
    ("life", "good"), [(timedelta(minutes=4), False), (timedelta(days=1), True)]
)
def test_a_certificate_ends(tmp_path: Path, life: timedelta, good: bool) -> None:
    identity = Identity(tmp_path, "till-7")
    identity.keep(_signed(identity, life), identity.key())
    assert identity.valid(datetime.now(UTC)) is good
    assert not Identity(tmp_path, "till-8").valid(datetime.now(UTC))


def test_only_root_reads_it_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0)
    try:
        identity = Identity(tmp_path, "till-7")
        identity.keep(_signed(identity, timedelta(days=1)), identity.key())
    finally:
        os.umask(before)
    assert (tmp_path / CURRENT).is_symlink()
    assert stat.S_IMODE((tmp_path / PKI).stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / PKI).iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 2


def _signed(identity: Identity, life: timedelta) -> bytes:
    request = identity.request(identity.key())
    return CA.sign(base64.b64decode(request["spec"]["request"]), life)


def test_a_request_that_is_not_decided_has_no_certificate() -> None:
    assert issued({}) == b""
    assert issued({"status": {"conditions": [{"type": "Approved"}]}}) == b""


# --- files ----------------------------------------------------------------------------------------


def test_no_file_of_the_kubelet_holds_the_token() -> None:
    preparation = Kubernetes().prepare(config(), FACTS)
    files = [action for action in preparation.actions if isinstance(action, WriteFile)]
    assert len(files) == 3
    assert all(TOKEN.encode() not in file.content for file in files)
    assert all(file.mode == 0o600 for file in files if file.path.startswith("/var/lib/kubelet"))


def test_the_same_config_gives_the_same_files() -> None:
    assert Kubernetes().prepare(config(), FACTS) == Kubernetes().prepare(config(), FACTS)


def test_arguments_of_the_config_are_words_whatever_is_in_them() -> None:
    more = "  kubelet: {args: ['--node-ip=1.2.3.4 x', '--a=%n$HOME\"\\b', \"--b=1\\n[Install]\"]}\n"
    unit = kubelet.unit(settings(config(more=more), FACTS))
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert line.endswith(r'"--node-ip=1.2.3.4 x" "--a=%%n$$HOME\"\\b" "--b=1\n[Install]"')
    assert "\n[Install]" not in unit


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("cluster.example", "cluster.example", 6443),
        ("https://cluster.example:443/", "cluster.example", 443),
        ("https://[fd00::1]:6443", "fd00::1", 6443),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    document = load(
        f"#cloud-config\nkubernetes: {{server: '{text}', token: {TOKEN}, "
        f"ca: '{CA.fingerprint}'}}\n",
        "c",
    )
    found = settings(document, FACTS)
    assert (found.host, found.port) == (host, port)
    assert found.name == f"node-{UUID}"


def test_machines_without_a_name_are_never_the_same_node() -> None:
    document = load(
        f"#cloud-config\nkubernetes: {{server: a, token: {TOKEN}, ca: '{CA.fingerprint}'}}\n", "c"
    )
    with pytest.raises(errors.JoinSettingsIncomplete):
        settings(document, Facts())


def test_no_repr_shows_the_token() -> None:
    found = settings(config(), FACTS)
    identity = Identity(Path("/x"), "a")
    assert TOKEN not in repr(Joining(settings=found, identity=identity))
    assert found.server == "https://cluster.example:6443"
