"""Which secrets of a config would lie open: each kind found, and ordinary configs left alone."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.config.document import Document, from_plain
from pairing.config.exposed import exposed
from pairing.config.load import load, load_file
from pairing.config.problem import Mark

EXAMPLES = Path(__file__).parents[2] / "examples/configs"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY\n"
HASH = "$6$rounds=5000$CANARYCANARY$" + "a" * 86
NETWORK = base64.b64encode(b"otp:\n  crypto:\n    key: CANARY\nroom: " + b"x" * 200).decode()


def found(text: str) -> list[str]:
    return [str(problem) for problem in exposed(load(f"#cloud-config\n{text}\n", "c.yaml"))]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("users: [{name: a, passwd: CANARY}]", "c.yaml:2:27: users.0.passwd: A password."),
        (f"users: [{{name: a, passwd: {HASH!r}}}]", "users.0.passwd: A password."),
        ("stages: {boot: [{users: {a: {passwd: CANARY}}}]}", "stages.boot.0.users.a.passwd"),
        ("k3s: {enabled: true, env: {K3S_TOKEN: CANARY}}", "c.yaml:2:39: k3s.env.K3S_TOKEN: A to"),
        ("k3s-agent: {env: {K3S_AGENT_TOKEN: CANARY}}", "k3s-agent.env.K3S_AGENT_TOKEN"),
        ("k3s: {env: {K3S_DATASTORE_ENDPOINT: CANARY}}", "k3s.env.K3S_DATASTORE_ENDPOINT"),
        ("k3s: {args: [--token, CANARY]}", "c.yaml:2:23: k3s.args.1: A token or password."),
        ("k3s: {args: ['--token=CANARY']}", "k3s.args.0: A token or password."),
        ("k3s: {args: ['--agent-token CANARY']}", "k3s.args.0: A token or password."),
        ("k3s: {args: ['-t CANARY']}", "k3s.args.0: A token or password."),
        ("k3s-agent: {args: [-t, CANARY]}", "k3s-agent.args.1: A token or password."),
        ("k3s: {args: [--datastore-endpoint, 'mysql://u:CANARY@h/d']}", "k3s.args.1"),
        ("p2p: {network_token: CANARY}", "c.yaml:2:22: p2p.network_token: A token or password."),
        (f"x-other: {NETWORK}", "x-other: A network token."),
        ("cluster: {cluster_token: CANARY}", "cluster.cluster_token"),
        ("phonehome: {registration_token: CANARY}", "phonehome.registration_token"),
        (f"write_files: [{{path: /a, content: {json.dumps(KEY)}}}]", "content: A private key."),
        (
            f"write_files: [{{content: {base64.b64encode(KEY.encode()).decode()}, encoding: b64}}]",
            "write_files.0.content: A private key.",
        ),
        (
            f"write_files: [{{content: {base64.b64encode(gzip.compress(KEY.encode())).decode()}}}]",
            "write_files.0.content: A private key.",
        ),
        (
            'write_files: [{path: /a, content: "server: x\\ntoken: CANARY\\n"}]',
            "0.content: A token",
        ),
        ("write_files: [{path: /a, content: 'db_password=CANARY'}]", "0.content: A token or pass"),
        ("runcmd: ['echo root:CANARY | chpasswd']", "runcmd.0: A password that is set"),
        ("runcmd: ['curl https://u:CANARY@example.com/']", "runcmd.0: A password in a URL."),
        ("config_url: 'https://example.com/?token=CANARY'", "config_url: A key in a URL."),
        ("stages: {boot: [{commands: ['login --password CANARY']}]}", "commands.0: A token or p"),
        ("install: {env: ['REGISTRY_PASSWORD=CANARY']}", "install.env.0: A token or password."),
        ("stages: {boot: [{git: {auth: {private_key: CANARY}}}]}", "git.auth.private_key"),
    ],
)
def test_each_kind_of_secret_is_found_at_its_place(text: str, place: str) -> None:
    said = found(text)
    assert len(said) == 1, said
    assert place in said[0]
    assert "CANARY" not in said[0]


@pytest.mark.parametrize(
    "text",
    [
        "users: [{name: a, lock_passwd: true, passwd: '*', ssh_authorized_keys: [github:a]}]",
        "users: [{name: a, passwd: ''}]",
        "k3s: {enabled: true, env: {K3S_URL: 'https://a:6443', K3S_TOKEN_FILE: /run/token}}",
        "k3s: {args: ['--token-file=/run/a', --secrets-encryption, --node-label, a=b]}",
        "k3s: {args: [--token]}",
        "other: {args: [-t, abcdefgh]}",
        "runcmd: ['systemctl restart k3s', 'echo the token is elsewhere', 'k3s --token $TOKEN']",
        "runcmd: ['passwd -l root', 'grep password /etc/a']",
        "write_files: [{path: /a, content: '# the password comes from $PASSWORD'}]",
        'write_files: [{path: /a, content: "token: ${TOKEN}\\npassword = $(cat /run/a)\\n"}]',
        "stages: {boot: [{name: 'Set password: later on', commands: [date]}]}",
        "cosign-key: https://example.com/cosign.pub",
        "write_files: [{content: aGVsbG8gd29ybGQ=, encoding: b64}]",
        "config_url: 'https://example.com/?page=1234567'",
        "ssh_authorized_keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEQpkwZQBKoeTEj03QFYGUwC a']",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_the_examples_without_secrets_can_be_sent() -> None:
    assert exposed(load_file(EXAMPLES / "minimal.yaml")) == []
    assert [p.path for p in exposed(load_file(EXAMPLES / "kairos-usual.yaml"))] == [
        ("users", 0, "passwd")
    ]


def test_a_bomb_in_a_file_is_unpacked_to_a_limit() -> None:
    bomb = base64.b64encode(gzip.compress(b"\0" * (64 << 20))).decode()
    assert found(f"write_files: [{{path: /a, content: {bomb}}}]") == []


SECRETS = st.text("abcdefghij0123456789", min_size=12, max_size=40)


@given(SECRETS, st.sampled_from(["passwd", "K3S_TOKEN", "network_token", "client_secret"]))
def test_no_value_is_ever_repeated(secret: str, name: str) -> None:
    value = {"a": [{name: secret}], "write_files": [{"content": f"{name}={secret}"}]}
    said = [str(p) for p in exposed(Document(from_plain(value, Mark("c.yaml", 1, 1))))]
    assert said
    assert not any(secret in line for line in said)
