"""`kairos-register --kairos`: every refusal, every exit code, and that nothing of it is ever shown.

On the memory network and in virtual time; `tests/interop` does the same with stock programs.
"""

from __future__ import annotations

import io
import json
import random
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from cli import audit
from cli.inventory import Inventory
from cli.kairos.run import KairosRun
from cli.pairing_run import WarmUp
from cli.records import Records
from cli.register import Asked, command, prepare_kairos
from cli.sources import Source
from pairing import errors, keys
from pairing.config.load import load
from pairing.edgevpn import nettoken, session
from pairing.edgevpn.names import names_at
from pairing.edgevpn.nettoken import NetworkToken
from pairing.edgevpn.payload import from_json
from pairing.errors import ExitCode
from pairing.events import State
from pairing.peertoken import Token, to_text
from pairing.qr import render
from pairing.report import report_for
from pairing.testing.gopeer import GoPeer, go_peer, go_receive
from pairing.testing.gossip import MemoryGossip

Station = Any
Clock = trio.testing.MockClock
CANARY = "canary-7b1f"
CONFIG = f"""#cloud-config
hostname: shop-0815
users:
  - name: kairos
    groups: [admin]
    ssh_authorized_keys:
      - github:mudler
write_files:
  - path: /etc/motd
    content: |
      {CANARY} "käthe"
install:
  device: /dev/sda
"""
SECRET = CONFIG.replace("    groups:", f"    passwd: {CANARY}\n    groups:")


class Desk:
    """`kairos-register --kairos` in this process, on the memory network."""

    def __init__(self, station: Station) -> None:
        self.station, self.network = station, MemoryGossip()
        self.out, self.err = io.StringIO(), io.StringIO()
        station.config.write_text(CONFIG)

    def asked(self, *arguments: str) -> Asked:
        given = ["--config", str(self.station.config), "--kairos", *arguments]
        if not any(text.endswith(".png") for text in arguments):
            given.append(str(self.photo("photo.png")))
        with command.make_context("kairos-register", given) as made:
            return Asked(**made.params)

    def run(self, *arguments: str) -> KairosRun:
        run = prepare_kairos(asked := self.asked(*arguments))
        run.network = self.network
        run.warm = WarmUp(lambda: None)
        run.report = report_for(asked.output, self.err, self.out)
        return run

    def photo(self, name: str, text: str = "") -> Path:
        """A picture of a code in the station's home."""
        path: Path = self.station.home / name
        if text or not path.exists():
            path.write_bytes(render.png(render.modules(text)) if text else b"")
        return path

    async def register(self, run: KairosRun) -> int:
        from cli import screen

        with run:
            codes = await run.register()
        return run.close(screen.exit_code(codes))

    @property
    def said(self) -> str:
        return self.out.getvalue() + self.err.getvalue()


@pytest.fixture
def desk(station: Station) -> Desk:
    return Desk(station)


@pytest.fixture
def token() -> NetworkToken:
    return nettoken.fresh(secrets.token_bytes)


async def beside(desk: Desk, run: KairosRun, *nodes: Callable[[], Any]) -> tuple[int, list[Any]]:
    """The run, while `nodes` do what they do; its exit code, and what they got."""
    got: list[Any] = []

    async def keep(node: Callable[[], Any]) -> None:
        got.append(await node())

    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(keep, node)
        code = await desk.register(run)
        with trio.move_on_after(60):
            while len(got) < len(nodes):  # noqa: ASYNC110 (virtual time)
                await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    return code, got


# --- exit 0 and what is sent --------------------------------------------------------------------


async def test_0_a_stock_node_from_its_photo(desk: Desk, quick_clock: Clock) -> None:
    token = nettoken.fresh(secrets.token_bytes, full=True)
    text = nettoken.to_full_text(token)
    assert len(text) > 500, "as large a code as stock nodes show"
    desk.photo("photo.png", text)
    run = desk.run("--reboot")
    code, (got,) = await beside(desk, run, partial(go_receive, desk.network, token))
    assert code == 0
    payload = from_json(got)
    assert (payload.device, payload.reboot, payload.poweroff) == ("/dev/sda", True, False)
    sent = load(payload.config)
    assert sent.get("install") == {"device": "/dev/sda", "auto": True, "reboot": True}
    assert sent.get("write_files", 0, "content") == f'{CANARY} "käthe"\n'
    assert sent.get("users", 0, "ssh_authorized_keys") == ["github:mudler"]
    assert desk.out.getvalue().startswith(
        f"{desk.station.home}/photo.png: approved (Kairos peer 12D3"
    )
    assert desk.err.getvalue().count("anyone who has the photo can read this config") == 1


