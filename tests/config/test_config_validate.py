"""Schema, rules across keys, and the agreement of our checker with jsonschema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pairing import errors
from pairing.config.document import Document, from_plain
from pairing.config.load import load
from pairing.config.problem import Mark, Severity, errors_among
from pairing.config.schema import INSTEAD, SchemaName, check
from pairing.config.validate import require_valid, validate
from pairing.facts import Disk, Facts, Nic

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples/configs").glob("*.yaml"))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHLbhX8AbKZwGpuvnMzf1wW7pLKWOTpRi8MqDMkEyo1R me"
MACHINE = Facts(disks=(Disk(path="/dev/sda", size=2**34),), nics=(Nic(name="a", mac="b"),))
USER = f"""#cloud-config
users:
  - name: ann
    groups: [admin]
    ssh_authorized_keys:
      - {KEY}
"""
NEXT = USER.count("\n") + 1
"""The line after `USER`."""


def said(text: str, name: SchemaName = "native") -> list[str]:
    return [str(problem) for problem in validate(load(text, "c.yaml"), name)]


def test_a_small_config_is_fine() -> None:
    assert said(USER) == []


BROKEN = {
    "typo": (
        "hostnam: a",
        f"c.yaml:{NEXT}:1: hostnam: Unknown key `hostnam`. Did you mean `hostname`?",
    ),
    "typo below": (
        "k3s: {enable: true}",
        f"c.yaml:{NEXT}:7: k3s.enable: Unknown key `enable`. Did you mean `enabled`?",
    ),
    "key at the wrong level": (
        "device: /dev/sda",
        f"c.yaml:{NEXT}:1: device: Unknown key `device`. Did you mean `install.device`?",
    ),
    "Kairos key": (
        "bundles: []",
        f"c.yaml:{NEXT}:1: bundles: Kairos key, not executed here. Remove it, or rename it to x-",
    ),
    "Kairos key with an answer": (
        "install:\n  encrypted_partitions: [COS_PERSISTENT]",
        "Kairos key, not executed here. Write install.encrypt: {mode: tpm2}.",
    ),
    "text for a list": (
        "k3s: {args: --debug}",
        f"c.yaml:{NEXT}:13: k3s.args: This must be a list, not text. Write it as a list: [...].",
    ),
    "yes for true": (
        "k3s:\n  enabled: yes",
        f"c.yaml:{NEXT + 1}:12: k3s.enabled: This must be true or false, not text. Write true.",
    ),
    "number for text": (
        "hostname: 12",
        f"c.yaml:{NEXT}:11: hostname: This must be text, not a whole number. Put it in quotes.",
    ),
    "nothing for a map": ("k3s:", f"c.yaml:{NEXT}:5: k3s: This must be a map, not empty."),
    "bad host name": ("hostname: a_b", f"c.yaml:{NEXT}:11: hostname: This must be a host name"),
    "bad mode": (
        "install: {encrypt: {mode: tmp2}}",
        f"c.yaml:{NEXT}:27: install.encrypt.mode: This must be one of tpm2, tpm2+tang, tang, rec",
    ),
    "bad short mode": (
        "install: {encrypt: true}",
        "This must be a map or text, not true or false.",
    ),
    "script": ("install: {device: 'script:///x'}", "install.device: This must be auto or a path"),
    "dots in a device": ("install: {device: /dev/../etc}", "`..` is not allowed in a device path."),
    "file without path": (
        "write_files:\n  - content: x",
        f"c.yaml:{NEXT + 1}:5: write_files.0: `path` is missing here.",
    ),
    "relative path": (
        "write_files: [{path: etc/x}]",
        "write_files.0.path: This must be an absolute",
    ),
    "dots in a path": (
        "write_files: [{path: /a/../b}]",
        "`..` is not allowed in the path of a file.",
    ),
    "bad permissions": (
        "write_files: [{path: /a, permissions: 0888}]",
        "write_files.0.permissions: This must be",
    ),
    "decimal permissions": (
        "write_files: [{path: /a, permissions: 755}]",
        "permissions: This is the decimal number 755, not an octal mode. Write 0755.",
    ),
    "permissions too large": (
        "write_files: [{path: /a, permissions: 644000}]",
        "write_files.0.permissions: This must be an octal mode such as 0644.",
    ),
    "reboot and poweroff": (
        "install:\n  reboot: true\n  poweroff: true",
        f"c.yaml:{NEXT + 2}:3: install.poweroff: reboot and poweroff cannot both be true.",
    ),
    "tang without address": (
        "install:\n  encrypt: {mode: tang}",
        f"c.yaml:{NEXT + 1}:3: install.encrypt: This encryption mode needs the address",
    ),
    "two clusters": (
        "k3s: {enabled: true}\nkubernetes: {enabled: true, server: a}",
        f"c.yaml:{NEXT + 1}:1: kubernetes: This machine already joins by k3s. Enable one of them.",
    ),
    "a cluster without its authority": (
        "kubernetes: {enabled: true, server: a, token: abcdef.0123456789abcdef}",
        "kubernetes: `ca` is missing here.",
    ),
    "no bootstrap token": (
        "kubernetes: {server: a, token: K10x, ca: x}",
        "kubernetes.token: This must be a bootstrap token: 6 characters, a dot, 16 characters.",
    ),
    "tang never asked": (
        "install: {encrypt: {tang: 'http://t'}}",
        "install.encrypt.tang: The mode tpm2 does not use a tang server.",
    ),
    "approval of nothing": (
        "install: {encrypt: {mode: none, unlock: approval}}",
        "nothing to unlock",
    ),
    "approval of a recovery key": (
        "install: {encrypt: {mode: recovery-only, unlock: approval}}",
        "unlock: The disk opens with its recovery key only, so nobody can approve it. Approval",
    ),
    "approval beside a tang server": (
        "install: {encrypt: {mode: tpm2+tang, tang: 'http://t', unlock: approval}}",
        "A tang server opens the disk without asking anybody. Approval needs mode tpm2;",
    ),
    "bad MAC": ("expect: {mac: 52-54}", "expect.mac: This must be a MAC address"),
    "bad MAC in a list": ("expect: {mac: ['52:54:00:12:34:56', x]}", "expect.mac.1: This must be"),
    "empty list": ("expect: {serial: []}", "expect.serial: This list must not be empty."),
    "too many relays": (
        f"p2p: {{relays: {['a'] * 9}}}",
        "p2p.relays: This list may have at most 8",
    ),
    "Go template": (
        'hostname: "{{ .MachineID }}"',
        f"c.yaml:{NEXT}:11: hostname: Go templates are not executed here.",
    ),
    "unknown fact": ('hostname: "{{ node.name }}"', "node.name is not known. There are: serial,"),
    "open placeholder": ('hostname: "{{ values.a"', "This placeholder has no end"),
    "placeholder in a key": ('x: {"{{ values.a }}": 1}', "A key cannot be a placeholder."),
    "known step, wrong type": (
        "stages: {boot: [{commands: ls}]}",
        "stages.boot.0.commands: This must",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_config_says_what_and_where(name: str) -> None:
    text, says = BROKEN[name]
    document = load(USER + text + "\n", "c.yaml")
    wrong = [str(problem) for problem in errors_among(validate(document))]
    assert any(says in line for line in wrong), wrong
    with pytest.raises(errors.ConfigError) as caught:
        require_valid(document)
    assert says in caught.value.detail


USERS = {
    "nobody": ("hostname: a", "c.yaml:2:1: users: Nobody could log in to this machine."),
    "only a name": ("users: [{name: a}]", "c.yaml:2:1: users: Nobody could log in"),
    "locked": ("users: [{name: a, passwd: b, lock_passwd: true}]", "Nobody could log in"),
    "no name": ("users: [{passwd: b}]", "c.yaml:2:9: users.0: `name` is missing here."),
    "not a list": ("users: {a: {passwd: b}}", "c.yaml:2:8: users: This must be a list, not a map."),
    "bad name": ("users: [{name: Ann, passwd: b}]", "users.0.name: This must be a login name"),
    "twice": (
        "users:\n- {name: a, passwd: b}\n- {name: a, passwd: c}",
        "c.yaml:4:10: users.1.name: This user is already listed at line 3.",
    ),
    "cut hash": ("users: [{name: a, passwd: '$6$abc$def'}]", "not a whole one. Make one with:"),
    "key cut short": (
        f"users: [{{name: a, ssh_authorized_keys: ['{KEY[:60]}']}}]",
        "users.0.ssh_authorized_keys.0: This ssh key is cut short",
    ),
    "private key": (
        "users: [{name: a, ssh_authorized_keys: ['-----BEGIN OPENSSH PRIVATE KEY-----']}]",
        "This is a private key!",
    ),
    "nonsense": (
        "users: [{name: a, ssh_authorized_keys: [hello]}]",
        "This is not an ssh public key",
    ),
    "other site": ("users: [{name: a, ssh_authorized_keys: ['gitlab:x']}]", "Only github:NAME"),
    "bad account": ("users: [{name: a, ssh_authorized_keys: ['github:a/b']}]", "Only github:NAME"),
    "one key for a list": (
        f"users: [{{name: a, ssh_authorized_keys: {KEY}}}]",
        "users.0.ssh_authorized_keys: This must be a list, not text.",
    ),
    "keys of nobody": (f"ssh_authorized_keys: [{KEY}]", "belong to `users`"),
}


@pytest.mark.parametrize("name", USERS)
def test_users(name: str) -> None:
    text, says = USERS[name]
    wrong = [str(p) for p in errors_among(validate(load(f"#cloud-config\n{text}\n", "c.yaml")))]
    assert any(says in line for line in wrong), wrong


def test_all_errors_at_once_in_the_order_of_the_file() -> None:
    text = "#cloud-config\nhostnam: a\nk3s: {args: x}\nusers: [{name: 1}]\ninstall: {wipe: no}\n"
    lines = [p.line for p in errors_among(validate(load(text)))]
    assert lines == [2, 3, 4, 4, 5]


def test_warnings() -> None:
    root, plain = said("#cloud-config\nusers: [{name: a, passwd: b}]\n")
    assert root.startswith("c.yaml:2:1: users: warning: None of these users may become root.")
    assert plain.startswith("c.yaml:2:27: users.0.passwd: warning: A plain password;")
    assert "readable on the disk" in said(USER + "install: {encrypt: none}\n")[0]


@pytest.mark.parametrize(
    ("relay", "fine"),
    [
        ("relay.example", True),
        ("relay.example:443", True),
        (f"relay.example:443#sha256={'ab' * 32}", True),
        ("'[2001:db8::1]:443'", True),
        ("tcp://127.0.0.1:7000", True),
        ("/dns4/relay.example/tcp/4001/p2p/12D3Koo", True),
        ("https://relay.example", False),
        ("relay.example:https", False),
        ("relay.example#sha256=ab", False),
        ("'a b'", False),
    ],
)
def test_relay_addresses(relay: str, fine: bool) -> None:
    assert (said(f"{USER}p2p:\n  relays:\n  - {relay}\n") == []) is fine


def test_nobody_may_be_meant() -> None:
    assert said("#cloud-config\ninstall: {nousers: true}\n") == []


def test_below_stages_unknown_names_only_warn() -> None:
    found = validate(
        load(USER + "stages:\n  bot: []\n  boot:\n  - comands: [ls]\n    layout: {}\n")
    )
    assert [p.severity for p in found] == [Severity.WARNING] * 3
    assert "Did you mean `boot`?" in str(found[0])
    assert "Did you mean `commands`?" in str(found[1])
    assert "Kairos key, not executed here." in str(found[2])


def test_below_x_nothing_is_looked_at() -> None:
    assert said(USER + "x-mine: {hostnam: 1, y: '{{ .Go }}', '{{ z }}': [1]}\n") == []


def test_no_message_repeats_a_value() -> None:
    text = (
        "#cloud-config\nhostname: CANARY_1\nusers: [{name: CANARY 2, passwd: {a: CANARY},"
        " uid: CANARY, ssh_authorized_keys: [CANARY, 'ssh-rsa CANARY', 'x:CANARY']}]\n"
        "k3s: CANARY\nk3s-agent: {env: {K3S_TOKEN: [CANARY]}, enabled: CANARY}\n"
        "install: {encrypt: CANARY, device: CANARY}\nrunmcd: CANARY\nexpect: {mac: CANARY}\n"
    )
    found = said(text) + said(text, "kairos")
    assert len(found) > 12
    assert not any("CANARY" in line for line in found)


def test_the_open_schema_warns_where_the_closed_one_refuses() -> None:
    text = "#cloud-config\nbundles: []\nown: 1\np2p: {network_token: x, rol: y}\nk3s: {args: x}\n"
    found = check(load(text, "c.yaml"), "kairos")
    assert [(p.line, p.severity.value) for p in found] == [
        (3, "warning"),
        (4, "warning"),
        (5, "error"),
    ]
    assert "Did you mean `role`?" in str(found[1])


def test_every_advice_is_for_a_key_of_kairos_that_is_not_ours() -> None:
    for path in INSTEAD:
        document = Document(_nested(path.split(".")))
        messages = [p.message for p in check(document, "native")]
        assert "Kairos key, not executed here." in messages, path


def _nested(keys: list[str]) -> Any:
    value: Any = None
    for key in reversed(keys):
        value = {key: value}
    return from_plain(value, Mark("c.yaml", 1, 1))


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("/etc/../boot/x", "`..` is not allowed"),
        ("/boot/loader/x", "No config writes to /boot."),
        ("//oem///x", "No config writes to /oem."),
        ("/usr/local/.kairos/x", "No config writes to /usr/local/.kairos."),
        ("/usr/local/kairos", ""),
        ("/bootstrap", ""),
    ],
)
def test_places_of_ours_are_no_ones_to_write(where: str, says: str) -> None:
    """Said with its line before anything is sent, wherever the path stands."""
    for text in (
        f"write_files: [{{path: {where}}}]",
        f"stages: {{boot: [{{files: [{{path: {where}}}]}}]}}",
        f"stages: {{boot: [{{directories: [{{path: {where}}}]}}]}}",
    ):
        found = errors_among(validate(load(f"{USER}{text}\n", "c.yaml")))
        assert [says in str(problem) for problem in found] == ([True] if says else []), text
