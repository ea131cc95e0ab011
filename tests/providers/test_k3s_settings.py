"""What a config says about k3s, and the files that k3s reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from node.providers.k3s.settings import (
    CONFIG,
    ENVIRONMENT,
    EXTRA,
    Options,
    config_file,
    environment_file,
    options,
    settings,
    wanted,
)
from node.stages.actions import WriteFile
from pairing import errors
from pairing.config.document import Document, from_plain
from pairing.config.problem import Mark

SECRET = "K10-the-token-of-the-shop"
AGENT: dict[str, Any] = {
    "k3s-agent": {
        "enabled": True,
        "args": ["--node-label=site=lisbon", "--node-label", "row=2", "--debug"],
        "env": {"K3S_URL": "https://k3s.example:6443", "K3S_TOKEN": SECRET, "V": True},
    }
}


def document(value: Mapping[str, Any]) -> Document:
    return Document(from_plain(value, Mark("config.yaml")))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--disable=traefik"], {"disable": ("traefik",)}),
        (["--disable traefik"], {"disable": ("traefik",)}),
        (["--disable", "traefik", "--disable", "servicelb"], {"disable": ("traefik", "servicelb")}),
        (["server", "--cluster-init"], {"cluster-init": ()}),
        (["--cluster-init", "-v", "2"], {"cluster-init": (), "v": ("2",)}),
        (["--node-taint='a=b c:NoExecute'"], {"node-taint": ("a=b c:NoExecute",)}),
        (["--label=it's"], {"label": ("it's",)}),
    ],
)
def test_arguments_become_options(arguments: list[str], expected: Options) -> None:
    assert options(arguments) == expected


def test_k3s_reads_back_what_was_said() -> None:
    said = options(["--a=1", "--b", "--c=x", "--c='y: z'", "--d=true"])
    read = yaml.safe_load(config_file(said))
    assert read == {"a": "1", "b": True, "c": ["x", "y: z"], "d": "true"}
    assert yaml.safe_load(config_file({})) is None


def test_an_argument_without_a_dash_is_a_mistake() -> None:
    with pytest.raises(errors.JoinSettingsIncomplete):
        options(["traefik"])


def test_variables_survive_systemd() -> None:
    text = environment_file({"A": 'x "y" $z `w` \\', "B": "#not a comment"})
    assert text == 'A="x \\"y\\" \\$z \\`w\\` \\\\"\nB="#not a comment"\n'


@pytest.mark.parametrize("name", ["A B", "A=B", "A\n"])
def test_a_variable_is_one_line(name: str) -> None:
    with pytest.raises(errors.JoinSettingsIncomplete):
        environment_file({name: "x"})
    with pytest.raises(errors.JoinSettingsIncomplete):
        environment_file({"A": "x\nB=y"})


def test_files_that_hold_tokens_are_for_root_alone() -> None:
    files = settings(document(AGENT), "agent").files()
    secret = [
        file for file in files if isinstance(file, WriteFile) and SECRET.encode() in file.content
    ]
    assert [file.path for file in secret] == [ENVIRONMENT]
    modes = {file.path: file.mode for file in files}
    assert (modes[CONFIG], modes[ENVIRONMENT]) == (0o600, 0o600)
    unit = "/etc/systemd/system/k3s-agent.service.d/10-kairos.conf"
    assert modes[unit] == 0o644
    assert SECRET not in repr(files)
    assert SECRET not in repr(settings(document(AGENT), "agent"))


def test_a_config_file_of_the_users_own_stays() -> None:
    own = {**AGENT, "write_files": [{"path": CONFIG, "content": "debug: true"}]}
    paths = [file.path for file in settings(document(own), "agent").files()]
    assert EXTRA in paths
    assert CONFIG not in paths


def test_an_agent_needs_server_and_token() -> None:
    for missing in ("K3S_URL", "K3S_TOKEN"):
        env = {key: value for key, value in AGENT["k3s-agent"]["env"].items() if key != missing}
        with pytest.raises(errors.JoinSettingsIncomplete, match=missing):
            settings(document({"k3s-agent": {"enabled": True, "env": env}}), "agent")


@pytest.mark.parametrize(("server", "token"), [("--server=", "--token="), ("-s ", "-t ")])
def test_server_and_token_may_be_arguments(server: str, token: str) -> None:
    asked = {"k3s-agent": {"args": [f"{server}https://a:6443", f"{token}b"]}}
    found = settings(document(asked), "agent")
    assert (found.server, found.token) == ("https://a:6443", "b")


def test_only_what_is_enabled_is_wanted() -> None:
    assert wanted(document(AGENT), "agent")
    assert not wanted(document(AGENT), "server")
    assert not wanted(document({"k3s": {"enabled": False}}), "server")
    assert not wanted(document({"k3s": {}}), "server")


def test_a_server_without_kubelet_is_no_node() -> None:
    for arguments, node in (([], True), (["--disable-agent"], False)):
        found = settings(document({"k3s": {"enabled": True, "args": arguments}}), "server")
        assert found.has_kubelet is node
        assert found.unit == "k3s.service"
