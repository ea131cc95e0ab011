"""What `kairos-node doctor` says of machines, whole and broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from node import health as judging
from node.checkup.look import Look, advice
from node.commands import doctor as command
from node.doctor import examine, summary
from node.settings import Settings
from node.stages.apply import Outcome
from node.stages.command import OUTCOMES
from node.started import BootReport, write_report
from node.testing.installed import DONE, FAILED, InstalledMachine
from pairing import errors, process
from pairing.findings import Finding, Level, is_healthy
from pairing.process import Result

TODAY = 1_795_000_000.0
FIRMWARE = "BootOrder: 0001,0002\nBoot0001* KR system\tHD(1)\nBoot0002* KR recovery\tHD(1)\n"
ADDRESSES = [{"ifname": "eth0", "addr_info": [{"scope": "global", "local": "10.0.0.7"}]}]
DISKS = {"blockdevices": [{"name": "vda", "path": "/dev/vda", "type": "disk", "size": 2**33}]}
PRIVATE = "canary-in-the-log"
JOURNAL = json.dumps({"SYSLOG_IDENTIFIER": "sshd", "MESSAGE": PRIVATE}) + "\n"
LISTENING = "  sl  local_address rem_address   st\n   0: 00000000:1335 00000000:0000 0A 0\n"


def said(text: str) -> Callable[..., Result]:
    return lambda argv, stdin: Result(0, text.encode(), b"")


@pytest.fixture
def machine(tmp_path: Path) -> InstalledMachine:
    """An installed machine that is well."""
    machine = InstalledMachine(tmp_path)
    machine.write("run/systemd/timesync/synchronized", "")
    machine.write("run/systemd/resolve/resolv.conf", "nameserver 10.0.0.1\n")
    machine.write("sys/class/net/eth0/device/vendor", "x")
    machine.write("sys/class/net/eth0/type", "1\n")
    machine.write("sys/class/net/eth0/carrier", "1\n")
    machine.write("sys/firmware/efi/fw_platform_size", "64")
    machine.write("proc/net/tcp", LISTENING)
    machine.write("boot/EFI/Linux/kr_1.0.0.efi", "")
    (tmp_path / "usr/local/.kairos").mkdir()
    write_report(tmp_path, BootReport(state="open", version="1.0.0", means="tpm2"))
    for stage in judging.STAGES:
        Outcome(stage=stage).keep(tmp_path / OUTCOMES)
    machine.programs |= {
        "systemctl": lambda argv, stdin: DONE,
        "ip": said(json.dumps(ADDRESSES)),
        "tpm2_getcap": said("TPM2_PT_PERMANENT:\n  inLockout: 0\n"),
        "efibootmgr": said(FIRMWARE),
        "lsblk": said(json.dumps(DISKS)),
        "wipefs": said('{"signatures": []}'),
        "dmsetup": said("0 300000 verity V\n"),
        "journalctl": said(JOURNAL),
    }
    return machine


def look(machine: InstalledMachine, **more: object) -> list[Finding]:
    return examine(Look(machine.root, machine.run, clock=lambda: TODAY, **more))  # type: ignore[arg-type]


def wrong(machine: InstalledMachine) -> dict[str, Finding]:
    found = {one.what: one for one in look(machine) if one.level is Level.WRONG}
    assert all(one.hint for one in found.values()), "each says what to do"
    return found


def test_a_machine_that_is_well(machine: InstalledMachine) -> None:
    found = look(machine)
    assert is_healthy(found)
    assert summary(found).startswith("nothing wrong")
    what = {one.what for one in found if one.level is Level.OK}
    assert what == {
        *("system", "volumes", "health", "versions", "clock", "network", "names", "agent", "tpm"),
        *("firmware", "disk", "log"),
    }


def no_cable(machine: InstalledMachine) -> None:
    machine.write("sys/class/net/eth0/carrier", "0\n")
    machine.programs["ip"] = said("[]")


def no_address(machine: InstalledMachine) -> None:
    machine.programs["ip"] = said("[]")


def locked(machine: InstalledMachine) -> None:
    write_report(machine.root, BootReport(state="locked", code=errors.TpmForeign.slug))


def all_bad(machine: InstalledMachine) -> None:
    entry = machine.root / "boot/EFI/Linux/kr_1.0.0.efi"
    entry.rename(entry.with_name("kr_1.0.0+0-3.efi"))


def program(name: str, answer: Callable[..., Result]) -> Callable[[InstalledMachine], None]:
    def change(machine: InstalledMachine) -> None:
        machine.programs[name] = answer

    return change


def file(name: str, text: str) -> Callable[[InstalledMachine], None]:
    def change(machine: InstalledMachine) -> None:
        machine.write(name, text)

    return change


@pytest.mark.parametrize(
    ("breaks", "what", "text"),
    [
        (no_cable, "network", "no cable"),
        (no_address, "network", "has no address"),
        (locked, "volumes", f"E{errors.TpmForeign.number}"),
        (all_bad, "versions", "none that starts"),
        (program("dmsetup", said("0 300000 verity C\n")), "system", "do not verify"),
        (program("tpm2_getcap", said("inLockout: 1\n")), "tpm", "locked out"),
        (program("tpm2_getcap", lambda argv, stdin: FAILED), "tpm", "does not answer"),
        (program("lsblk", said('{"blockdevices": []}')), "disk", "no disk"),
        (program("wipefs", lambda argv, stdin: FAILED), "disk", "could not be read"),
        (program("systemctl", lambda argv, stdin: FAILED), "agent", "not up"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named_with_the_next_step(
    machine: InstalledMachine, breaks: Callable[[InstalledMachine], None], what: str, text: str
) -> None:
    breaks(machine)
    found = wrong(machine)
    assert what in found
    assert text in found[what].text
    assert look(machine)[0].level is Level.WRONG, "it comes first"


@pytest.mark.parametrize("whole", [True, False])
def test_a_reset_that_was_cut_off(machine: InstalledMachine, whole: bool) -> None:
    file("boot/kairos/reset.json", "{}")(machine)
    if not whole:
        for path in (machine.root / "boot/EFI/Linux").glob("kr_*"):
            path.unlink()
    (found,) = [one for one in look(machine) if one.what == "reset"]
    assert found.level is (Level.ADVICE if whole else Level.WRONG)
    assert ("before it changed" if whole else "not finished") in found.text


def test_a_clock_of_1970(machine: InstalledMachine) -> None:
    found = examine(Look(machine.root, machine.run, clock=lambda: 0.0))
    assert [one.what for one in found if one.level is Level.WRONG] == ["clock"]
    assert "1970" in found[0].text


def test_a_relay_without_a_name_and_without_an_answer(machine: InstalledMachine) -> None:
    machine.programs["getent"] = lambda argv, stdin: FAILED
    settings = Settings(relays=("relay.invalid", "tcp://127.0.0.1:1"))
    bad = [one for one in look(machine, settings=settings) if one.level is Level.WRONG]
    assert [one.what for one in bad] == ["names", "relay", "relay"]


def test_recovery_says_which_volumes_could_be_opened(machine: InstalledMachine) -> None:
    line = (machine.root / "proc/cmdline").read_text()
    machine.write("proc/cmdline", line.replace("mode=installed", "mode=recovery"))
    header = json.dumps({"tokens": {}}).encode()
    machine.headers = {"KR_OEM": header, "KR_PERSISTENT": header}
    machine.programs["mount"] = lambda argv, stdin: DONE
    told = [one.text for one in look(machine) if one.what == "volumes"]
    assert len(told) == 2
    assert all("kairos-node unlock" in text for text in told)
    machine.headers = {"KR_OEM": header}
    machine.write("dev/mapper/kr_oem", "")
    told = [one.text for one in look(machine) if one.what == "volumes"]
    assert told[0] == "KR_OEM is open"


def test_the_log_is_counted_not_shown(machine: InstalledMachine) -> None:
    machine.programs["journalctl"] = said(JOURNAL * 30)
    (found,) = [one for one in look(machine) if one.what == "log"]
    assert found.level is Level.ADVICE
    assert "30 errors (sshd 30)" in found.text
    assert PRIVATE not in json.dumps([one.text + one.hint for one in look(machine)])


def test_what_cannot_be_looked_at_is_told(machine: InstalledMachine) -> None:
    del machine.programs["journalctl"]
    found = look(machine)
    assert any("could not be looked at" in one.text and one.what == "log" for one in found)


@pytest.mark.parametrize("healthy", [True, False])
def test_the_command(
    machine: InstalledMachine, monkeypatch: pytest.MonkeyPatch, healthy: bool
) -> None:
    if not healthy:
        no_cable(machine)
    monkeypatch.setattr(command, "ROOT", machine.root)
    monkeypatch.setattr(process, "run", machine.run)
    shown = CliRunner().invoke(command.doctor, ["--output", "json"])
    body = json.loads(shown.stdout)
    assert body["schema"] == 1
    assert body["healthy"] is healthy
    assert isinstance(shown.exception, errors.NodeUnwell) is not healthy
    lines = CliRunner().invoke(command.doctor, []).stdout.splitlines()
    assert lines[0].startswith("wrong" if not healthy else "advice")
    assert "wrong," in lines[-1]


def test_advice_alone_is_no_illness() -> None:
    assert is_healthy([advice("x", "y")])
