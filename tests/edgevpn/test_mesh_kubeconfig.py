"""A kubeconfig out of a ledger that strangers can write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.edgevpn.kubeconfig import cleaned

K3S = b"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: LS0tLS1CRUdJTg==
    server: https://127.0.0.1:6443
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {}
users:
- name: default
  user:
    client-certificate-data: Y2VydA==
    client-key-data: a2V5
"""


def test_the_control_planes_address_is_put_in_and_the_rest_stays() -> None:
    text = cleaned(K3S, "10.1.0.7")
    found, before = yaml.safe_load(text), yaml.safe_load(K3S)
    assert found["clusters"][0]["cluster"]["server"] == "https://10.1.0.7:6443"
    before["clusters"][0]["cluster"]["server"] = "https://10.1.0.7:6443"
    assert found == before
    assert not text.startswith(b"#")


def test_a_server_elsewhere_stays_where_no_address_is_known() -> None:
    there = K3S.replace(b"127.0.0.1", b"192.0.2.9")
    assert b"https://192.0.2.9:6443" in cleaned(there, "")
    with pytest.raises(errors.MeshHoldsNone):
        cleaned(K3S, "")
    assert b"https://[fd00::1]:6443" in cleaned(K3S, "fd00::1")


HOSTILE = {
    "a program": (b"client-key-data: a2V5", b"exec: {command: /bin/sh, apiVersion: v1}"),
    "an old plug-in": (b"client-key-data: a2V5", b"auth-provider: {name: gcp}"),
    "a file of ours": (b"client-key-data: a2V5", b"client-key: /root/.ssh/id_ed25519"),
    "a token file": (b"client-key-data: a2V5", b"tokenFile: /etc/shadow"),
    "no TLS check": (b"    server:", b"    insecure-skip-tls-verify: true\n    server:"),
    "a proxy": (b"    server:", b"    proxy-url: http://192.0.2.66\n    server:"),
    "no TLS": (b"https://", b"http://"),
    "a user in the address": (b"https://", b"https://a:b@"),
    "a path": (b":6443", b":6443/x"),
    "no port": (b":6443", b":99999"),
    "an anchor": (b"preferences: {}", b"preferences: &a {}"),
    "extensions": (b"kind: Config", b"kind: Config\nextensions: [{name: x}]"),
    "another kind": (b"kind: Config", b"kind: Pod"),
    "no user": (b"users:\n- name: default\n  user:", b"x:\n- name: default\n  user:"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_a_stranger_put_in_is_refused_without_quoting_it(what: str) -> None:
    before, after = HOSTILE[what]
    hostile = K3S.replace(before, after)
    assert hostile != K3S
    with pytest.raises(errors.MeshValueBroken) as refused:
        cleaned(hostile, "10.1.0.7")
    assert "a2V5" not in str(refused.value)
    assert "id_ed25519" not in str(refused.value)


@pytest.mark.parametrize("address", ["10.1.0.7/../x", "a b", "x" * 300, "\x1b[2J"])
def test_a_strange_address_is_refused(address: str) -> None:
    with pytest.raises(errors.MeshValueBroken):
        cleaned(K3S, address)


@pytest.mark.parametrize("data", [b"", b"\xff", b"- a", b"{", b"a: 1", b"x" * 2_000_000])
def test_what_is_no_kubeconfig_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(errors.MeshValueBroken):
        cleaned(data, "10.1.0.7")


KEYS = ["apiVersion", "kind", "clusters", "users", "name", "user", "cluster", "server", "token"]
HARMFUL = ["exec", "auth-provider", "tokenFile", "client-key", "proxy-url", "command", "extensions"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("https://10.0.0.1"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS + HARMFUL), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(yaml.safe_load(K3S))), values), st.booleans())
def test_whatever_it_holds_nothing_harmful_comes_out(found: dict[str, Any], whole: bool) -> None:
    said = {**(yaml.safe_load(K3S) if whole else {}), **found}
    try:
        text = cleaned(yaml.safe_dump(said, allow_unicode=True).encode(), "10.1.0.7")
    except errors.MeshValueBroken:
        return
    assert not set(keys_of(yaml.safe_load(text))) & set(HARMFUL)
    assert b"https://10.1.0.7" in text


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)
