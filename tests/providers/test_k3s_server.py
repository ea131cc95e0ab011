"""A k3s server: one that is a Node of its cluster, and one without a kubelet.

What it serves is the fake of `node.testing.k3s_supervisor`; the stand-in joins it as k3s' own agent
inside of a server does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trio

from node.providers.base import Preparation
from node.providers.join import join
from node.providers.k3s.provider import K3s
from node.testing import k3s_stand_in
from node.testing.k3s_stand_in import RECORD
from node.testing.k3s_supervisor import Supervisor
from pairing import errors
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts
from tests.providers.conftest import NODE, Heard, Systemd, document

KUBECONFIG = "etc/rancher/k3s/k3s.yaml"
ALONE = ["--disable-agent"]


@dataclass(frozen=True, slots=True)
class Impatient(K3s):
    """A server with half a second to join."""

    def prepare(self, config: Document, facts: Facts) -> Preparation:
        return replace(K3s.prepare(self, config, facts), join_seconds=0.5)


async def joined(
    systemd: Systemd,
    heard: Heard,
    *,
    args: list[str] | None = None,
    env: Mapping[str, str] | None = None,
    provider: K3s | None = None,
) -> State | None:
    """Begin a cluster, or join one if `env` says so."""
    asked = document({"k3s": {"enabled": True, "args": args or [], "env": dict(env or {})}})
    providers = [provider or K3s("server")]
    with trio.fail_after(30):
        return await join(
            asked, Facts(), heard, root=systemd.root, run=systemd, providers=providers
        )


def serves(supervisor: Supervisor, systemd: Systemd, place: str = KUBECONFIG) -> None:
    """From its start on k3s serves, and writes its administrator's kubeconfig to `place`."""

    def start(_: Mapping[str, str]) -> None:
        file = systemd.root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(supervisor.kubeconfig)

    systemd.start = start


def is_a_node(supervisor: Supervisor, systemd: Systemd) -> None:
    """From its start on k3s' own agent joins what k3s serves."""
    itself = {"K3S_URL": supervisor.url, "K3S_TOKEN": supervisor.token}
    systemd.start = lambda _: k3s_stand_in.join(itself, systemd.root, NODE)


def started(systemd: Systemd) -> bool:
    return any("start" in argv for argv, _ in systemd.calls)


async def test_a_server_is_the_first_node_of_its_cluster(
    supervisor: Supervisor, systemd: Systemd
) -> None:
    is_a_node(supervisor, systemd)
    supervisor.all_ready = True
    assert await joined(systemd, heard := Heard(), args=["--cluster-init"]) is State.READY
    assert [state for state, _ in heard.states] == [State.JOINED, State.READY]
    assert all(NODE in text for _, text in heard.states)
    recorded = json.loads((systemd.root / RECORD).read_text())
    assert recorded["arguments"] == ["server"]
    settings = recorded["files"]["etc/rancher/k3s/config.yaml"]
    assert settings == ["0o600", '"cluster-init": true\n']


async def test_a_server_whose_own_node_is_never_there_has_not_joined(
    supervisor: Supervisor, systemd: Systemd
) -> None:
    """Its API server answers: that is not enough where it was to become a Node."""
    serves(supervisor, systemd)
    with pytest.raises(errors.JoinTimeout):
        await joined(systemd, heard := Heard(), provider=Impatient("server"))
    assert heard.states == []


async def test_a_server_without_a_kubelet_is_ready_once_it_serves(
    supervisor: Supervisor, systemd: Systemd
) -> None:
    serves(supervisor, systemd)
    assert await joined(systemd, heard := Heard(), args=ALONE) is State.READY
    assert [state for state, _ in heard.states] == [State.JOINED, State.READY]
    assert "no node" in heard.states[-1][1]
    assert {path for path, _ in supervisor.asked} == {"/version"}


async def test_a_server_without_a_kubelet_that_writes_no_kubeconfig_in_time(
    systemd: Systemd,
) -> None:
    systemd.start, systemd.log = lambda _: None, "level=info msg=starting\n"
    with pytest.raises(errors.JoinTimeout, match="starting"):
        await joined(systemd, heard := Heard(), args=ALONE, provider=Impatient("server"))
    assert heard.states == []


async def test_a_server_that_does_not_answer_is_not_joined(
    supervisor: Supervisor, systemd: Systemd
) -> None:
    """Its kubeconfig is there, also from the start before: nobody has served it yet."""
    serves(supervisor, systemd)
    supervisor.port = 1
    with pytest.raises(errors.JoinTimeout):
        await joined(systemd, heard := Heard(), args=ALONE, provider=Impatient("server"))
    assert heard.states == []


@pytest.mark.parametrize(
    ("args", "env"),
    [
        (["--write-kubeconfig=/root/admin.yaml"], {}),
        (["-o /root/admin.yaml"], {}),
        ([], {"K3S_KUBECONFIG_OUTPUT": "/root/admin.yaml"}),
    ],
)
async def test_a_kubeconfig_is_found_where_k3s_was_told_to_write_it(
    supervisor: Supervisor, systemd: Systemd, args: list[str], env: dict[str, str]
) -> None:
    serves(supervisor, systemd, "root/admin.yaml")
    assert await joined(systemd, Heard(), args=[*ALONE, *args], env=env) is State.READY


async def test_a_server_that_ends_again_and_again(systemd: Systemd) -> None:
    systemd.start, systemd.restarts, systemd.log = lambda _: None, 3, "level=fatal msg=boom\n"
    with pytest.raises(errors.JoinFailed, match="boom"):
        await joined(systemd, Heard(), args=ALONE)


def of(supervisor: Supervisor, **more: Any) -> dict[str, str]:
    return {"K3S_URL": supervisor.url, "K3S_TOKEN": supervisor.token, **more}


async def test_a_second_server_with_a_wrong_token_is_not_started(
    supervisor: Supervisor, systemd: Systemd
) -> None:
    wrong = of(supervisor, K3S_TOKEN=f"{supervisor.named}::server:another-password-9")
    with pytest.raises(errors.JoinTokenRefused):
        await joined(systemd, Heard(), args=ALONE, env=wrong)
    assert not started(systemd)


async def test_a_second_server_without_a_kubelet_starts_again_without_the_first(
    supervisor: Supervisor, systemd: Systemd
) -> None:
    """Its certificates are there, and the token may have been changed since."""
    serves(supervisor, systemd)
    env = of(supervisor)
    certificate = systemd.root / "var/lib/rancher/k3s/server/tls/client-admin.crt"
    certificate.parent.mkdir(parents=True)
    certificate.write_text("of its first start")
    supervisor.password = "changed since"
    assert await joined(systemd, Heard(), args=ALONE, env=env) is State.READY
