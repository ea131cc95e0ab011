"""What is said of a config for Kairos: each of its silent mistakes by name, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairing.config.kairos import MISTAKEN, mistaken, our_placeholders
from pairing.config.load import load, load_file
from pairing.config.problem import Severity, errors_among
from pairing.config.schema import KAIROS_INSTEAD, check, schema
from pairing.config.validate import validate

ROOT = Path(__file__).parents[2]
GOOD = """#cloud-config
users: [{name: a, groups: [admin], ssh_authorized_keys: [github:a]}]
install: {device: /dev/sda}
"""


def said(text: str) -> list[str]:
    found = validate(load(text, "c.yaml"), "kairos")
    assert errors_among(found) == []
    return [str(problem) for problem in found]


def test_a_good_config_is_left_alone() -> None:
    assert said(GOOD) == []
    assert said(GOOD + "k3s: {enabled: true, args: [--disable=traefik]}\nx-mine: {a: 1}\n") == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("k3s: {enable: true}", "c.yaml:4:7: k3s.enable: warning: Unknown key `enable`. Write `e"),
        ("k3s: {enable: true}", "c.yaml:4:1: k3s: warning: Kairos does not start k3s with this."),
        ("k3s: {args: [--x]}", "c.yaml:4:1: k3s: warning: Kairos does not start k3s with this."),
        ("kubevip: {enabled: true}", "c.yaml:4:11: kubevip.enabled: warning: Unknown key `enabl"),
        ("p2p: {auto: {enabled: true}}", "Write `enable: true` here."),
        ("kairos: {network_token: x}", "c.yaml:4:1: kairos: warning: Unknown key `kairos`. It is"),
        ("packages: [vim]", "that Kairos does not execute; write it as a step"),
        ("stages: {boot: [{systctl: {a: b}}]}", "Write `sysctl`; Kairos' own example"),
        ("stages: {boots: [{name: x}]}", "Did you mean `boot`?"),
        ("hostnam: a", "c.yaml:4:1: hostnam: warning: Unknown key `hostnam`. Did you mean `hostn"),
        ("k3s: {enabled: true}\nk3s-agent: {enabled: true}", "c.yaml:5:1: k3s-agent: warning: k3"),
        ("write_files: [{path: /a, permissions: 644}]", "Write 0644."),
        ("reset: {reboot: true, poweroff: true}", "reboot and poweroff cannot both be true."),
        ("expect: {serial: x}", "Kairos ignores `expect`: it is a key of ours. Whatever machine"),
    ],
)
def test_each_mistake_is_named_at_its_place(line: str, says: str) -> None:
    found = said(f"{GOOD}{line}\n")
    assert any(says in text for text in found), found
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("users: [{name: a, groups: [admin]}]", "No disk is named: Kairos erases the largest"),
        ("install: {device: auto, nousers: true}", "Kairos chooses the disk, and erases the larg"),
        ("install: {device: /dev/sda}", "No user is in the group admin"),
        ("install: {device: /dev/sda, encrypt: tpm2, nousers: true}", "The disk is not encrypted"),
        (
            "install: {device: /dev/sda}\nusers: [{name: a, groups: [admin], passwd: CANARY}]",
            "as it is. kairos-register sends its hash",
        ),
    ],
)
def test_what_kairos_does_by_itself_is_said(text: str, says: str) -> None:
    (only,) = said(f"#cloud-config\n{text}\n")
    assert says in only
    assert "CANARY" not in only


def test_the_mesh_starts_its_cluster_by_itself() -> None:
    assert said(f"{GOOD}p2p: {{network_token: x}}\nk3s: {{args: [--x]}}\n") == []


def test_every_documented_notation_is_known() -> None:
    """The dotted keys and blocks that Kairos' reference shows, but its own schema lacks."""
    text = """
install.x: 1
cluster: {cluster_token: a, control_plane_host: b, role: worker, config: c, env: {A: b}}
upgrade: {grub-entry-name: a, extra-dirs-rootfs: [/data], system: {source: 'oci:a', size: 1}}
reset: {grub-entry-name: a, extra-dirs-rootfs: [/data], reset-oem: false}
"""
    found = said(
        GOOD.replace("/dev/sda", "/dev/sda, partitions.oem.size: 60, system.size: 1") + text
    )
    assert [line.split(": ")[1] for line in found] == ["install.x"]


def test_every_mistake_that_we_know_is_really_unknown_to_the_schema() -> None:
    """Else its advice would never be read."""
    for key in MISTAKEN:
        names = key.split(".")
        assert mistaken(tuple(names)) == MISTAKEN[key]
        place = (
            f"{names[0]}: {{boot: [{{{names[1]}: 1}}]}}"
            if names[0] == "stages"
            else (f"users: [{{{names[1]}: 1}}]" if names[0] == "users" else _nested(names))
        )
        found = check(load(f"#cloud-config\n{place}\n"), "kairos")
        assert [p.suggestion for p in found if p.message.startswith("Unknown")] == [MISTAKEN[key]]


def _nested(names: list[str]) -> str:
    return ": {".join(names) + ": 1" + "}" * (len(names) - 1)


def test_our_own_keys_that_we_explain_are_ours_alone() -> None:
    for key in KAIROS_INSTEAD:
        found = check(load(f"#cloud-config\n{_nested(key.split('.'))}\n"), "kairos")
        assert [p.suggestion for p in found] == [KAIROS_INSTEAD[key]]


def test_an_open_schema_never_refuses_a_key() -> None:
    for path in sorted((ROOT / "examples/configs").glob("*.yaml")):
        found = validate(load_file(path), "kairos")
        assert {problem.severity for problem in found} <= {Severity.WARNING}
    closed = [
        rules
        for rules in schema("kairos")["properties"].values()
        if rules.get("additionalProperties") is False
    ]
    assert closed == []


def test_placeholders_of_ours_and_templates_of_kairos() -> None:
    text = "#cloud-config\nhostname: 'a-{{ trunc 4 .MachineID }}'\nx-a: '{{ node.serial }}'\n"
    assert list(our_placeholders(load(text))) == []
    (only,) = our_placeholders(load(text + "runcmd: ['echo {{ node.serial }}']\n", "c.yaml"))
    assert str(only).startswith("c.yaml:4:10: runcmd.0: Kairos' protocol shows no hardware")