@pytest.mark.parametrize("form", [nettoken.to_text, nettoken.to_full_text])
async def test_0_a_token_typed_or_piped(
    desk: Desk, token: NetworkToken, form: Any, quick_clock: Clock
) -> None:
    run = desk.run()
    run.sources = [Source("-", text=form(token))]
    code, (got,) = await beside(desk, run, partial(session.receive, desk.network, token))
    assert code == 0
    assert got.device == "/dev/sda"


async def test_0_a_dry_run_sends_nothing(
    desk: Desk, token: NetworkToken, quick_clock: Clock
) -> None:
    desk.photo("photo.png", nettoken.to_text(token))
    code, _ = await beside(desk, desk.run("--dry-run", "--output", "json"))
    (verdict,) = json.loads(desk.out.getvalue())["nodes"]
    assert (code, verdict["dry_run"], verdict["released"], verdict["state"]) == (0, True, False, "")
    assert desk.network.said == []


async def test_0_a_dozen_at_once(desk: Desk, quick_clock: Clock) -> None:
    tokens = [nettoken.fresh(secrets.token_bytes) for _ in range(12)]
    run = desk.run("--output", "json")
    run.sources = [Source(f"{i}", text=nettoken.to_text(t)) for i, t in enumerate(tokens)]
    nodes = [partial(go_receive, desk.network, token, i) for i, token in enumerate(tokens)]
    began = trio.current_time()
    with run:
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(node)
            codes = await run.register()
            took = trio.current_time() - began
            nursery.cancel_scope.cancel()
    assert codes == [0] * 12
    assert took < 30, "virtual seconds: side by side, not one after another (120 and more)"
    assert len({node.peer for node in run._nodes.values()}) == 12


async def test_two_photos_of_one_screen_are_one_node(
    desk: Desk, token: NetworkToken, quick_clock: Clock
) -> None:
    """Two senders for one node would look like an intruder to each other."""
    text = nettoken.to_text(token)
    run = desk.run("--output", "json")
    run.sources = [Source("a", text=text), Source("b", text=text)]
    code, (got,) = await beside(desk, run, partial(go_receive, desk.network, token))
    assert code == 0
    assert from_json(got).config
    run.close(code)
    nodes = json.loads(desk.out.getvalue().split("\n}\n")[0] + "\n}")["nodes"]
    assert [(node["source"], node["already"]) for node in nodes] == [("a", False), ("b", True)]


# --- the other ends -----------------------------------------------------------------------------


async def test_5_nobody_came(desk: Desk, token: NetworkToken, quick_clock: Clock) -> None:
    desk.photo("photo.png", nettoken.to_text(token))
    code, _ = await beside(desk, desk.run("--timeout", "20", "--output", "jsonl"))
    verdict = json.loads(desk.out.getvalue().splitlines()[-1])
    assert code == verdict["exit"] == ExitCode.UNREACHABLE
    assert (verdict["released"], verdict["security"]) == (False, "bearer")
    assert verdict["error"]["slug"] == errors.KairosNobodyCame.slug


async def test_6_a_third_one_takes_part(
    desk: Desk, token: NetworkToken, quick_clock: Clock
) -> None:
    desk.photo("photo.png", nettoken.to_text(token))
    run = desk.run()
    node = partial(go_receive, desk.network, token)
    code, _ = await beside(desk, run, node, partial(go_receive, desk.network, token, 2))
    assert code == ExitCode.NOT_AUTHENTIC
    assert errors.KairosIntruder.slug in desk.said


async def test_10_delivered_and_gone(desk: Desk, token: NetworkToken, quick_clock: Clock) -> None:
    desk.photo("photo.png", nettoken.to_text(token))

    async def leaves() -> str:
        async with go_peer(desk.network, token, 1) as (peer, _nursery):
            await peer.two_present()
            await peer.until("pairing", "data")
            await trio.sleep(15)  # its block is said again in this time
        return "gone"

    code, got = await beside(desk, desk.run("--output", "json"), leaves)
    assert got == ["gone"]
    (verdict,) = json.loads(desk.out.getvalue())["nodes"]
    assert code == verdict["exit"] == ExitCode.NOT_ACKNOWLEDGED
    assert (verdict["state"], verdict["released"]) == (State.APPROVED.value, True)
    assert verdict["error"]["slug"] == "not-acknowledged"


