"""A running network of Go peers, and a stock machine in recovery: read, written to, repaired."""

from __future__ import annotations

import base64
import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pairing.edgevpn import nettoken, recovery
from pairing.edgevpn.recovery import RecoveryCode
from pairing.process import Result
from pairing.qr import render
from pairing.testing import stock_recovery
from pairing.testing.netns import Namespace
from pairing.testing.stock import Peer, Stock

pytestmark = pytest.mark.timeout(300)

K3S = b"""apiVersion: v1
kind: Config
clusters:
- name: default
  cluster: {certificate-authority-data: Q0E=, server: "https://127.0.0.1:6443"}
users:
- name: default
  user: {client-key-data: S0VZ}
"""
HOSTILE = K3S.replace(b"client-key-data: S0VZ", b"exec: {command: touch, args: [/tmp/x]}")


def kept(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def ledger(kubeconfig: bytes = K3S) -> dict[str, dict[str, Any]]:
    """What Kairos' nodes write; edgevpn's API turns each value into JSON."""
    inside = base64.urlsafe_b64encode(kubeconfig).decode().rstrip("=")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "kairos": {
            "aaaa-uuid": kept({"Time": now}),
            "aaaa-role": kept("control-plane"),
            "control-plane-kubeconfig": kept(inside),
            "ip-control-plane": kept("10.1.0.2"),
        },
        "machines": {
            "10.1.0.2": {"PeerID": "12D3", "Hostname": "till-1", "OS": "linux", "Arch": "amd64"}
        },
    }


@dataclass(frozen=True, slots=True)
class Office:
    """An operator's machine, with the network's token in a file."""

    inside: Namespace
    home: Path

    def fleet(self, *words: str, stdin: bytes = b"") -> Result:
        argv = ("env", f"HOME={self.home}", "TERM=xterm", sys.executable, "-m", "cli.fleet", *words)
        return self.inside.run(*argv, seconds=100, check=False, stdin=stdin)

    def mesh(self, word: str, *more: str) -> Result:
        return self.fleet("mesh", word, "--token", str(self.home / "net.token"), *more)


def office(inside: Namespace, home: Path, token: str) -> Office:
    (home / "net.token").write_text(token)
    return Office(inside, home)


def until(peer: Peer, holds: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
    """The ledger that a Go peer has, once it is as it should be."""
    while True:
        found = peer.wait("ledger")
        if holds(found.get("ledger", {}).get("kairos", {})):
            kairos: Mapping[str, Any] = found["ledger"]["kairos"]
            return kairos


def test_a_running_network_is_read_and_a_role_is_set(
    lan: Callable[[int], Any], tmp_path: Path
) -> None:
    """Two members, new and old, with a token that rotates; ours reads, then adds one key."""
    one, two, desk = lan(3).machines
    token = Stock().token(interval=3600)
    with (
        Stock("new").start(one, "network", {"token": token, "ledger": ledger()}) as first,
        Stock("old").start(two, "network", {"token": token, "ledger": {}}) as second,
    ):
        until(second, lambda kairos: "control-plane-kubeconfig" in kairos)
        ours = office(desk, tmp_path, token)
        with ThreadPoolExecutor() as pool:
            asked = [("nodes",), ("roles", "--output", "json"), ("kubeconfig",)]
            nodes, roles, kubeconfig = pool.map(lambda words: ours.mesh(*words), asked)
        assert "till-1" in nodes.text()
        (member,) = json.loads(roles.stdout)["nodes"]
        assert (member["uuid"], member["role"]) == ("aaaa", "control-plane")
        assert b"https://10.1.0.2:6443" in kubeconfig.stdout

        done = ours.mesh("set-role", "bbbb", "worker")
        assert done.status == 0, done.stderr
        for peer in (first, second):
            found = until(peer, lambda kairos: "bbbb-role" in kairos)
            assert json.loads(found["bbbb-role"]) == kept("worker")
            assert set(ledger()["kairos"]) < set(found)
        for result in (nodes, roles, kubeconfig, done):
            assert token.encode() not in result.stdout + result.stderr
            assert b"S0VZ" not in result.stderr


def test_a_kubeconfig_with_a_program_in_it_is_refused_and_without_members_it_says_so(
    lan: Callable[[int], Any], tmp_path: Path
) -> None:
    shop, desk = lan(2).machines
    token = Stock().token()
    request = {"token": token, "ledger": ledger(HOSTILE)}
    with Stock().start(shop, "network", request) as member:
        member.wait("started")
        found = office(desk, tmp_path, token).mesh("kubeconfig")
    assert (found.status, found.stdout) == (6, b"")
    assert b"E560" in found.stderr
    alone = office(desk, tmp_path, token).mesh("roles", "--timeout", "3")
    assert alone.status == 5
    assert b"E460" in alone.stderr


def test_a_network_is_reached_through_a_dht(apart: Any, tmp_path: Path) -> None:
    token = Stock().token()
    flags = ("-mdns=false", "-bootstrap", apart.bootstrap)
    with Stock().start(apart.node, "network", {"token": token, "ledger": ledger()}, *flags) as node:
        node.wait("started")
        ours = office(apart.operator, tmp_path, token)
        found = ours.mesh("roles", "--no-mdns", "--bootstrap", apart.bootstrap)
    assert found.status == 0, found.stderr
    assert "control-plane" in found.text()


def test_the_machine_in_recovery_is_made_of_kairos_own_modules_unmodified() -> None:
    made_of = stock_recovery.PROGRAM.contents()
    assert "\tgithub.com/mudler/edgevpn\tv0.35.3\t" in made_of
    assert "\n\t=>" not in made_of


def a_code() -> RecoveryCode:
    token = nettoken.fresh(secrets.token_bytes, full=True)
    return RecoveryCode(token, "abcdefghij", "q7QmZ2a")


def test_a_stock_machine_in_recovery_is_repaired_from_its_photo(
    lan: Callable[[int], Any], tmp_path: Path
) -> None:
    """And a code with another password is refused: the control."""
    shop, desk = lan(2).machines
    code = a_code()
    for name, shown in (("right", code), ("wrong", replace(code, password="another"))):
        text = recovery.to_text(shown)
        (tmp_path / f"{name}.png").write_bytes(render.png(render.modules(text)))
    ours = Office(desk, tmp_path)
    typed = b"echo it is $((6 * 7)); ip -brief address; exit 4\n"
    with stock_recovery.start(shop, code) as machine:
        machine.wait("started")
        rescue = ("rescue", "--kairos", "--timeout", "60")
        done = ours.fleet(*rescue, str(tmp_path / "right.png"), stdin=typed)
        assert done.status == 0, done.stderr
        machine.wait("tried")
        refused = ours.fleet(*rescue, str(tmp_path / "wrong.png"))
    assert b"it is 42" in done.stdout
    assert b"10.78.3.1/24" in done.stdout
    assert b"status 4" in done.stderr
    assert b"root shell" in done.stderr
    assert refused.status == 6
    assert b"E561" in refused.stderr
    (record,) = tmp_path.glob(".local/share/kairos-register/rescue/*.cast")
    said = done.stdout + done.stderr + refused.stdout + refused.stderr + record.read_bytes()
    assert code.password.encode() not in said
    assert code.token.crypto.key.encode() not in said
