"""`kairos-register --kairos`: every end it can come to, and that nothing of it is ever shown.

On the memory network and in virtual time; `tests/interop` does the same with stock programs.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from cli import audit
from cli.inventory import Inventory
from cli.records import Records
from cli.sources import Source
from cli.testing.kairosdesk import CANARY, SECRET, KairosDesk, beside
from pairing import errors, keys
from pairing.config.load import load
from pairing.edgevpn import nettoken, session
from pairing.edgevpn.names import names_at
from pairing.edgevpn.nettoken import NetworkToken
from pairing.edgevpn.payload import from_json
from pairing.errors import ExitCode
from pairing.events import State
from pairing.peertoken import Token, to_text
from pairing.report import JsonObject
from pairing.testing.gopeer import GoPeer, go_peer, go_receive

Station = Any
Clock = trio.testing.MockClock


def kept() -> tuple[list[str], list[str]]:
    """The journal's kinds of lines about the one machine, and the ends in the audit log."""
    lines = audit.read(Records().folder)
    ends = [line for line in lines if line.action == "kairos-end"]
    types = [str(line["type"]) for line in Records().history(ends[0].node)]
    assert not any("canary" in str(line.about) for line in lines)
    return types, [f"{line.about['outcome']} {line.about['sent']}" for line in ends]


# --- exit 0 and what is sent --------------------------------------------------------------------


async def test_0_a_stock_node_from_its_photo(desk: KairosDesk, quick_clock: Clock) -> None:
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
        f"{desk.station.home}/photo.png: has the config (Kairos peer 12D3"
    )
    assert desk.err.getvalue().count("anyone who has the photo can read this config") == 1


@pytest.mark.parametrize("form", [nettoken.to_text, nettoken.to_full_text])
async def test_0_a_token_typed_or_piped(
    desk: KairosDesk, token: NetworkToken, form: Any, quick_clock: Clock
) -> None:
    run = desk.run()
    run.sources = [Source("-", text=form(token))]
    code, (got,) = await beside(desk, run, partial(session.receive, desk.network, token))
    assert code == 0
    assert got.device == "/dev/sda"


async def test_0_a_dry_run_sends_nothing(
    desk: KairosDesk, token: NetworkToken, quick_clock: Clock
) -> None:
    desk.photo("photo.png", nettoken.to_text(token))
    code, _ = await beside(desk, desk.run("--dry-run", "--output", "json"))
    (verdict,) = json.loads(desk.out.getvalue())["nodes"]
    assert (code, verdict["state"]) == (0, "waiting")
    assert (verdict["dry_run"], verdict["released"]) == (True, False)
    assert "auto: true" in verdict["would-send"]["config"]
    assert CANARY not in desk.said
    assert desk.network.said == []


async def test_0_a_dozen_at_once(desk: KairosDesk, quick_clock: Clock) -> None:
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
    desk: KairosDesk, token: NetworkToken, quick_clock: Clock
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
    assert [node.get("duplicate_of") for node in nodes] == [None, "a"]


@pytest.mark.parametrize(
    ("name", "photos", "warned"),
    [("till", 2, True), ("till", 1, False), ("till-{{ trunc 4 .MachineID }}", 2, False)],
)
async def test_one_host_name_for_many_is_warned_of(
    desk: KairosDesk, name: str, photos: int, warned: bool, quick_clock: Clock
) -> None:
    run = desk.run("--dry-run", "--set", f"hostname={name}")
    tokens = [nettoken.fresh(secrets.token_bytes) for _ in range(photos)]
    run.sources = [Source(f"{i}", text=nettoken.to_text(t)) for i, t in enumerate(tokens)]
    await desk.register(run)
    assert ("every machine gets the host name till" in desk.err.getvalue()) is warned


async def test_half_a_token_is_no_code_of_ours(
    desk: KairosDesk, token: NetworkToken, quick_clock: Clock
) -> None:
    run = desk.run()
    run.sources = [Source("-", text=nettoken.to_text(token)[:40])]
    code, _ = await beside(desk, run)
    assert code == ExitCode.PHOTO
    assert errors.NetworkTokenInvalid.slug in desk.said


# --- the other ends -----------------------------------------------------------------------------


async def test_5_nobody_came(desk: KairosDesk, token: NetworkToken, quick_clock: Clock) -> None:
    desk.photo("photo.png", nettoken.to_text(token))
    code, _ = await beside(desk, desk.run("--timeout", "20", "--output", "jsonl"))
    verdict = json.loads(desk.out.getvalue().splitlines()[-1])
    assert code == verdict["exit"] == ExitCode.UNREACHABLE
    assert (verdict["released"], verdict["security"]) == (False, "bearer")
    assert verdict["error"]["slug"] == errors.KairosNobodyCame.slug
    assert kept() == ([], [f"{errors.KairosNobodyCame.slug} no"])