async def test_12_sent_and_no_sign_of_it(
    desk: Desk, token: NetworkToken, quick_clock: Clock
) -> None:
    desk.photo("photo.png", nettoken.to_text(token))

    async def deaf() -> None:
        """It is there and never takes anything in."""
        names = partial(names_at, token, 0)
        async with desk.network.joining(token, names=names) as gossip:
            await gossip.follow([names().topic])
            peer = GoPeer(gossip, token, random.Random(1))
            while True:
                await peer.add("presence", gossip.own_id, '""')
                await trio.sleep(2)

    code, _ = await beside(desk, desk.run("--timeout", "30", "--output", "json"), deaf)
    (verdict,) = json.loads(desk.out.getvalue())["nodes"]
    assert code == verdict["exit"] == ExitCode.NO_VERDICT
    assert (verdict["released"], verdict["state"]) == (True, "")


async def test_8_some_of_several(desk: Desk, token: NetworkToken, quick_clock: Clock) -> None:
    lonely = nettoken.fresh(secrets.token_bytes)
    run = desk.run("--timeout", "40")
    run.sources = [
        Source("a", text=nettoken.to_text(token)),
        Source("b", text=nettoken.to_text(lonely)),
        Source("c", text="not a token at all"),
    ]
    code, _ = await beside(desk, run, partial(go_receive, desk.network, token))
    assert code == ExitCode.BATCH
    said = desk.out.getvalue()
    assert "a: approved" in said
    assert "b: not done" in said
    assert "c: not done" in said


# --- what is refused ----------------------------------------------------------------------------


async def test_a_code_of_ours_is_a_usage_error(desk: Desk, quick_clock: Clock) -> None:
    desk.photo("photo.png", to_text(Token(keys.generate().public, b"s" * 16)))
    code, _ = await beside(desk, desk.run())
    assert code == ExitCode.USAGE
    assert errors.NativeCode.slug in desk.said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--wait", "written"],
        ["--wait", "installed"],
        ["--approve", "ask"],
        ["--confirm-words"],
        ["--label", "a=b"],
        ["--relay", "relay.example"],
        ["--relay-ca", "x.pem"],
        ["--relay-token-file", "x"],
        ["--ek-ca", "x.pem"],
        ["--reboot", "--poweroff"],
        ["--bootstrap", "somewhere"],
    ],
)
def test_2_options_that_mean_nothing_here(desk: Desk, arguments: list[str]) -> None:
    with pytest.raises(errors.UsageError) as refused:
        desk.run(*arguments)
    assert refused.value.exit_code == ExitCode.USAGE
    desk.run("--approve", "auto", "--device", "/dev/sda", "--timeout", "5")  # these do


@pytest.mark.parametrize("option", [["--bootstrap", "public"], ["--allow-secrets"]])
def test_2_options_of_kairos_without_it(station: Station, option: list[str]) -> None:
    with pytest.raises(errors.UsageError, match="belongs to --kairos"):
        station.run(*option)
    station.run()


def test_3_no_disk_is_named(desk: Desk) -> None:
    desk.station.config.write_text(CONFIG.partition("install:")[0])
    with pytest.raises(errors.KairosDiskNotNamed, match="largest disk"):
        desk.run()
    assert desk.run("--device", "/dev/vda").order.payload.device == "/dev/vda"
    assert desk.run("--set", "install.device=/dev/vdb").order.payload.device == "/dev/vdb"


@pytest.mark.parametrize("arguments", [["--device", "auto"], ["--set", "install.device=auto"]])
def test_auto_only_written_out_and_with_a_warning(desk: Desk, arguments: list[str]) -> None:
    run = desk.run(*arguments)
    assert run.order.payload.device == "auto"
    assert any("erases the largest one" in str(warning) for warning in run.order.warnings)
    assert not any("largest" in str(warning) for warning in desk.run().order.warnings)


def test_3_a_disk_that_kairos_does_not_take(desk: Desk) -> None:
    with pytest.raises(errors.ConfigError, match="Kairos takes /dev/"):
        desk.run("--device", "sda")


def test_3_secrets_are_refused_by_place_and_never_shown(desk: Desk) -> None:
    desk.station.config.write_text(SECRET)
    with pytest.raises(errors.KairosSecretsRefused) as refused:
        desk.run()
    assert refused.value.exit_code == ExitCode.CONFIG
    assert "shop.yaml:5:13: users.0.passwd: A password." in refused.value.sentence
    assert CANARY not in str(refused.value)
    config = desk.run("--allow-secrets").order.payload.config
    assert f"passwd: {CANARY}" not in config, "it leaves as a hash"
    assert "$6$" in config


def test_3_too_large_before_a_photo_is_read(desk: Desk) -> None:
    big = CONFIG + f"  env: [{json.dumps('x' * (256 * 1024))}]\n"
    desk.station.config.write_text(big)
    with pytest.raises(errors.KairosConfigTooLarge):
        desk.run()
    desk.station.config.write_text(big.replace("x" * 1024 * 200, "x"))
    desk.run()


