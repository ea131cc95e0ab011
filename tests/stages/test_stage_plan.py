"""From a config to steps: the order is Kairos', nothing is left out in silence."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from typing import Any

import pytest

from node.stages.actions import (
    AuthorizeKeys,
    EnsureUser,
    NotExecuted,
    RunCommand,
    SetEnvironment,
    SetHostname,
    SetKernelSettings,
    SetNameservers,
    SetTime,
    SetUnits,
    WriteFile,
)
from node.stages.planning import STAGES, known_stages, plan_stage, text_of
from pairing.config import load_file, schema
from tests.stages.conftest import document

EXAMPLES = Path(__file__).parents[2] / "examples" / "configs"
EVERYTHING: dict[str, Any] = {
    "name": "all",
    "if": "true",
    "only_os": "debian",
    "only_os_version": "13",
    "only_arch": "amd64",
    "only_service_manager": "systemd",
    "node": ".*",
    "environment": {"A": "b"},
    "systemctl": {"start": ["s"], "mask": ["m"], "disable": ["d"], "enable": ["e"]},
    "timesyncd": {"NTP": "a b"},
    "modules": ["loop"],
    "authorized_keys": {"root": ["ssh-ed25519 AAAA"]},
    "users": {"ana": {"passwd": "*"}},
    "sysctl": {"a.b": True},
    "hostname": "h",
    "commands": ["one", "two"],
    "files": [{"path": "/etc/f", "content": "x"}],
    "directories": [{"path": "/srv/d"}],
    "dns": {"nameservers": ["192.0.2.1"]},
}


def actions(value: dict[str, Any], stage: str = "boot") -> list[Any]:
    return [action for step in plan_stage(document(value), stage) for action in step.actions]


def test_the_order_within_a_step_is_that_of_kairos() -> None:
    names = [type(one).__name__ for one in actions({"stages": {"boot": [EVERYTHING]}})]
    assert names == [
        "SetNameservers",
        "MakeFolder",
        "WriteFile",
        "RunCommand",
        "RunCommand",
        "SetHostname",
        "SetKernelSettings",
        "EnsureUser",
        "AuthorizeKeys",
        "LoadModules",
        "SetTime",
        "SetUnits",
        "SetUnits",
        "SetUnits",
        "SetUnits",
        "SetEnvironment",
    ]


def test_units_are_enabled_before_anything_is_started() -> None:
    found = actions({"stages": {"boot": [EVERYTHING]}})
    verbs = [one.verb for one in found if isinstance(one, SetUnits)]
    assert verbs == ["enable", "disable", "mask", "start"]


def test_every_key_that_the_schema_lists_is_executed() -> None:
    """A key is executed, or it leaves the schema."""
    listed = set(schema("native")["$defs"]["step"]["properties"])
    step = {**EVERYTHING, "environment_file": "/etc/e"}
    assert listed <= set(step), "this test must know every key"
    for key in listed - {"name", "if", "environment_file"}:
        found = plan_stage(document({"stages": {"boot": [{key: step[key]}]}}), "boot")[0]
        assert found.actions or found.only, key
        assert not any(isinstance(one, NotExecuted) for one in found.actions), key


def test_every_stage_that_the_schema_lists_is_run() -> None:
    listed = schema("native")["properties"]["stages"]["properties"]
    for name in listed:
        stage = name.removesuffix(".before").removesuffix(".after")
        assert stage in STAGES
        found = plan_stage(document({"stages": {name: [EVERYTHING]}}), stage)
        assert [step.stage for step in found] == [name]


def test_before_comes_before_and_after_comes_after() -> None:
    stages = {name: [{"name": name}] for name in ("boot.after", "boot", "boot.before")}
    found = plan_stage(document({"hostname": "h", "stages": stages}), "boot")
    assert [step.name for step in found] == [
        "boot.before",
        "the config's own keys",
        "boot",
        "boot.after",
    ]


def test_keys_that_nobody_knows_are_reported() -> None:
    step = {"git": {"url": "x"}, "systemctl": {"overrides": []}, "files": [BROKEN]}
    found = [one for one in actions({"stages": {"boot": [step]}}) if isinstance(one, NotExecuted)]
    assert len(found) == 3
    assert {"git", "systemctl.overrides"} <= {one.key for one in found}


def test_a_stage_of_kairos_without_a_turn_here_is_reported_once() -> None:
    listed = schema("kairos")["properties"]["stages"]["properties"]
    ours = schema("native")["properties"]["stages"]["properties"]
    names = [name for name in listed if name.split(".")[0] not in ours]
    assert {"rootfs", "before-install.after", "kairos-install.pre"} <= set(names)
    config = {"stages": {name: [{"commands": ["x"]}] for name in names}}
    found = actions(config, "after-install")
    assert [one.key for one in found] == [f"stages.{name}" for name in names]
    assert not any(actions(config, stage) for stage in STAGES if stage != "after-install")


@pytest.mark.parametrize("name", ["mine", "boot.before", "after-install", "kairos-install"])
def test_our_stages_and_those_of_ones_own_are_not_reported(name: str) -> None:
    found = actions({"stages": {name: [{"commands": ["x"]}]}}, "after-install")
    assert not any(isinstance(one, NotExecuted) for one in found)


def test_a_stage_of_kairos_runs_when_it_is_asked_for() -> None:
    config = {"stages": {"kairos-install.after": [{"commands": ["x"]}]}}
    assert "kairos-install" in known_stages(document(config))
    assert actions(config, "kairos-install")


BROKEN = {"path": "/etc/f", "content": "not base64 \x00 gz", "encoding": "gz+b64"}


def test_the_keys_at_the_top_in_their_order() -> None:
    config = {
        "write_files": [{"path": "/a", "content": "x", "owner": "ana:users"}],
        "ntp": {"servers": ["a", "b"]},
        "users": [{"name": "ana"}],
        "environment": {"A": True},
        "sysctl": {"x.y": 1},
        "hostname": "h",
    }
    found = actions(config)
    assert [type(one) for one in found] == [
        SetHostname,
        EnsureUser,
        WriteFile,
        SetKernelSettings,
        SetEnvironment,
        SetTime,
    ]
    assert found[2].owner == "ana"
    assert found[2].group == "users"
    assert found[4].values == {"A": "true"}
    assert found[5].settings == {"NTP": "a b"}


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in ("boot", "network")])
def test_only_boot_and_network_have_keys_at_the_top(stage: str) -> None:
    config = load_file(EXAMPLES / "files-and-stages.yaml")
    assert plan_stage(config, stage) == ()


def test_commands_are_words_or_text() -> None:
    found = actions({"runcmd": [["touch", "/a b"], "echo $HOME"]}, "network")
    assert [one.command for one in found] == ["touch '/a b'", "echo $HOME"]
    assert isinstance(found[0], RunCommand)
    assert "touch" not in repr(found)


KEY = "ssh-ed25519 AAAA x"


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        ([("root-like", ["admin"]), ("other", [])], {"root-like"}),
        ([("a", ["wheel"]), ("b", ["sudo"]), ("c", [])], {"a", "b"}),
        ([("a", []), ("b", ["docker"])], {"a", "b"}),
        ([("root", []), ("b", [])], {"root"}),
    ],
)
def test_keys_at_the_top_belong_to_those_who_may_become_root(
    users: list[tuple[str, list[str]]], expected: set[str]
) -> None:
    listed = [{"name": name, "groups": groups} for name, groups in users]
    found = actions({"users": listed, "ssh_authorized_keys": [KEY]})
    assert {one.name for one in found if one.keys == (KEY,)} == expected


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("", "hello"),
        ("text/plain", "hello"),
        ("b64", base64.b64encode(b"hello").decode()),
        ("base64", base64.b64encode(b"hello").decode()),
        ("gz+b64", base64.b64encode(gzip.compress(b"hello", mtime=0)).decode()),
        ("gzip+base64", base64.b64encode(gzip.compress(b"hello", mtime=0)).decode()),
    ],
)
def test_contents(encoding: str, content: str) -> None:
    file = {"path": "/a", "content": content, "encoding": encoding, "permissions": "0600"}
    (found,) = actions({"write_files": [file]})
    assert (found.content, found.mode) == (b"hello", 0o600)


def test_a_small_gzip_that_holds_a_large_nothing() -> None:
    bomb = base64.b64encode(gzip.compress(bytes(17 * 2**20))).decode()
    file = {"path": "/a", "content": bomb, "encoding": "gz+b64"}
    (found,) = actions({"write_files": [file]})
    assert isinstance(found, NotExecuted)


@pytest.mark.parametrize(
    ("said", "owner", "group"),
    [
        ({}, "root", ""),
        ({"owner": "ana"}, "ana", ""),
        ({"owner": "ana:staff"}, "ana", "staff"),
        ({"owner": 1000, "group": 100}, "1000", "100"),
        ({"owner_string": "ana:staff"}, "ana", "staff"),
    ],
)
def test_owners(said: dict[str, Any], owner: str, group: str) -> None:
    (found,) = actions({"stages": {"boot": [{"files": [{"path": "/a", **said}]}]}})
    assert (found.owner, found.group) == (owner, group)


def test_own_stages_run_only_when_asked_for() -> None:
    config = document({"stages": {"mine.before": [], "boot": [{"commands": ["x"]}]}})
    assert known_stages(config) == (*STAGES, "mine")


def test_the_text_for_people_holds_no_content() -> None:
    config = load_file(EXAMPLES / "files-and-stages.yaml")
    lines = [line for stage in STAGES for line in text_of(plan_stage(config, stage))]
    text = "\n".join(lines)
    assert "Write /etc/motd, mode 0644" in text
    assert "Property of" not in text
    assert "touch" not in text
    assert "network: Tell the shop's page (if its condition holds)" in lines


def test_the_rest_of_the_types() -> None:
    found = actions({"stages": {"boot": [EVERYTHING]}})
    assert isinstance(found[0], SetNameservers)
    assert isinstance(found[8], AuthorizeKeys)
    assert found[6].settings == {"a.b": "1"}
