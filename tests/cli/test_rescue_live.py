"""`kairos-fleet rescue` over libp2p on loopback, with commands from a pipe."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from cli import audit
from cli.fleet import fleet
from cli.records import Records
from cli.rescue_run import RescueRun
from cli.sources import Source
from node.testing.repair import agent_in, station
from pairing import errors, keys, peertoken
from pairing.protocol.repair import Ended
from pairing.protocol.terms import Identity
from pairing.testing.network import loopback_transport

FLEET = keys.generate()


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The writing end of standard input."""
    read, write = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield write


def run_for(folder: Path, identity: Identity) -> RescueRun:
    return RescueRun(
        source=Source("token"),
        identity=identity,
        timeout=30.0,
        loopback=True,
        network=lambda: loopback_transport().dialer(),
        records=Records(folder / "records"),
    )


async def test_commands_from_a_pipe(
    tmp_path: Path, typed: int, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    agent = agent_in(tmp_path, fleets=(keys.PinnedFleet(FLEET.public),))
    run = run_for(tmp_path, station(FLEET))
    os.write(typed, b"echo $((6*7)); printf '\\033]52;c;ZXZpbA==\\007'\n")
    os.close(typed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run, loopback_transport(), lambda: None)
        while not agent.reachable.addresses:  # noqa: ASYNC110 (a few turns)
            await trio.sleep(0.01)
        token = peertoken.parse(agent.token(), loopback=True)
        assert await run.repair(token) == Ended(0)
        stored = run.records.lease(token.name)
        assert stored is not None
        assert agent.machine.tenancy is not None
        assert stored.known.lease == agent.machine.tenancy.lease
        with pytest.raises(errors.FleetSignatureNeeded):
            await run_for(tmp_path / "other", Identity(keys.generate())).repair(token)
        nursery.cancel_scope.cancel()
    shown = capfdbinary.readouterr().out
    assert b"\r\n42\r\n" in shown
    assert b"\x1b]52" not in shown
    (record,) = (tmp_path / "records" / "rescue").iterdir()
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert any("42" in line[2] for line in lines[1:])
    opened, ended = audit.read(tmp_path / "records")
    assert (opened.action, ended.action) == ("rescue-opened", "rescue-ended")
    assert opened.node == keys.fingerprint(token.key)
    assert opened.operator == run.identity.key.public
    assert ended.about["sha256"] == hashlib.sha256(record.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["rescue"], 2),
        (["rescue", "nothing.jpg"], 2),
        (["rescue", "--minutes", "0", "x"], 2),
        (["rescue", "--relay", "not a relay", "-"], 2),
    ],
)
def test_wrong_command_lines(words: list[str], code: int, tmp_path: Path) -> None:
    result = CliRunner().invoke(fleet, words, input=b"x", env={"XDG_CONFIG_HOME": str(tmp_path)})
    error = result.exception
    known = error.exit_code if isinstance(error, errors.KnownError) else result.exit_code
    assert known == code