def test_3_placeholders_that_nobody_fills_in(desk: Desk) -> None:
    with pytest.raises(errors.ConfigError, match="shows no hardware"):
        desk.run("--set", "hostname=till-{{ node.serial }}")
    desk.run("--set", "hostname=till-{{ trunc 4 .MachineID }}")


def test_3_values_of_a_wrong_type(desk: Desk) -> None:
    with pytest.raises(errors.ConfigError, match=r"k3s\.args"):
        desk.run("--set", "k3s.args=x")


async def test_a_token_that_rotates_is_warned_about(
    desk: Desk, token: NetworkToken, quick_clock: Clock
) -> None:
    mesh = nettoken.fresh(secrets.token_bytes, rotate_seconds=3600)
    for one, warned in ((mesh, True), (token, False)):
        run = desk.run("--dry-run")
        run.sources = [Source("a", text=nettoken.to_full_text(one))]
        desk.err.truncate(0)
        await desk.register(run)
        assert ("long-lived token of a mesh" in desk.err.getvalue()) is warned


# --- what is kept, and what is never shown ------------------------------------------------------


async def test_what_is_kept(desk: Desk, token: NetworkToken, quick_clock: Clock) -> None:
    desk.photo("photo.png", text := nettoken.to_text(token))
    run = desk.run("--output", "jsonl")
    await beside(desk, run, partial(go_receive, desk.network, token))
    (name,) = run._nodes
    assert name.startswith("kairos-")
    records = Records()
    (line,) = records.history(name)
    assert (line["state"], line["type"]) == ("approved", "state")
    (entry,) = audit.read(records.folder)
    assert (entry.action, entry.node) == ("kairos-send", name)
    assert entry.about["security"] == "bearer"
    origin = Inventory(records.folder).entry(name).origin
    assert origin.files == (str(desk.station.config),)
    lines = [json.loads(line) for line in desk.out.getvalue().splitlines()]
    assert [line["security"] for line in lines if line["type"] == "security"] == ["bearer"]
    assert any(line.get("state") == "approved" and line["type"] == "state" for line in lines)
    again = desk.run("--dry-run")
    await desk.register(again)
    assert "was given a config at" in desk.err.getvalue()
    for path in records.folder.rglob("*"):
        if path.is_file():
            assert text[:40] not in path.read_text()
            assert CANARY not in path.read_text()


@pytest.mark.parametrize("output", ["human", "json", "jsonl"])
async def test_nothing_of_token_or_config_is_ever_shown(
    desk: Desk, token: NetworkToken, output: str, quick_clock: Clock,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level("DEBUG")
    desk.station.config.write_text(SECRET)
    desk.photo("photo.png", text := nettoken.to_text(token))
    run = desk.run("--allow-secrets", "--output", output)
    code, (got,) = await beside(desk, run, partial(go_receive, desk.network, token))
    assert code == 0
    assert CANARY in got, "it did go over the wire"
    shown = capfd.readouterr()
    everything = desk.said + caplog.text + shown.out + shown.err + repr(run)
    assert len(everything) > 200
    for secret in (CANARY, text[20:60], token.crypto.key, token.room):
        assert secret not in everything


# --- codes for both channels --------------------------------------------------------------------


async def test_a_code_for_both_uses_our_own_channel(station: Station, node: Any) -> None:
    from cli.kairos import run as kairos_run

    assert kairos_run.AT_ONCE == 32
    run = station.run("--timeout", "1", "--loopback")
    run.sources = [Source("both", text=both_forms())]
    found = run._token(run.sources[0])
    verdict = await run.pair("both", found)
    assert verdict.exit == ExitCode.UNREACHABLE
    assert "--kairos uses it, and it is weaker" in verdict.error.sentence
    assert "does not hold for it" in station.err.getvalue()


def both_forms() -> str:
    from pairing.edgevpn.native import with_native
    from pairing.transport.base import Address

    made = with_native(
        nettoken.fresh(secrets.token_bytes), keys.generate().public, Address("192.0.2.1", 4)
    )
    return nettoken.to_text(made)


async def test_a_native_code_alone_says_nothing_of_kairos(station: Station) -> None:
    run = station.run("--timeout", "1")
    source = Source("native", text=to_text(Token(keys.generate().public, b"s" * 16)))
    verdict = await run.pair("native", run._token(source))
    assert verdict.exit == ExitCode.UNREACHABLE
    assert "--kairos" not in verdict.error.sentence
