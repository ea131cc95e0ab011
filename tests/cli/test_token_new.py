"""`kairos-fleet token`: a network token for Kairos is made, and never shown where it should not."""

from __future__ import annotations

import io
import json
import secrets
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import secretfile
from cli.fleet import fleet
from pairing import errors, keys
from pairing.config.load import load_file
from pairing.edgevpn import nettoken
from pairing.edgevpn.native import with_native
from pairing.transport.base import Address


def run(*arguments: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(
        fleet, ["token", *map(str, arguments)], input=stdin, standalone_mode=False
    )


def test_a_network_token_is_written_for_its_owner_alone_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "net.token"
    done = run("new", "--kairos", "--write", path)
    assert done.exception is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text().strip()
    made = nettoken.parse(text)
    assert not made.rotates
    assert made.dht is not None
    assert len(text) == 548
    assert text not in done.output + done.stderr
    assert "long-lived" in done.stderr


def test_every_token_is_another_one() -> None:
    texts = {run("new", "--kairos").stdout for _ in range(20)}
    assert len(texts) == 20


def test_it_rotates_where_asked(tmp_path: Path) -> None:
    made = nettoken.parse(run("new", "--kairos", "--rotate", "86400").stdout)
    assert made.rotates
    assert made.crypto.interval == 86400
    assert made.dht is not None
    assert made.dht.interval == 86400


def test_a_config_with_it_is_one(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    run("new", "--kairos", "--config", "--write", path)
    nettoken.parse(load_file(path).get("p2p", "network_token"))


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "net.token"
    path.write_text("the one of the running cluster")
    assert isinstance(run("new", "--kairos", "--write", path).exception, errors.UsageError)
    assert path.read_text() == "the one of the running cluster"


def test_no_other_kind_is_made() -> None:
    assert isinstance(run("new").exception, errors.UsageError)


def test_a_secret_is_not_put_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    shown = io.BytesIO()
    monkeypatch.setattr("sys.stdout", Terminal(shown))
    with pytest.raises(errors.UsageError):
        secretfile.put_out(b"secret", None, "--write")
    assert not shown.getvalue()


def test_a_network_token_is_explained_without_its_secrets() -> None:
    text = run("new", "--kairos", "--rotate", "900").stdout
    told = run("-", stdin=text)
    assert "every 900 s" in told.stdout
    body = json.loads(run("show", "-", "--output", "json", stdin=text).stdout)
    assert body["kind"] == "Kairos"
    made = nettoken.parse(text)
    for secret in (made.crypto.key, made.room, made.rendezvous, made.mdns, text.strip()):
        assert secret not in told.output + json.dumps(body)
    assert "better use -" in run(text.strip()).stderr


def test_a_code_for_both_says_which_machine_it_is() -> None:
    key = keys.generate().public
    made = with_native(nettoken.fresh(secrets.token_bytes), key, Address("192.0.2.7", 4917))
    text = nettoken.to_text(made)
    body = json.loads(run("show", "-", "--output", "json", stdin=text).stdout)
    assert (body["kind"], body["fingerprint"]) == ("Kairos and ours", keys.fingerprint(key))
    assert body["addresses"] == ["192.0.2.7:4917"]
    told = run("show", "-", stdin=text).stdout
    assert "192.0.2.7:4917" in told
    assert made.crypto.key not in told
