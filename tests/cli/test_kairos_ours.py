"""`kairos-register` and nodes of ours whose code is Kairos', or one for both protocols."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from cli.sources import Source
from cli.testing.kairosdesk import CONFIG, KairosDesk
from node.settings import Form
from pairing.events import State
from tests.cli.conftest import agent_at

Station = Any
NewNode = Any
Clock = trio.testing.MockClock


async def test_a_code_for_both_is_paired_over_our_own_protocol(
    station: Station, node: NewNode
) -> None:
    async with node(form=Form.BOTH) as shop:
        run = station.run("--timeout", "5", "--loopback")
        found = run._token(Source("both", text=shop.agent.token()))
        verdict = await run.pair("both", found)
    assert (verdict.exit, verdict.state) == (0, "written")
    assert "does not hold for it" in station.err.getvalue()


@pytest.mark.parametrize("form", [Form.KAIROS, Form.BOTH])
async def test_with_kairos_ours_takes_the_config_as_a_stock_node_does(
    station: Station, desk: KairosDesk, form: Form, quick_clock: Clock
) -> None:
    desk.station.config.write_text(CONFIG.replace("github:mudler", KEY) + "  encrypt: none\n")
    folder = desk.station.home / "node"
    folder.mkdir()
    agent = agent_at(folder, form=form)
    agent.kairos = desk.network
    run = desk.run("--device", "/dev/mmcblk0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run, station.network.transport("node"), lambda: None)
        await trio.sleep(1)
        run.sources = [Source("ours", text=agent.token())]
        run.loopback = True
        assert await desk.register(run) == 0
        with trio.fail_after(120):
            while agent.machine.state is not State.WRITTEN:  # noqa: ASYNC110 (virtual time)
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    said = desk.err.getvalue()
    assert ("leave --kairos out" in said) is (form is Form.BOTH)


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEQpkwZQBKoeTEj03QFYGUwCNJvMZkzZbkAOommRio1R a@example"
