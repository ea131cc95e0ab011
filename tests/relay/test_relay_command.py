"""`kairos-fleet relay` as a process: what it prints, which signals it obeys, what it refuses."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands.relay import relay as command
from pairing import errors, keys, process
from pairing.transport import relay, relay_tls
from pairing.transport.relay import RelayAddress

NODE, LABEL = keys.SigningKey(b"\x07" * 32), b"\x01" * 32


@pytest.fixture
def running(tmp_path: Path) -> Iterator[process.Program]:
    arguments = ("relay", "--listen", "127.0.0.1:0", "--self-signed", str(tmp_path))
    program = process.start_program("cli.fleet", arguments)
    yield program
    program.stop()


async def test_it_prints_its_address_and_obeys_signals(
    running: process.Program, tmp_path: Path
) -> None:
    lines = running.lines()
    port = int(next(lines).removeprefix("listening on 127.0.0.1:"))
    pin = next(lines).removeprefix("pin: ")
    with pytest.raises(errors.RelayNobody):
        await relay.call(RelayAddress.parse(f"127.0.0.1:{port}{pin}"), NODE.public, LABEL)

    fresh = relay_tls.self_signed(tmp_path / "fresh", ("localhost",))
    fresh.chain.replace(tmp_path / "relay.crt")
    fresh.key.replace(tmp_path / "relay.key")
    os.kill(running.pid, signal.SIGHUP)
    assert next(lines) == "certificate read again"
    with pytest.raises(errors.RelayCertificate):
        await relay.call(RelayAddress.parse(f"127.0.0.1:{port}{pin}"), NODE.public, LABEL)

    (tmp_path / "relay.crt").write_text("not a certificate")
    os.kill(running.pid, signal.SIGHUP)
    assert next(lines).endswith("The old one stays.")

    os.kill(running.pid, signal.SIGTERM)
    assert next(lines) == "stopping"
    assert running.wait(20) == 0


def test_the_certificates_key_is_for_its_owner_only(tmp_path: Path) -> None:
    made = relay_tls.self_signed(tmp_path / "new", ("relay.example", "192.0.2.1"))
    assert made.key.stat().st_mode & 0o777 == 0o600
    assert relay_tls.self_signed(tmp_path / "new", ("other.example",)).pin() == made.pin()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--plain"],
        ["--plain", "--listen", "0.0.0.0:7000"],
        ["--plain", "--self-signed", "x", "--listen", "127.0.0.1:0"],
        ["--certificate", "only.pem"],
        ["--listen", "nowhere", "--plain"],
        ["--listen", "127.0.0.1:65536", "--plain"],
        ["--listen", "192.0.2.1:7000", "--self-signed", "."],
        ["--listen", "127.0.0.1:0", "--plain", "--access-token-file", "missing"],
        ["--listen", "127.0.0.1:0", "--plain", "--access-token-file", "short"],
    ],
)
def test_contradictions_are_usage_errors(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("short")
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, errors.UsageError)


def test_an_unusable_certificate_has_a_name(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    arguments = ["--certificate", str(junk), "--private-key", str(junk), "--listen", "127.0.0.1:0"]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, errors.RelayCertificate)
