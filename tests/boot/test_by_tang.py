"""Volumes that clevis opens: by a Tang server, alone or together with the TPM."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from node.plan.boot import OpenVolume
from node.plan.locked import TpmView
from node.system.opening import Opener
from node.testing.installed import FAILED, InstalledMachine
from pairing import errors

DATA = Path(__file__).resolve().parents[1] / "data" / "volumes"
RECORDED = (DATA / "tpm2-tang.json").read_bytes()
SHARED_PCR7 = bytes.fromhex("35e16f632d820e2a4351b5064d5805f2cfe581b74a02bfc811813349258f1b3f")
STEP = OpenVolume(label="KR_OEM", device="/dev/vda2", means="clevis")


def machine_with(header: bytes, folder: Path) -> InstalledMachine:
    """Its Tang server answers."""
    return InstalledMachine(folder, {"KR_OEM": header}, frozenset({"tang"}))


def with_server(url: str) -> bytes:
    """A header whose clevis token names this Tang server."""
    pin = json.dumps({"clevis": {"pin": "tang", "tang": {"url": url}}}).encode()
    token = {"type": "clevis", "jwe": {"protected": base64.urlsafe_b64encode(pin).decode()}}
    return json.dumps({"tokens": {"0": token}}).encode()


def test_a_tpm_that_does_not_give_its_share_is_told_why(tmp_path: Path) -> None:
    """Its register 7 holds nothing; it did when the header was recorded."""
    machine = machine_with(RECORDED, tmp_path)
    machine.programs["clevis"] = lambda argv, stdin: FAILED
    with pytest.raises(errors.FirmwareChanged):
        Opener(machine.root, machine.run).open(STEP)


@pytest.mark.parametrize("tpm", [True, False])
def test_a_server_that_lost_the_key_is_told(tmp_path: Path, tpm: bool) -> None:
    """Mode `tang`: the TPM has no part in it, whether the machine has one or not."""
    machine = machine_with(with_server("http://tang.example:7500"), tmp_path)
    machine.programs["clevis"] = lambda argv, stdin: FAILED
    opener = Opener(machine.root, machine.run, diagnose=lambda root, run: TpmView(present=tpm))
    with pytest.raises(errors.TangUnreachable, match=r"http://tang.example:7500 answers, but not"):
        opener.open(STEP)


def test_both_are_named_where_the_tpm_is_as_it_was(tmp_path: Path) -> None:
    """Mode `tpm2+tang`: it may be another TPM, or the server's key may be gone."""
    machine = machine_with(RECORDED, tmp_path)
    machine.programs["clevis"] = lambda argv, stdin: FAILED
    view = TpmView(registers={7: SHARED_PCR7})
    opener = Opener(machine.root, machine.run, diagnose=lambda root, run: view)
    with pytest.raises(errors.TpmRefuses, match=r"Or http://\S+ no longer has the key"):
        opener.open(STEP)


def test_a_server_of_the_header_is_asked_before_clevis_is(tmp_path: Path) -> None:
    """The control of the next one."""
    machine = machine_with(with_server("http://tang.example:7500"), tmp_path)
    Opener(machine.root, machine.run).open(STEP)
    assert machine.ran("curl")[0][-1] == "http://tang.example:7500/adv"
    assert machine.ran("clevis")


@pytest.mark.parametrize("url", ["-K/boot/thief", "--config=/boot/thief", "file:///boot/thief"])
def test_no_program_is_given_a_server_that_is_none(tmp_path: Path, url: str) -> None:
    """Whoever has the disk writes its headers: an option of curl's would be followed as root."""
    machine = machine_with(with_server(url), tmp_path)
    with pytest.raises(errors.HeaderDamaged):
        Opener(machine.root, machine.run).open(STEP)
    assert not machine.ran("curl")
    assert not machine.ran("clevis")
