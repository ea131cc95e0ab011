"""`--approve`: modes and policy files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cli import approval
from pairing import errors
from pairing.facts import Disk, Facts, Nic, Tpm

DISK = Disk(path="/dev/sda", size=64 * 10**9, model="Samsung 870", transport="sata")
FULL = replace(DISK, content=("gpt", "ntfs"))
FACTS = Facts(
    serial="KR-0815",
    vendor="Fujitsu",
    product="Futro S740",
    disks=(DISK,),
    nics=(Nic(name="a", mac="90:1b:0e:00:00:01"), Nic(name="b", mac="52:54:00:00:00:01")),
    tpm=Tpm(version="2.0", ek_hash="5bce98f7"),
)


def policy(tmp_path: Path, text: str) -> approval.Approval:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return approval.read(str(path))


def approved(found: approval.Approval, disk: Disk = DISK, trust: str = "O0") -> bool:
    try:
        return found.objection(FACTS, disk, trust) == ""
    except errors.PolicyUnmet:
        return False


def test_modes() -> None:
    assert approved(approval.read("auto"))
    assert not approved(approval.read("auto"), FULL)
    assert approved(approval.read("yes"), FULL)
    assert not approved(approval.read("ask"))


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("serial: KR-0815", True),
        ("serial: 'kr-*'", True),
        ("serial: [XX, 'KR-08??']", True),
        ("serial: KR-081", False),
        ("uuid: '*'", False),
        ("vendor: fujitsu, product: 'Futro *'", True),
        ("vendor: fujitsu, product: 'Esprimo *'", False),
        ("mac: '52:54:*'", True),
        ("mac: '00:*'", False),
        ("ek_hash: '5BCE*'", True),
        ("trust: O0", True),
        ("trust: O1", False),
        ("disk: {empty: true}", True),
        ("disk: {at_least: 64 GB}", True),
        ("disk: {at_least: 60 GiB}", False),
        ("disk: {transport: [nvme, sata]}", True),
        ("disk: {model: 'WDC*'}", False),
    ],
)
def test_rules(tmp_path: Path, rule: str, holds: bool) -> None:
    assert approved(policy(tmp_path, f"rules:\n  - {{{rule}}}\n")) is holds


def test_one_rule_is_enough_and_the_reasons_are_said(tmp_path: Path) -> None:
    text = "rules:\n  - {name: north, serial: N*}\n  - {name: clean, disk: {empty: true}}\n"
    found = policy(tmp_path, text)
    assert approved(found)
    with pytest.raises(errors.PolicyUnmet, match=r"north: serial is KR-0815; clean: the disk is"):
        found.objection(FACTS, FULL, "O0")


def test_trust_levels_are_ordered(tmp_path: Path) -> None:
    found = policy(tmp_path, "rules:\n  - {trust: O1}\n")
    assert [approved(found, trust=level) for level in ("O0", "O1", "O2", "made-up")] == [
        False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rules: []",
        "rules: {}",
        "rule:\n  - {serial: x}",
        "rules:\n  - {}",
        "rules:\n  - {name: everything}",
        "rules:\n  - {serail: x}",
        "rules:\n  - {serial: 5}",
        "rules:\n  - {serial: []}",
        "rules:\n  - {trust: O9}",
        "rules:\n  - {disk: {at_least: much}}",
        "rules:\n  - {disk: {empty: maybe}}",
        "rules:\n  - {disk: {colour: red}}",
        "rules: [",
        "rules: " + "[" * 50_000,
        "rules:\n  - {serial: a, serial: b}",
        "rules:\n  - &x {serial: a}\n  - *x",
        "x" * 300_000,
    ],
)
def test_a_policy_that_says_nothing_clear_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(errors.PolicyFileInvalid):
        policy(tmp_path, text)


def test_the_line_of_a_mistake_is_that_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(errors.PolicyFileInvalid, match="line 3"):
        policy(tmp_path, "rules:\n  - serial: a\n    serial: b\n")


def test_a_missing_policy_and_a_mistyped_mode() -> None:
    with pytest.raises(errors.PolicyFileInvalid, match="auto, ask or yes"):
        approval.read("automatic")
