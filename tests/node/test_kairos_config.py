"""What came by Kairos' protocol, held to our rules and to this machine: refusals by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.facts import recorded
from node.kairos import planned
from node.steps import EscrowKey, WriteDisk
from pairing import errors
from pairing.edgevpn.payload import Payload

MACHINES = Path(__file__).parents[2] / "examples" / "machines"
EXAMPLES = Path(__file__).parents[2] / "examples" / "configs"
FACTS = recorded(MACHINES / "fanless-emmc.json")
DISK = FACTS.disks[0].path
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a"
GOOD = f"""#cloud-config
hostname: shop-{{{{ node.serial }}}}
users:
  - name: kairos
    passwd: kairos
    groups: [admin]
    ssh_authorized_keys: ["{KEY}"]
install:
  auto: true
  encrypt: none
"""


def test_the_usual_config_of_a_kairos_user_is_planned() -> None:
    ready = planned(Payload(GOOD), FACTS)
    assert f"hostname: shop-{FACTS.serial}" in ready.made.plan.summary
    assert ready.made.plan.disk.path == DISK
    assert not any(isinstance(step, EscrowKey) for step in ready.made.plan.steps)
    assert any(isinstance(step, WriteDisk) for step in ready.made.plan.steps)
    assert (ready.reboot, ready.poweroff) == (False, False)
    assert b"passwd: kairos\n" not in ready.made.config
    assert b"passwd: $6$" in ready.made.config.replace(b"'", b"").replace(b'"', b"")


def test_the_example_for_stock_tools_is_planned() -> None:
    ready = planned(Payload((EXAMPLES / "by-kairosctl.yaml").read_text()), FACTS)
    assert f"hostname: shop-{FACTS.serial}" in ready.made.plan.summary
    assert ready.reboot


@pytest.mark.parametrize("said", ["", "  encrypt: tpm2\n", "  encrypt: {mode: recovery-only}\n"])
def test_encryption_is_refused_by_name(said: str) -> None:
    """Silence means encryption; nobody could keep the key. The control is the config above."""
    with pytest.raises(errors.KairosEncryptionRefused) as caught:
        planned(Payload(GOOD.replace("  encrypt: none\n", said)), FACTS)
    assert caught.value.code == "E680"


@pytest.mark.parametrize("key", ["github:mudler", "github:{{ node.serial }}"])
def test_accounts_are_refused_by_name(key: str) -> None:
    with pytest.raises(errors.KairosAccountsUnresolved):
        planned(Payload(GOOD.replace(KEY, key)), FACTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("hostname:", "hostnam:"), "hostname"),
        (("  auto: true\n", "  auto: true\n  grub_options: {a: b}\n"), "grub_options"),
        (("#cloud-config\n", ""), "#cloud-config"),
        (("{{ node.serial }}", "{{ .Values.serial }}"), "Go templates"),
        (("hostname: shop", "hostname: [shop"), "config:"),
    ],
)
def test_what_is_not_ours_is_a_config_error(change: tuple[str, str], said: str) -> None:
    with pytest.raises(errors.ConfigError, match=said):
        planned(Payload(GOOD.replace(*change)), FACTS)


def test_the_disk_beside_the_config_counts() -> None:
    two = recorded(MACHINES / "nvme-server-two-disks.json")
    with pytest.raises(errors.DiskNotChosen):
        planned(Payload(GOOD), two)
    for disk in two.disks:
        if not disk.content and not disk.removable:
            assert planned(Payload(GOOD, device=disk.path), two).made.plan.disk == disk
    with pytest.raises(errors.ConfigNotForThisMachine):
        planned(Payload(GOOD, device="/dev/sdz"), two)
    named = GOOD + f"  device: {two.disks[0].path}\n"
    with pytest.raises(errors.ConfigNotForThisMachine, match="released for"):
        planned(Payload(named, device=two.disks[1].path), two)


def test_auto_is_our_auto_never_the_largest_disk() -> None:
    assert planned(Payload(GOOD, device="auto"), FACTS).made.plan.disk.path == DISK
    with pytest.raises(errors.DiskNotChosen):
        planned(Payload(GOOD, device="auto"), recorded(MACHINES / "nvme-server-two-disks.json"))


@pytest.mark.parametrize("machine", ["pc-with-windows", "old-pc-bios", "without-disk"])
def test_a_machine_that_does_not_fit_is_named(machine: str) -> None:
    with pytest.raises((errors.ConfigNotForThisMachine, errors.DiskNotChosen)):
        planned(Payload(GOOD), recorded(MACHINES / f"{machine}.json"))


def test_restart_and_switching_off_come_from_either_place() -> None:
    assert planned(Payload(GOOD, reboot=True), FACTS).reboot
    assert planned(Payload(GOOD + "  poweroff: true\n"), FACTS).poweroff
    with pytest.raises(errors.ConfigRefusedByNode):
        planned(Payload(GOOD + "  poweroff: true\n", reboot=True), FACTS)


def test_no_secret_is_in_the_representation() -> None:
    assert "kairos" not in repr(planned(Payload(GOOD), FACTS)).replace("kairos-register", "")
