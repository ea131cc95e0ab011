"""A stage on a scratch system: files, accounts, commands; failures; no secret anywhere."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from node.stages.actions import LoadModules, SetUnits
from node.stages.apply import COMMAND_SECONDS, Outcome, apply, outcome_from_json
from node.stages.command import due
from node.stages.doing import carry_out
from pairing import errors, process
from pairing.config import load_file
from tests.stages.conftest import Ran, document, tree

EXAMPLES = Path(__file__).parents[2] / "examples" / "configs"
UNIT = Path(__file__).parents[2] / "node/units/kairos-stage-boot.service"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEQpkwZQBKoeTEj03QFYGUwCNJvMZkzZbkAOommRio1R operator"
HASH = "$6$rounds=100000$abcdefgh$" + "a" * 86
CANARY = "canary7f3a9c51"


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_a_whole_example(system: Path, ran: Ran) -> None:
    config = load_file(EXAMPLES / "files-and-stages.yaml")
    outcome = apply("boot", config, root=system, run=ran)
    assert outcome.failures == ()
    etc = system / "etc"
    assert (etc / "hostname").read_text() == "box-1\n"
    assert "127.0.1.1 box-1\n" in (etc / "hosts").read_text()
    assert (system / "proc/sys/kernel/hostname").read_text() == "box-1\n"
    assert "Call +351" in (etc / "motd").read_text()
    assert (etc / "example/logo.bin").read_bytes().startswith(b"\x89PNG")
    assert (etc / "sysctl.d/90-kairos.conf").read_text() == "net.ipv4.ip_forward = 1\n"
    assert (etc / "environment").read_text() == 'HTTPS_PROXY="http://proxy.example:3128"\n'
    time = (etc / "systemd/timesyncd.conf.d/90-kairos.conf").read_text()
    assert time == "[Time]\nNTP=time.example\n"
    rules = etc / "sudoers.d/90-kairos"
    assert rules.read_text() == "%admin ALL=(ALL:ALL) NOPASSWD: ALL\n"
    assert mode(rules) == "0o440"
    keys = system / "home/admin/.ssh/authorized_keys"
    assert "operator@example" in keys.read_text()
    assert [mode(path) for path in (keys, keys.parent, keys.parents[1])] == [
        "0o600",
        "0o700",
        "0o700",
    ]
    assert mode(etc / "shadow") == "0o640"


def test_twice_is_the_same_as_once(system: Path, ran: Ran) -> None:
    config = load_file(EXAMPLES / "files-and-stages.yaml")
    first = apply("boot", config, root=system, run=ran)
    before = tree(system)
    assert apply("boot", config, root=system, run=ran) == first
    assert tree(system) == before


def test_another_root_touches_no_running_kernel_and_no_service(system: Path, ran: Ran) -> None:
    step = {
        "modules": ["loop"],
        "systemctl": {"enable": ["a.timer"], "start": ["b.service"]},
        "timesyncd": {"NTP": "x"},
        "sysctl": {"kernel.no_such": 1},
    }
    outcome = apply("fs", document({"stages": {"fs": [step]}}), root=system, run=ran)
    assert outcome.failures == ()
    assert ran.programs == [f"systemctl --root={system} enable -- a.timer"]


@pytest.mark.parametrize(
    ("stage", "seconds"),
    [("fs", 120.0), ("after-install", 120.0), ("boot", 120.0), ("network", 600.0)],
)
def test_a_command_has_two_minutes_while_the_start_waits(
    system: Path, ran: Ran, stage: str, seconds: float
) -> None:
    apply(stage, document({"stages": {stage: [{"commands": ["true"]}]}}), root=system, run=ran)
    assert [how["seconds"] for _, how in ran.calls] == [seconds]


def test_the_units_deadline_has_room_for_a_few_commands_at_their_slowest(system: Path) -> None:
    (deadline,) = re.findall(r"^TimeoutStartSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert sum(3 * COMMAND_SECONDS[stage] for stage in due("boot", system)) < float(deadline)


def test_what_fails_is_told_and_the_rest_goes_on(system: Path, ran: Ran) -> None:
    steps = [
        {"name": "first", "commands": ["echo broken pipe 1>&2; exit 3", "touch done-1"]},
        {"name": "second", "files": [{"path": "/boot/x"}, {"path": "/srv/y", "content": "y"}]},
        {"name": "third", "git": {"url": "x"}, "hostname": "h"},
    ]
    outcome = apply("boot", document({"stages": {"boot": steps}}), root=system, run=ran)
    assert [(one.step, one.code) for one in outcome.failures] == [
        ("first", "command-unsuccessful"),
        ("second", "path-refused"),
        ("third", "key-not-executed"),
    ]
    assert "Status 3. broken pipe" in outcome.failures[0].reason
    assert (system / "srv/y").read_text() == "y"
    assert (system / "etc/hostname").read_text() == "h\n"
    assert outcome.done == 3
    with pytest.raises(errors.StageIncomplete, match="first") as caught:
        outcome.require()
    assert caught.value.exit_code == 7
    Path("done-1").unlink()


def test_conditions(system: Path, ran: Ran) -> None:
    (system / "etc/os-release").write_text('ID=debian\nVERSION_ID="13"\n')
    conditions: list[tuple[dict[str, Any], bool]] = [
        ({"if": "true"}, True),
        ({"if": "false"}, False),
        ({"if": "[ ! -e /no/such ] && test 1 = 1"}, True),
        ({"only_os": "debian|ubuntu"}, True),
        ({"only_os": "fedora"}, False),
        ({"only_os_version": "^13$"}, True),
        ({"only_arch": "s390x"}, False),
        ({"only_service_manager": "openrc"}, False),
        ({"only_service_manager": "systemd"}, True),
        ({"node": "no-such-host"}, False),
        ({"node": os.uname().nodename}, True),
    ]
    steps = [
        {"name": str(number), "files": [{"path": f"/srv/{number}"}], **condition}
        for number, (condition, _) in enumerate(conditions)
    ]
    outcome = apply("boot", document({"stages": {"boot": steps}}), root=system, run=ran)
    made = sorted(path.name for path in (system / "srv").iterdir())
    holding = [str(number) for number, (_, holds) in enumerate(conditions) if holds]
    assert made == sorted(holding)
    assert outcome.failures == ()
    assert set(outcome.left_out) == {str(n) for n, (_, holds) in enumerate(conditions) if not holds}


def test_a_condition_that_cannot_be_decided_is_a_failure(system: Path, ran: Ran) -> None:
    step = {"node": "(", "files": [{"path": "/srv/x"}]}
    outcome = apply("boot", document({"stages": {"boot": [step]}}), root=system, run=ran)
    assert len(outcome.failures) == 1
    assert not (system / "srv").exists()


def test_a_command_reads_nothing_and_is_in_no_list_of_processes(system: Path, ran: Ran) -> None:
    step = {"commands": [f"cat; echo {CANARY} > {system}/out # a comment"]}
    outcome = apply("boot", document({"stages": {"boot": [step]}}), root=system, run=ran)
    assert outcome.failures == ()
    assert (system / "out").read_text() == f"{CANARY}\n"
    assert ran.programs == [f"chroot {system} /bin/sh -s"]


def test_no_secret_is_in_reports_failures_or_the_lists_of_processes(system: Path, ran: Ran) -> None:
    """Each place of a config that may hold one has its own canary; each command prints them all."""
    names = ["env", "file", "token", "command", "step"]
    canaries = {name: f"{CANARY}-{name}" for name in names}
    print_all = "; ".join(f"printf '%s\\n' {secret}" for secret in canaries.values())
    config = document(
        {
            "hostname": "shop",
            "environment": {"API_KEY": canaries["env"]},
            "write_files": [{"path": "/etc/a", "content": f"key={canaries['file']}\nother line\n"}],
            "k3s": {"enabled": True, "env": {"K3S_TOKEN": canaries["token"]}},
            "users": [{"name": "ana", "passwd": HASH, "ssh_authorized_keys": [KEY]}],
            "stages": {"boot": [{"commands": [f"{print_all}; echo not a secret; exit 1"]}]},
            "runcmd": [["echo", canaries["command"]]],
        }
    )
    said: list[tuple[Any, ...]] = []
    outcome = apply("boot", config, root=system, run=ran, report=lambda *all: said.append(all))
    assert len(outcome.failures) == 1
    everything = repr((said, outcome, outcome.to_json(), ran.programs))
    assert CANARY not in everything
    assert HASH not in everything
    assert "not a secret" in outcome.failures[0].reason
    environments = [how.get("environment") for _, how in ran.calls]
    assert set(environments) == {None}
    # The positive control: the program did print them, and without the scrub it would be kept.
    text = ran.calls[-1][1]["stdin"]
    assert CANARY in process.run(["/bin/sh", "-s"], seconds=5, stdin=text, check=False).text()


def test_keys_are_added_and_those_of_the_user_stay(system: Path, ran: Ran) -> None:
    config = document({"users": [{"name": "ana", "ssh_authorized_keys": [KEY]}]})
    apply("boot", config, root=system, run=ran)
    keys = system / "home/ana/.ssh/authorized_keys"
    keys.write_text(f"ssh-rsa AAAA mine\n{KEY}\n")
    apply("boot", config, root=system, run=ran)
    assert keys.read_text() == f"ssh-rsa AAAA mine\n{KEY}\n"


def test_a_users_link_does_not_lead_root_astray(system: Path, ran: Ran) -> None:
    """A user who may not become root must not get there by a link in the own home."""
    config = document({"users": [{"name": "eve", "ssh_authorized_keys": [KEY]}]})
    apply("boot", config, root=system, run=ran)
    ssh = system / "home/eve/.ssh"
    (ssh / "authorized_keys").unlink()
    (ssh / "authorized_keys").symlink_to("/etc/shadow")
    before = (system / "etc/shadow").read_bytes()
    apply("boot", config, root=system, run=ran)
    assert (system / "etc/shadow").read_bytes() == before
    (ssh / "authorized_keys").unlink()
    ssh.rmdir()
    ssh.symlink_to("/etc")
    outcome = apply("boot", config, root=system, run=ran)
    assert [one.code for one in outcome.failures] == ["path-refused"]
    assert not (system / "etc/authorized_keys").exists()


def test_a_key_for_nobody_is_told(system: Path, ran: Ran) -> None:
    step = {"authorized_keys": {"nobody-here": [KEY]}}
    outcome = apply("boot", document({"stages": {"boot": [step]}}), root=system, run=ran)
    assert [one.code for one in outcome.failures] == ["account-invalid"]


def test_appending_happens_once(system: Path, ran: Ran) -> None:
    file = {"path": "/etc/hosts", "content": "192.0.2.1 a\n", "append": True}
    (system / "etc/hosts").write_text("127.0.0.1 localhost\n")
    for _ in range(2):
        apply("boot", document({"write_files": [file]}), root=system, run=ran)
    assert (system / "etc/hosts").read_text() == "127.0.0.1 localhost\n192.0.2.1 a\n"


@pytest.mark.parametrize(
    "setting",
    [
        {"sysctl": {"a.b": "1\nkernel.core_pattern = |/bin/x"}},
        {"environment": {"A": "1\nLD_PRELOAD=/x"}},
        {"environment": {"A B": "1"}},
        {"stages": {"boot": [{"timesyncd": {"NTP": "a\n[x]"}}]}},
        {"stages": {"boot": [{"dns": {"nameservers": ["a\noptions x"]}}]}},
        {"stages": {"boot": [{"sysctl": {"../../etc/passwd": "x"}}]}},
    ],
)
def test_a_value_is_one_line(system: Path, ran: Ran, setting: dict[str, Any]) -> None:
    before = tree(system)
    outcome = apply("boot", document(setting), root=system, run=ran)
    assert len(outcome.failures) == 1 or "../" in repr(setting)
    changed = {path for path, what in tree(system).items() if before.get(path) != what}
    assert changed <= {"etc/sysctl.d", "etc/sysctl.d/91-kairos-stages.conf"}


def test_the_outcome_goes_to_the_agent(system: Path, ran: Ran, tmp_path: Path) -> None:
    outcome = apply("boot", document({"stages": {"boot": [{"git": 1}]}}), root=system, run=ran)
    outcome.keep(tmp_path / "kept")
    kept = tmp_path / "kept/boot.json"
    assert outcome_from_json(kept.read_text()) == outcome
    assert mode(kept.parent) == "0o700"
    with pytest.raises(ValueError, match="outcome"):
        outcome_from_json(json.dumps({"stage": "x"}))
    assert outcome_from_json(Outcome(stage="x").to_json()) == Outcome(stage="x")


def test_an_owner_that_no_system_has_keeps_nothing_else_back(system: Path, ran: Ran) -> None:
    files = [{"path": "/srv/x", "owner": 99999999999}, {"path": "/srv/y"}]
    outcome = apply("boot", document({"write_files": files}), root=system, run=ran)
    (failure,) = outcome.failures
    assert failure.code == errors.KeyNotExecuted.slug
    assert "OverflowError" in failure.reason
    assert (system / "srv/y").exists()


@pytest.mark.root
def test_owners_are_those_of_the_config(system: Path, ran: Ran) -> None:
    users = [{"name": "ana", "uid": 4242}]
    files = [{"path": "/srv/x", "owner": "ana"}, {"path": "/srv/y", "owner": "1:27"}]
    folder = {"directories": [{"path": "/srv/d", "owner": 5, "group": 6, "permissions": 0o750}]}
    config = {"users": users, "write_files": files, "stages": {"boot": [folder]}}
    assert apply("boot", document(config), root=system, run=ran).failures == ()
    owners = {
        path.name: (path.stat().st_uid, path.stat().st_gid) for path in (system / "srv").iterdir()
    }
    assert owners == {"x": (4242, 4242), "y": (1, 27), "d": (5, 6)}
    home = (system / "home/ana").stat()
    assert (home.st_uid, home.st_gid) == (4242, 4242)


@pytest.mark.parametrize(
    ("wanted_by", "started"),
    [("multi-user.target", True), ("shutdown.target", False), ("", False)],
)
def test_what_is_enabled_is_started_if_this_boot_wants_it(wanted_by: str, started: bool) -> None:
    """On the running system; only systemctl is called, and here it is a stand-in."""
    calls: list[str] = []

    def systemctl(argv: Sequence[str], **how: Any) -> process.Result:
        calls.append(" ".join(argv))
        return process.Result(0, f"WantedBy={wanted_by}\nRequiredBy=\n".encode(), b"")

    carry_out(SetUnits(verb="enable", units=("a.service",)), Path("/"), systemctl)
    assert calls[0] == "systemctl enable -- a.service"
    assert ("systemctl --no-block start -- a.service" in calls) is started


def test_modules_are_loaded_one_by_one() -> None:
    calls: list[str] = []

    def modprobe(argv: Sequence[str], **how: Any) -> process.Result:
        calls.append(" ".join(argv))
        return process.Result(0, b"", b"")

    carry_out(LoadModules(names=("loop", "dummy numdummies=2")), Path("/"), modprobe)
    assert calls == ["modprobe -- loop", "modprobe -- dummy numdummies=2"]
