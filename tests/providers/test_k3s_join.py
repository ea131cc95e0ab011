"""k3s' own join against a fake of its supervisor: `node.testing.k3s_supervisor` is no k3s.

The stand-in for the k3s program records how it was started: that is the install contract.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from node.providers.base import Preparation, Scene
from node.providers.join import join
from node.providers.k3s.provider import REACH_SECONDS, K3s, agent, reason_in
from node.testing.certificates import Authority
from node.testing.k3s_stand_in import RECORD
from node.testing.k3s_supervisor import Supervisor, running
from pairing import errors
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts
from tests.providers.conftest import NODE, Heard, Systemd, document

BOOTSTRAP = "abcdef.0123456789abcdef"


def config(url: str, token: str, **more: Any) -> dict[str, Any]:
    env = {"K3S_URL": url, "K3S_TOKEN": token}
    return {"k3s-agent": {"enabled": True, "args": ["--node-label=a=b"], "env": env}, **more}


async def joined(value: dict[str, Any], systemd: Systemd, heard: Heard) -> State | None:
    """Join by the one provider, with a deadline of its own."""
    with trio.fail_after(30):
        return await join(
            document(value), Facts(), heard, root=systemd.root, run=systemd, providers=[agent()]
        )


async def test_an_agent_joins_and_is_ready(supervisor: Supervisor, systemd: Systemd) -> None:
    systemd.then = lambda: ready(supervisor)
    heard = Heard()
    assert await joined(config(supervisor.url, supervisor.token), systemd, heard) is State.READY
    assert [state for state, _ in heard.states] == [State.JOINED, State.READY]
    assert all(NODE in text for _, text in heard.states)
    assert heard.steps[0][:4] == ("join-k3s-agent", "1/1", 0, 3)
    assert heard.steps[-1][2:4] == (3, 3)


def ready(supervisor: Supervisor) -> None:
    supervisor.nodes[NODE] = True


async def test_the_contract_of_the_program(supervisor: Supervisor, systemd: Systemd) -> None:
    """Level (a): what k3s is given, and that no secret is anywhere else."""
    systemd.then = lambda: ready(supervisor)
    await joined(config(supervisor.url, supervisor.token), systemd, heard := Heard())
    recorded = json.loads((systemd.root / RECORD).read_text())
    assert recorded["arguments"] == ["agent"]
    assert recorded["environment"] == {"K3S_URL": supervisor.url, "K3S_TOKEN": supervisor.token}
    mode, text = recorded["files"]["etc/rancher/k3s/config.yaml"]
    assert (mode, text) == ("0o600", '"node-label": "a=b"\n')
    assert recorded["files"]["etc/rancher/k3s/k3s.env"][0] == "0o600"
    secret = supervisor.password
    assert secret in recorded["files"]["etc/rancher/k3s/k3s.env"][1]
    elsewhere = [systemd.calls, heard.steps, heard.states]
    assert secret not in repr(elsewhere)


@pytest.mark.parametrize("good", [True, False])
async def test_bootstrap_tokens(supervisor: Supervisor, systemd: Systemd, good: bool) -> None:
    supervisor.bootstrap[BOOTSTRAP] = good
    systemd.then = lambda: ready(supervisor)
    asked = config(supervisor.url, f"{supervisor.named}::{BOOTSTRAP}")
    if good:
        assert await joined(asked, systemd, Heard()) is State.READY
        return
    with pytest.raises(errors.JoinTokenRefused, match="expired"):
        await joined(asked, systemd, Heard())
    assert not started(systemd)


def started(systemd: Systemd) -> bool:
    return any("start" in argv for argv, _ in systemd.calls)


async def test_a_wrong_token_is_named_before_anything_is_written(
    supervisor: Supervisor, systemd: Systemd
) -> None:
    wrong = f"{supervisor.named}::server:another-password-9"
    with pytest.raises(errors.JoinTokenRefused) as caught:
        await joined(config(supervisor.url, wrong), systemd, Heard())
    assert "another-password-9" not in str(caught.value)
    assert not started(systemd)
    assert not (systemd.root / "etc/rancher").exists()


async def test_a_token_is_never_shown_to_another_authority(
    supervisor: Supervisor, systemd: Systemd, tmp_path: Path
) -> None:
    token = supervisor.token
    with (
        running(Supervisor(Authority.new("k3s-server-ca")), tmp_path) as impostor,
        pytest.raises(errors.JoinCaMismatch),
    ):
        await joined(config(impostor.url, token), systemd, Heard())
    assert {path for path, _ in impostor.asked} == {"/cacerts"}
    assert not any(authorization for _, authorization in impostor.asked)


async def test_control_a_token_without_a_hash_is_shown_to_anybody(
    systemd: Systemd, tmp_path: Path
) -> None:
    """The positive control of the test above; k3s itself does the same, and we say so."""
    with (
        running(Supervisor(Authority.new()), tmp_path) as impostor,
        pytest.raises(errors.JoinTokenRefused, match="names no authority"),
    ):
        await joined(config(impostor.url, "some-password-123"), systemd, Heard())
    assert any(authorization for _, authorization in impostor.asked)


async def test_a_server_that_shows_another_certificate_than_its_authority(
    systemd: Systemd, tmp_path: Path
) -> None:
    """Somebody in the middle copies `/cacerts`, but cannot sign."""
    real = Authority.new("k3s-server-ca")
    middle = Supervisor(Authority.new("k3s-server-ca"))
    with running(middle, tmp_path):
        middle.authority = real
        with pytest.raises(errors.JoinCaMismatch):
            await joined(config(middle.url, middle.token), systemd, Heard())
    assert not any(authorization for _, authorization in middle.asked)


async def test_a_server_that_starts_is_waited_for(
    supervisor: Supervisor, systemd: Systemd, autojump_clock: trio.testing.MockClock
) -> None:
    supervisor.starting = 1
    provider = agent()
    scene = scene_for(systemd, config(supervisor.url, supervisor.token))
    autojump_clock.autojump_threshold = 0.5  # real connections need real time between the jumps
    await provider.check(scene)
    assert trio.current_time() >= 2


async def test_a_clock_that_is_wrong_is_waited_for_and_named(
    systemd: Systemd, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A board without a clock of its own asks before a time server has told it."""
    ended = timedelta(minutes=-5)
    server = Supervisor(Authority.new("k3s-server-ca"))
    autojump_clock.autojump_threshold = 0.5  # as above
    with running(server, tmp_path, life=ended), pytest.raises(errors.JoinClockWrong):
        await agent().check(scene_for(systemd, config(server.url, server.token)))
    assert trio.current_time() >= REACH_SECONDS
    assert not any(authorization for _, authorization in server.asked)


