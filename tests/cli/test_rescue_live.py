"""`kairos-fleet rescue` over libp2p on loopback, with commands from a pipe."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
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
from cli.rescue_way import by_record, by_token
from cli.sources import Source
from node.testing.repair import agent_in, station
from pairing import errors, keys, peertoken
from pairing.edgevpn import nettoken, recovery
from pairing.protocol import handshake
from pairing.protocol.repair import Ended
from pairing.protocol.reportkey import PrivateReportKey
from pairing.protocol.terms import Identity, KnownLease
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


def test_a_code_of_a_machine_that_waits_for_its_config_is_nothing_to_repair(
    tmp_path: Path,
) -> None:
    """With --kairos it would be refused, too, so that is not the advice."""
    run = run_for(tmp_path, Identity(keys.generate()))
    run.source = Source("photo", text=nettoken.to_text(nettoken.fresh(secrets.token_bytes)))
    with pytest.raises(errors.RecoveryCodeInvalid) as refused:
        run.way()
    with pytest.raises(errors.RecoveryCodeInvalid):
        recovery.parse(run.source.text)
    assert "kairos-register" in refused.value.hint


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
        assert await run.repair(by_token(token, (), run.records)) == Ended(0)
        stored = run.records.lease(token.name)
        assert stored is not None
        assert agent.machine.tenancy is not None
        assert stored.known.lease == agent.machine.tenancy.lease
        stranger = run_for(tmp_path / "other", Identity(keys.generate()))
        with pytest.raises(errors.FleetSignatureNeeded):
            await stranger.repair(by_token(token, (), stranger.records))
        nursery.cancel_scope.cancel()
    shown = capfdbinary.readouterr().out
    assert b"42\r\n" in shown, "what was typed ahead may stand before or behind the prompt"
    assert b"\x1b]52" not in shown
    (record,) = (tmp_path / "records" / "rescue").iterdir()
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert any("42" in line[2] for line in lines[1:])
    opened, ended = audit.read(tmp_path / "records")
    assert (opened.action, ended.action) == ("rescue-opened", "rescue-ended")
    assert opened.node == keys.fingerprint(token.key)
    assert opened.operator == run.identity.key.public
    assert ended.about["sha256"] == hashlib.sha256(record.read_bytes()).hexdigest()


def test_a_locked_node_is_found_by_its_record(tmp_path: Path) -> None:
    """By what it derives itself from the record on its disk: `handshake.report_secret`."""
    node, report = keys.generate(), PrivateReportKey(bytes(range(32)))
    shown = report.shown(node, bytes(16)).record
    records = Records(tmp_path)
    records.keep_lease("one", KnownLease(bytes(16), b"s" * 32, shown), released=True)
    records.keep_lease("other", KnownLease(bytes(16), b"o" * 32), released=True)
    way = by_record(keys.fingerprint(node.public), ("relay.example",), records)
    secret = handshake.report_secret(b"s" * 32, node.public)
    assert way.key == way.target.key == report.signing.public
    assert way.target.label == handshake.label(secret, report.signing.public)
    assert (way.lease, way.subject, way.secret) == (bytes(16), bytes(16), secret)
    assert way.target.relays == ("relay.example",)
    with pytest.raises(errors.NoSuchSource):
        by_record(keys.fingerprint(keys.generate().public), (), records)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["rescue"], 2),
        (["rescue", "nothing.jpg"], 2),
        (["rescue", "ABCD-EFGH-IJKL-MNOP"], 2),
        (["rescue", "--minutes", "0", "x"], 2),
        (["rescue", "--relay", "not a relay", "-"], 2),
    ],
)
def test_wrong_command_lines(words: list[str], code: int, tmp_path: Path) -> None:
    result = CliRunner().invoke(fleet, words, input=b"x", env={"XDG_CONFIG_HOME": str(tmp_path)})
    error = result.exception
    known = error.exit_code if isinstance(error, errors.KnownError) else result.exit_code
    assert known == code
