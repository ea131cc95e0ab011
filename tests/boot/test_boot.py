"""The start of an installed system: what is opened, in which order, and what stops it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from node.boot import Starter, planned
from node.plan.boot import (
    BootFacts,
    Found,
    MatchVolumes,
    MountVolume,
    OpenVolume,
    SealOff,
    means_of,
    plan_boot,
)
from node.plan.header import Header, read_header
from node.plan.tpmpolicy import ZERO
from node.started import BootReport, disk_is_open, read_report
from node.system import opening
from node.system.opening import Secret
from node.testing.installed import FAILED, InstalledMachine
from pairing import errors
from pairing.process import Result

DATA = Path(__file__).resolve().parents[1] / "data" / "volumes"
TPM2 = (DATA / "tpm2.json").read_bytes()
APPROVAL = (DATA / "approval.json").read_bytes()
SEALED_AT = {
    7: bytes.fromhex("8878b15a7d6a3a4f464e8f9f42591dbc0cf4bedea0ec309003d2b2ee53655ef8"),
    11: bytes.fromhex("8b4fecab2df01d837d750537492a6b3a93ceb89c5f4e35e406a364b9d81a2e4e"),
}
"""Registers as they were when the headers were recorded."""
NO_TOKEN = b'{"tokens": {}}'
JWE = "eyJjbGV2aXMiOnsicGluIjoidGFuZyIsInRhbmciOnsidXJsIjoiaHR0cDovL3RhbmcuZXhhbXBsZSJ9fX0"
TANG = b'{"tokens": {"0": {"type": "clevis", "jwe": {"protected": "%s"}}}}' % JWE.encode()


def both(header: bytes) -> dict[str, bytes]:
    return {"KR_OEM": header, "KR_PERSISTENT": header}


def boot(
    machine: InstalledMachine, secret: Secret | None = None, failing: Sequence[str] = ()
) -> BootReport:
    applied = []

    def stage(name: str) -> Sequence[str]:
        assert "/usr/local" in machine.mounted
        applied.append(name)
        return [line for line in failing if line.startswith(name)]

    report = Starter(machine.root, machine.run, stage, lambda line: None, secret).boot()
    assert applied == (["initramfs", "fs"] if report.state == "open" else [])
    assert report == read_report(machine.root)
    assert disk_is_open(machine.root) == (report.state == "open")
    return report


def sealed_off(machine: InstalledMachine) -> bool:
    text = (machine.root / "sys/class/tpm/tpm0/pcr-sha256/15").read_text()
    return bytes.fromhex(text) != ZERO


# --- the plan -----------------------------------------------------------------------------------


def facts(means: str = "tpm2", tpm: bool = True) -> BootFacts:
    headers = {"tpm2": TPM2, "approval": APPROVAL, "clevis": TANG, "key": NO_TOKEN}
    kind = "ext4" if means == "none" else "crypto_LUKS"
    header = None if means == "none" else read_header(headers[means])
    return BootFacts(
        volumes=tuple(
            Found(label=label, device=device, filesystem=kind, header=header, uuid=f"uuid-{label}")
            for label, device in (("KR_OEM", "/dev/vda2"), ("KR_PERSISTENT", "/dev/vda9"))
        ),
        esp="/dev/vda1",
        tpm=tpm,
        kept=("/var/log",),
    )


@pytest.mark.parametrize("means", ["none", "tpm2", "approval", "clevis", "key"])
def test_the_tpm_is_closed_before_anything_of_a_volume_is_used(means: str) -> None:
    steps = plan_boot(facts(means))
    kinds = [type(step) for step in steps]
    closed = kinds.index(SealOff)
    assert OpenVolume not in kinds[closed:]
    assert MountVolume not in kinds[:closed]
    assert kinds.index(MatchVolumes) == closed + 3
    assert {step.means for step in steps if isinstance(step, OpenVolume)} == ({means} - {"none"})


def test_the_whole_plan_in_words() -> None:
    lines = [f"{step.name}: {step.text}" for step in plan_boot(facts())]
    assert lines == [
        "mount-esp: Mount the boot partition /dev/vda1",
        "open-volume: Open KR_OEM with the TPM",
        "open-volume: Open KR_PERSISTENT with the TPM",
        "seal-off: Close the TPM until the next start",
        "mount-volume: Mount KR_OEM at /oem",
        "mount-volume: Mount KR_PERSISTENT at /usr/local",
        "match-volumes: Check that the volumes belong together",
        "keep-path: Keep /var/log over restarts",
        "keep-identity: Restore host keys and machine id",
        "apply-stage: Apply the config's stage initramfs",
        "apply-stage: Apply the config's stage fs",
    ]


def test_without_a_tpm_there_is_nothing_to_close() -> None:
    assert SealOff not in [type(step) for step in plan_boot(facts("key", tpm=False))]


def test_a_missing_partition_is_damage() -> None:
    with pytest.raises(errors.HeaderDamaged, match="KR_PERSISTENT"):
        plan_boot(replace(facts(), volumes=facts().volumes[:1]))


@pytest.mark.parametrize(("kind", "header"), [("", None), ("crypto_LUKS", None), ("xfs", Header())])
def test_a_volume_that_is_none_is_damage(kind: str, header: Header | None) -> None:
    with pytest.raises(errors.HeaderDamaged):
        means_of(Found(label="KR_OEM", device="/dev/vda2", filesystem=kind, header=header))


def test_the_units_deadline_has_room_for_two_volumes_at_their_slowest() -> None:
    unit = (Path(opening.__file__).parents[1] / "units/kairos-boot.service").read_text()
    (deadline,) = re.findall(r"^TimeoutStartSec=(\d+)$", unit, re.MULTILINE)
    asking = float(opening.ASK_TANG[opening.ASK_TANG.index("--retry-max-time") + 1])
    assert 2 * (asking + opening.CLEVIS_SECONDS) < float(deadline)


# --- starts that go well ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "opens", "secret", "means"),
    [
        (TPM2, "tpm", None, "tpm2"),
        (TANG, "tang", None, "clevis"),
        (APPROVAL, "pin", Secret("pin", b"123456"), "approval"),
        (NO_TOKEN, "", Secret("key", b"RECOVERY-KEY"), "key"),
        (TPM2, "", Secret("key", b"RECOVERY-KEY"), "tpm2"),
    ],
)
def test_a_good_start(
    tmp_path: Path, header: bytes, opens: str, secret: Secret | None, means: str
) -> None:
    machine = InstalledMachine(tmp_path, both(header), frozenset({opens}))
    machine.write("usr/lib/kairos-register/persistent.conf", "# kept\n/var/log\n/../etc\n/\n")
    report = boot(machine, secret)
    assert (report.state, report.means, report.troubles) == ("open", means, ())
    assert report.volumes == ("00000002-uuid", "00000009-uuid")
    assert machine.mounted == ["/boot", "/oem", "/usr/local", "/var/log"]
    assert sealed_off(machine)
    assert (report.version, report.trial) == ("1.0.0", False)


def test_without_encryption_nothing_is_opened(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path)
    assert boot(machine).means == "none"
    assert sealed_off(machine)
    assert not machine.ran("systemd-cryptsetup")


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    boot(machine)
    machine.asked.clear()
    again = boot(machine)
    assert (again.state, again.troubles) == ("open", ())
    assert {argv[0] for argv in machine.asked} == {"udevadm", "blkid", "cryptsetup"}


def test_a_start_on_trial_is_told(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    machine.boot_variable("LoaderBootCountPath", "\\EFI\\Linux\\kr_1.1.0+1-1.efi")
    assert boot(machine).trial


def test_a_second_disk_with_the_same_labels_is_not_touched(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    for number, label in enumerate(machine.labels, start=1):
        machine.write(f"sys/block/sda/sda{number}/partition", f"{number}\n")
        machine.write(f"sys/block/sda/sda{number}/uevent", f"PARTNAME={label}\n")
    assert boot(machine).state == "open"
    assert not [argv for argv in machine.asked if "/dev/sda" in " ".join(argv)]


# --- locked -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "slug", "closed"),
    [
        (TPM2, "locked-other-tpm", True),
        (NO_TOKEN, "locked-key-needed", True),
        (TANG, "locked-tang", False),
    ],
)
def test_a_locked_machine_applies_nothing(
    tmp_path: Path, header: bytes, slug: str, closed: bool
) -> None:
    machine = InstalledMachine(tmp_path, both(header), frozenset())
    report = boot(machine)
    assert (report.state, report.code) == ("locked", slug)
    assert machine.mounted == ["/boot"]
    assert sealed_off(machine) is closed


def test_no_tpm(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2), frozenset(), tpm=False)
    assert boot(machine).code == "locked-no-tpm"


def test_an_approval_is_awaited_with_the_tpm_still_open_and_then_opens(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(APPROVAL), frozenset({"pin"}))
    for number, value in SEALED_AT.items():
        machine.measure(number, value)
    machine.write("run/systemd/tpm2-pcr-signature.json", (DATA / "signature.json").read_bytes())
    machine.programs["tpm2_readpublic"] = lambda argv, stdin: _public(argv)
    assert boot(machine).code == "locked-approval"
    assert not sealed_off(machine)
    # After a change of keys that was cut off the operator tries the numbers of two keys.
    assert boot(machine, Secret("pin", b"000000")).code == "unlock-failed"
    assert not sealed_off(machine)
    # One that has counted too many of them wants an hour, not a restart.
    machine.programs["tpm2_getcap"] = lambda argv, stdin: Result(0, b"  inLockout:  1\n", b"")
    assert boot(machine, Secret("pin", b"000000")).code == "locked-tpm-refuses"
    assert not sealed_off(machine)
    # After a key of before the approval can come all the same.
    assert boot(machine, Secret("key", b"NOT-IT")).code == "unlock-failed"
    assert not sealed_off(machine)
    assert boot(machine, Secret("pin", b"123456")).state == "open"
    assert sealed_off(machine)


def _public(argv: Sequence[str]) -> Result:
    Path(argv[-1]).write_bytes(bytes.fromhex((DATA / "storage-root.hex").read_text()))
    return Result(0, b"", b"")


def test_a_wrong_recovery_key(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2), frozenset())
    assert boot(machine, Secret("key", b"NOT-IT")).code == "unlock-failed"
    assert boot(machine, Secret("key", b"RECOVERY-KEY")).state == "open"


def test_a_damaged_header(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, {"KR_OEM": TPM2, "KR_PERSISTENT": b"{"})
    report = boot(machine)
    assert (report.state, report.code) == ("locked", "locked-header")
    assert not machine.ran("systemd-cryptsetup")


def test_a_tpm_that_does_not_measure_stops_an_encrypted_machine_only(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path / "a", both(TPM2))
    machine.programs["tpm2_pcrextend"] = lambda argv, stdin: FAILED
    assert boot(machine).code == "locked-tpm-refuses"
    assert machine.mounted == ["/boot"]
    plain = InstalledMachine(tmp_path / "b")
    plain.programs["tpm2_pcrextend"] = lambda argv, stdin: FAILED
    report = boot(plain)
    assert (report.state, [one.step for one in report.troubles]) == ("open", ["seal-off"])


# --- exchanged volumes --------------------------------------------------------------------------


def exchange(machine: InstalledMachine, folder: str) -> None:
    """Somebody puts a volume of his own in its place: what was on it is gone."""
    import shutil

    shutil.rmtree(machine.root / folder / ".kairos")


@pytest.mark.parametrize("folder", ["oem", "usr/local"])
def test_an_exchanged_volume_is_not_used(tmp_path: Path, folder: str) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    assert boot(machine).state == "open"
    machine.restart()
    assert boot(machine).state == "open"
    machine.restart()
    exchange(machine, folder)
    report = boot(machine)
    assert (report.state, report.code) == ("locked", "locked-exchanged")
    assert sealed_off(machine)


def test_a_volume_of_another_machine_is_not_used(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    boot(machine)
    machine.restart()
    machine.write("usr/local/.kairos/pair", bytes(32))
    assert boot(machine).code == "locked-exchanged"


@pytest.mark.parametrize("left", ["pair on oem", "pair on both"])
def test_a_first_start_that_was_cut_off_goes_on(tmp_path: Path, left: str) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    machine.write("oem/.kairos/pair", b"r" * 32)
    if left == "pair on both":
        machine.write("usr/local/.kairos/pair", b"r" * 32)
    assert boot(machine).state == "open"
    assert (tmp_path / "usr/local/.kairos/pair").read_bytes() == b"r" * 32
    assert (tmp_path / "oem/.kairos/paired").exists()


# --- what may fail ------------------------------------------------------------------------------


def test_a_stage_that_fails_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    report = boot(machine, failing=["initramfs: no such user"])
    assert [one.step for one in report.troubles] == ["apply-stage"]
    assert "no such user" in report.troubles[0].text


def test_a_file_system_that_cannot_be_repaired(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    machine.programs["e2fsck"] = lambda argv, stdin: Result(4, b"", b"")
    report = boot(machine)
    assert (report.state, report.code) == ("incomplete", "boot-incomplete")
    assert "mount-volume" in report.text


def test_a_repaired_file_system_is_used(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    machine.programs["e2fsck"] = lambda argv, stdin: Result(1, b"", b"")
    assert boot(machine).state == "open"


def test_a_program_that_is_missing_is_told(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))

    def missing(argv: Sequence[str], stdin: bytes) -> Result:
        raise errors.CommandMissing(element=argv[0])

    machine.programs["ssh-keygen"] = missing
    report = boot(machine)
    assert [one.step for one in report.troubles] == ["keep-identity"]


# --- what is kept -------------------------------------------------------------------------------


def test_kept_paths_begin_with_what_the_image_has(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    machine.write("usr/lib/kairos-register/persistent.conf", "/etc/rancher\n")
    machine.write("etc/rancher/from-image", "1")
    boot(machine)
    kept = tmp_path / "usr/local/.kairos/state/etc/rancher"
    assert (kept / "from-image").read_text() == "1"
    (kept / "written").write_text("2")
    machine.restart()
    boot(machine)
    assert (kept / "written").read_text() == "2"


def test_a_copy_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    machine.write("usr/lib/kairos-register/persistent.conf", "/etc/rancher\n")
    machine.write("etc/rancher/from-image", "1")
    machine.write("usr/local/.kairos/state/etc/.rancher.part/half", "")
    boot(machine)
    kept = tmp_path / "usr/local/.kairos/state/etc/rancher"
    assert sorted(path.name for path in kept.iterdir()) == ["from-image"]


def test_a_rehearsal_only_looks(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path, both(TPM2))
    lines = list(planned(tmp_path, machine.run))
    assert "open-volume: Open KR_OEM with the TPM" in lines
    assert {argv[0] for argv in machine.asked} == {"udevadm", "blkid", "cryptsetup"}
    assert not machine.mounted