async def test_6_a_third_one_takes_part(
    desk: KairosDesk, token: NetworkToken, quick_clock: Clock
) -> None:
    desk.photo("photo.png", nettoken.to_text(token))
    run = desk.run()
    node = partial(go_receive, desk.network, token)
    code, _ = await beside(desk, run, node, partial(go_receive, desk.network, token, 2))
    assert code == ExitCode.NOT_AUTHENTIC
    assert errors.KairosIntruder.slug in desk.said


async def test_10_delivered_and_gone(
    desk: KairosDesk, token: NetworkToken, quick_clock: Clock
) -> None:
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
    assert kept() == (["state"], ["not-acknowledged yes"])


async def test_12_sent_and_no_sign_of_it(
    desk: KairosDesk, token: NetworkToken, quick_clock: Clock
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
    assert kept() == (["log"], [f"{errors.KairosNoAnswer.slug} yes"])
    await desk.register(desk.run("--dry-run"))
    assert "was sent a config at" in desk.err.getvalue()


async def test_8_some_of_several(desk: KairosDesk, token: NetworkToken, quick_clock: Clock) -> None:
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
    assert "a: has the config" in said
    assert "b: not done" in said
    assert ": b: Nobody came" in desk.err.getvalue(), "of many: which"
    assert "c: not done" in said


# --- what is kept, and what is never shown ------------------------------------------------------


async def test_what_is_kept(desk: KairosDesk, token: NetworkToken, quick_clock: Clock) -> None:
    desk.photo("photo.png", text := nettoken.to_text(token))
    run = desk.run("--output", "jsonl")
    await beside(desk, run, partial(go_receive, desk.network, token))
    (name,) = run._nodes
    assert name.startswith("kairos-")
    records = Records()
    (line,) = records.history(name)
    assert (line["state"], line["type"]) == ("approved", "state")
    entry, end = audit.read(records.folder)
    assert (entry.action, entry.node) == ("kairos-offer", name)
    assert entry.about["security"] == "bearer"
    assert (end.action, end.node) == ("kairos-end", name)
    (peer,) = [node.peer for node in run._nodes.values()]
    assert end.about == {"outcome": "acknowledged", "sent": "yes", "peer": peer}
    origin = Inventory(records.folder).entry(name).origin
    assert origin.files == (str(desk.station.config),)
    lines = [json.loads(line) for line in desk.out.getvalue().splitlines()]
    assert [line["security"] for line in lines if line["type"] == "security"] == ["bearer"]
    assert any(line.get("state") == "approved" and line["type"] == "state" for line in lines)
    named = {line["node"] for line in lines if "node" in line}
    assert named == {name}, "events and verdict name the machine alike"
    assert [line["peer"] for line in lines if line["type"] == "verdict"] == [peer]
    again = desk.run("--dry-run")
    await desk.register(again)
    assert "was sent a config at" in desk.err.getvalue()
    for path in records.folder.rglob("*"):
        if path.is_file():
            assert text[:40] not in path.read_text()
            assert CANARY not in path.read_text()


@pytest.mark.parametrize("output", ["human", "json", "jsonl"])
async def test_nothing_of_token_or_config_is_ever_shown(
    desk: KairosDesk, token: NetworkToken, output: str, quick_clock: Clock,
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


class Watched(JsonObject):
    """A report that notices when a text is said."""

    def __init__(self, desk: KairosDesk, wanted: str) -> None:
        super().__init__(desk.err, desk.out)
        self.wanted, self.heard = wanted, trio.Event()

    def say(self, label: str, text: str) -> None:
        super().say(label, text)
        if self.wanted in text:
            self.heard.set()


@pytest.mark.parametrize(("moment", "sent"), [("looking for", False), ("on its way", True)])
async def test_130_ctrl_c_says_whether_anything_was_sent(
    desk: KairosDesk, token: NetworkToken, moment: str, sent: bool, quick_clock: Clock
) -> None:
    desk.photo("photo.png", nettoken.to_text(token))
    run = desk.run()
    run.report = report = Watched(desk, moment)

    async def interrupts() -> None:
        await report.heard.wait()
        os.kill(os.getpid(), signal.SIGINT)

    nodes = [partial(go_receive, desk.network, token)] if sent else []
    code, _ = await beside(desk, run, interrupts, *nodes)
    (verdict,) = json.loads(desk.out.getvalue())["nodes"]
    assert code == verdict["exit"] == ExitCode.INTERRUPTED
    assert verdict["released"] is sent
    assert kept() == (["log"] if sent else [], [f"interrupted {'yes' if sent else 'no'}"])
    assert ("Nothing was sent" in verdict["error"]["text"]) is not sent
