"""`kairos-fleet mesh`, `rescue --kairos`: on a network in memory, with a member like Kairos'."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import secrets
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from cli import mesh_run
from cli.fleet import fleet
from cli.keyring import Keyring
from cli.mesh_run import token_from
from cli.rescue_kairos import WARNING, KairosRescue
from cli.rescue_ssh import SshSession
from cli.sources import Source
from pairing import errors
from pairing.edgevpn import mesh, nettoken, recovery, visit
from pairing.edgevpn.gossip import Gossip
from pairing.edgevpn.ledger import Block, Entry, go_time
from pairing.edgevpn.names import Names
from pairing.edgevpn.nettoken import NetworkToken
from pairing.edgevpn.recovery import RecoveryCode
from pairing.qr import render
from pairing.report import Lines
from pairing.testing.gopeer import go_peer
from pairing.testing.gossip import MemoryGossip, MemoryPlace

TOKEN = nettoken.fresh(secrets.token_bytes, full=True)
TEXT = nettoken.to_full_text(TOKEN)
K3S = b"""apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: default, user: {client-key-data: S0VZ}}]
"""
Station = Any


def kept(value: object) -> str:
    return json.dumps(base64.urlsafe_b64encode(json.dumps(value).encode()).decode())


def ledger(kubeconfig: bytes = K3S) -> dict[str, dict[str, str]]:
    inside = base64.urlsafe_b64encode(kubeconfig).decode().rstrip("=")
    return {
        "kairos": {
            "aaaa-uuid": kept({"Time": "2026-11-29T20:59:00Z"}),
            "aaaa-role": kept("control-plane\x1b[2J"),
            "control-plane-kubeconfig": kept(inside),
            "ip-control-plane": kept("10.1.0.2"),
        },
        "machines": {"10.1.0.2": json.dumps({"PeerID": "12D3", "Hostname": "till-1"})},
    }


@dataclass
class Network:
    """A network in memory with one member: one that lives as long as the visit."""

    content: dict[str, dict[str, str]] = field(default_factory=ledger)
    memory: MemoryGossip = field(default_factory=MemoryGossip)
    ssh: Callable[[str, trio.abc.Stream], None] | None = None
    after: dict[str, str] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def joining(
        self, token: NetworkToken, *, names: Callable[[], Names]
    ) -> AsyncIterator[Gossip]:
        async with go_peer(self.memory, token, 3) as (peer, nursery):
            storage = {b: {k: Entry(v) for k, v in e.items()} for b, e in self.content.items()}
            peer.block = Block(50, go_time(0), storage, "f" * 64)
            if self.ssh is not None:
                assert isinstance(peer.gossip, MemoryPlace)
                peer.gossip.services[recovery.SERVICE_PROTOCOL] = self.ssh
                said = json.dumps({"PeerID": peer.gossip.own_id, "Name": "abcdefghij"})
                nursery.start_soon(peer.announce, 1.0, "services", "abcdefghij", said)
            async with self.memory.joining(token, names=names) as place:
                yield place
            self.after = peer.block.values("kairos")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    made = Network()
    monkeypatch.setattr(mesh_run, "edgevpn", lambda _bootstrap, _mdns: made)
    monkeypatch.setattr(visit, "SETTLE_SECONDS", 0.2)
    return made


@pytest.fixture
def run(station: Station, tmp_path: Path, network: Network) -> Callable[..., Result]:
    token = tmp_path / "net.token"
    token.write_text(TEXT)

    def invoke(word: str, *arguments: str | Path) -> Result:
        given = ["mesh", word, "--token", str(token), "--timeout", "30", *map(str, arguments)]
        return CliRunner().invoke(fleet, given, standalone_mode=False)

    return invoke


def test_the_kubeconfig_goes_to_a_private_file(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "kube.yaml"
    done = run("kubeconfig", "--output", path)
    assert done.exception is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"https://10.1.0.2:6443" in path.read_bytes()
    assert "S0VZ" not in done.output + done.stderr
    assert b"192.0.2.7:6443" in run("kubeconfig", "--server", "192.0.2.7").stdout_bytes


def test_a_kubeconfig_that_runs_programs_is_refused(
    run: Callable[..., Result], network: Network
) -> None:
    network.content = ledger(K3S.replace(b"client-key-data: S0VZ", b"exec: {command: sh}"))
    done = run("kubeconfig")
    assert isinstance(done.exception, errors.MeshValueBroken)
    assert not done.stdout


def test_roles_and_machines_are_listed_and_strangers_words_made_harmless(
    run: Callable[..., Result],
) -> None:
    shown = run("roles").stdout
    assert "aaaa" in shown
    assert "\\x1b[2J" in shown
    assert "\x1b" not in shown
    (machine,) = json.loads(run("nodes", "--output", "json").stdout)["machines"]
    assert machine["hostname"] == "till-1"


def test_a_role_is_set_and_the_others_words_stay(
    run: Callable[..., Result], network: Network
) -> None:
    done = run("set-role", "bbbb", "worker")
    assert done.exception is None
    assert "no node with this UUID" in done.stderr
    assert network.after["bbbb-role"] == mesh.role_entry("bbbb", "worker").value
    assert set(ledger()["kairos"]) < set(network.after)
    assert isinstance(run("set-role", "bbbb", "boss").exception, errors.UsageError)


def test_neither_ledger_nor_token_reaches_the_terminal(run: Callable[..., Result]) -> None:
    for words in (("roles",), ("nodes",), ("set-role", "bbbb", "worker")):
        done = run(*words)
        for secret in ("S0VZ", "Config", TOKEN.crypto.key, TEXT):
            assert secret not in done.output + done.stderr


def test_the_token_comes_from_a_file_a_config_or_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    bare, config = tmp_path / "t", tmp_path / "c.yaml"
    bare.write_text(TEXT + "\n")
    config.write_text(f'#cloud-config\np2p:\n  network_token: "{TEXT}"\n')
    assert token_from(str(bare), warned.append) == token_from(str(config), warned.append) == TOKEN
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert token_from("-", warned.append) == TOKEN
    assert not warned
    assert token_from(TEXT, warned.append) == TOKEN
    assert len(warned) == 1
    config.write_text("#cloud-config\nhostname: a\n")
    for wrong in (config, tmp_path / "none"):
        with pytest.raises(errors.MeshTokenMissing) as missing:
            token_from(str(wrong), warned.append)
        assert missing.value.exit_code == errors.ExitCode.PHOTO
        assert "photo" not in missing.value.hint, "a network's token is never photographed"


CODE = RecoveryCode(TOKEN, "abcdefghij", "q7QmZ2a")


def rescue(station: Station, network: Network, source: Source) -> tuple[KairosRescue, io.StringIO]:
    talk = io.StringIO()
    return KairosRescue(
        source=source,
        identity=Keyring.at(str(station.keys)).identity(),
        network=network,
        timeout=20,
        talk=Lines(talk, io.StringIO()),
    ), talk


def test_a_photo_of_the_recovery_screen_is_read(station: Station, tmp_path: Path) -> None:
    photo = tmp_path / "p.png"
    photo.write_bytes(render.png(render.modules(recovery.to_text(CODE))))
    assert rescue(station, Network(), Source("p", photo=photo))[0].code() == CODE
    photo.write_bytes(render.png(render.modules(TEXT)))
    with pytest.raises(errors.RecoveryCodeInvalid):
        rescue(station, Network(), Source("p", photo=photo))[0].code()


def test_the_service_is_found_opened_and_the_danger_said(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way there; what ssh does with the stream is in test_rescue_ssh and in interop."""
    callers: list[str] = []

    def answer(caller: str, stream: trio.abc.Stream) -> None:
        callers.append(caller)
        trio.lowlevel.spawn_system_task(stream.send_all, b"SSH-2.0-there\r\n")

    async def read(self: SshSession, stream: Any) -> int:
        assert self.password == CODE.password
        assert await stream.receive_some(100) == b"SSH-2.0-there\r\n"
        return 0

    monkeypatch.setattr(SshSession, "run", read)
    run, talk = rescue(station, Network(ssh=answer), Source("t", text=recovery.to_text(CODE)))
    assert run.all() == 0
    assert len(callers) == 1
    said = " ".join(talk.getvalue().split())
    assert WARNING in said
    assert CODE.password not in said
    assert CODE.service not in said


def test_nobody_offers_it(station: Station) -> None:
    run, _ = rescue(station, Network(), Source("t", text=recovery.to_text(CODE)))
    run.timeout = 3
    with pytest.raises(errors.RecoveryMissing):
        run.all()