def scene_for(systemd: Systemd, value: dict[str, Any]) -> Scene:
    async def command(argv: Any, **how: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return systemd(argv, **how)

    return Scene(
        config=document(value),
        facts=Facts(),
        root=systemd.root,
        command=command,
        log=lambda line: None,
        say_tail=lambda lines: None,
    )


async def test_an_unreachable_server_is_named_within_a_minute(
    systemd: Systemd, patient_clock: trio.testing.MockClock
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"https://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(errors.JoinUnreachable, match="refused"):
            await joined_late(config(url, f"K10{'a' * 64}::server:x1y2z3"), systemd)
    assert trio.current_time() < 60
    assert not started(systemd)


async def joined_late(value: dict[str, Any], systemd: Systemd) -> None:
    await join(
        document(value), Facts(), Heard(), root=systemd.root, run=systemd, providers=[agent()]
    )


async def test_a_name_that_is_taken(supervisor: Supervisor, systemd: Systemd) -> None:
    supervisor.node_passwords[NODE] = "of the machine before"
    with pytest.raises(errors.JoinForbidden, match="Another machine"):
        await joined(config(supervisor.url, supervisor.token), systemd, Heard())


class ImpatientAgent(K3s):
    """The same with half a second to get ready."""

    def prepare(self, config: Document, facts: Facts) -> Preparation:
        return replace(agent().prepare(config, facts), ready_seconds=0.5)


async def test_a_node_that_never_gets_ready(supervisor: Supervisor, systemd: Systemd) -> None:
    heard, asked = Heard(), document(config(supervisor.url, supervisor.token))
    providers = [ImpatientAgent("agent")]
    with trio.fail_after(30), pytest.raises(errors.JoinNotReady, match="cni"):
        await join(asked, Facts(), heard, root=systemd.root, run=systemd, providers=providers)
    assert [state for state, _ in heard.states] == [State.JOINED]


async def test_a_service_that_ends_again_and_again(
    supervisor: Supervisor, systemd: Systemd
) -> None:
    systemd.start = lambda _: None
    systemd.restarts, systemd.log = 3, f"level=fatal msg=boom {supervisor.password}\n"
    with pytest.raises(errors.JoinFailed) as caught:
        await joined(config(supervisor.url, supervisor.token), systemd, Heard())
    assert "boom" in str(caught.value)
    assert supervisor.password not in str(caught.value)


async def test_an_image_without_k3s(systemd: Systemd) -> None:
    (systemd.root / "usr/bin/k3s").unlink()
    with pytest.raises(errors.JoinProgramMissing):
        await joined(config("https://a:6443", "x1y2z3"), systemd, Heard())


async def test_a_disk_that_is_full_is_a_failure_to_join(
    supervisor: Supervisor, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*anything: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("node.providers.join.carry_out", full)
    with pytest.raises(errors.JoinFailed, match="No space left on device"):
        await joined(config(supervisor.url, supervisor.token), systemd, Heard())


async def test_a_config_that_joins_nothing(systemd: Systemd) -> None:
    assert await joined({"hostname": "a"}, systemd, heard := Heard()) is None
    assert heard == Heard()
    assert not systemd.calls


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Node password rejected, duplicate hostname or contents of", errors.JoinForbidden),
        ("token CA hash does not match the Cluster CA certificate hash", errors.JoinCaMismatch),
        ("https://a:6443/v1-k3s/config: 401 Unauthorized", errors.JoinTokenRefused),
        ("dial tcp 10.0.0.1:6443: connect: connection refused", errors.JoinUnreachable),
    ],
)
def test_what_the_log_of_k3s_means(line: str, reason: type[errors.JoinFailed]) -> None:
    assert reason_in(f"first\nlevel=error msg={line!r}\nlevel=info msg=retry\n") is reason
    assert reason_in("all is well\n") is None


async def test_a_machine_that_has_joined_starts_without_its_cluster(
    supervisor: Supervisor, systemd: Systemd
) -> None:
    """At the next boot the token may have expired, and the server may be away."""
    systemd.then = lambda: ready(supervisor)
    asked = config(supervisor.url, supervisor.token)
    await joined(asked, systemd, Heard())
    supervisor.password, supervisor.asked = "changed since", []
    systemd.start = lambda _: None
    systemd.calls.clear()
    assert await joined(asked, systemd, Heard()) is State.READY
    assert started(systemd)
    assert {path for path, _ in supervisor.asked} == {f"/api/v1/nodes/{NODE}"}
