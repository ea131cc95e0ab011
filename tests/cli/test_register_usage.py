"""What `kairos-register` says before it talks to anybody, and codes that need no node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli import screen
from cli.register import goal_of
from pairing import errors
from pairing.config import load
from pairing.errors import ExitCode
from pairing.events import State

Station = Any


@pytest.mark.parametrize(
    ("wait", "poweroff", "goal"),
    [
        (None, False, State.INSTALLED),
        (None, True, State.WRITTEN),
        ("planned", True, State.PLANNED),
        ("ready", False, State.READY),
    ],
)
def test_goals(wait: str | None, poweroff: bool, goal: State) -> None:
    assert goal_of(wait, poweroff) is goal


@pytest.mark.parametrize(
    ("arguments", "reboot", "poweroff"),
    [
        (["--wait", "written"], False, False),
        (["--wait", "written", "--reboot"], True, False),
        (["--wait", "installed"], True, False),
        (["--wait", "planned", "--set", "install.reboot=true"], True, False),
        (["--poweroff"], False, True),
        (["--poweroff", "--wait", "planned"], False, True),
        (["--wait", "written", "--set", "install.poweroff=true"], False, True),
    ],
)
def test_what_the_machine_is_told_to_do_afterwards(
    station: Station, arguments: list[str], reboot: bool, poweroff: bool
) -> None:
    order = station.run(*arguments).order
    assert (order.reboot, order.poweroff) == (reboot, poweroff)


def test_packages_of_two_installations() -> None:
    from types import ModuleType

    import pairing

    stranger = ModuleType("node")
    stranger.__file__ = "/somewhere/else/node/__init__.py"
    with pytest.raises(errors.MixedInstallation, match="/somewhere/else"):
        screen.check_one_home(pairing, stranger)
    screen.check_one_home()


def test_1_a_bug(capfd: pytest.CaptureFixture[str]) -> None:
    import click

    @click.command()
    def broken() -> None:
        secret = "hunter2-canary"
        raise RuntimeError(secret)

    with pytest.raises(SystemExit) as left:
        run_with(broken, [])
    assert left.value.code == ExitCode.BUG
    said = capfd.readouterr().err
    assert "RuntimeError" in said
    assert "report it" in said
    assert "hunter2-canary" not in said, "values of a traceback may be secrets"


def run_with(program: Any, arguments: list[str]) -> None:
    import sys

    before, sys.argv = sys.argv, ["program", *arguments]
    try:
        screen.run(lambda: program, "program")
    finally:
        sys.argv = before


def test_8_some_of_several() -> None:
    assert screen.exit_code([0, 0]) == 0
    assert screen.exit_code([5]) == 5
    assert screen.exit_code([0, 5, 0]) == ExitCode.BATCH
    assert screen.exit_code([5, 5]) == ExitCode.BATCH
    assert screen.exit_code([0, 130]) == ExitCode.INTERRUPTED


def test_8_a_folder_with_a_bad_photo(station: Station) -> None:
    folder = station.home / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"no picture")
    (folder / "b.png").write_bytes(b"no picture either")
    (folder / "notes.txt").write_bytes(b"not looked at")
    said = station.register("-c", str(station.config), "--output", "json", str(folder))
    assert said.status == ExitCode.BATCH, said.err
    body = json.loads(said.out)
    assert body["exit"] == ExitCode.BATCH
    assert [Path(n["source"]).name for n in body["nodes"]] == ["a.jpg", "b.png"]
    assert {n["error"]["slug"] for n in body["nodes"]} == {"photo-format"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["photo.png"],
        ["--nonsense"],
        ["--wait", "soon", "-c", "CONFIG", "photo.png"],
        ["-c", "CONFIG", "--poweroff", "--wait", "ready", "photo.png"],
        ["-c", "CONFIG", "--poweroff", "--reboot", "photo.png"],
        ["-c", "CONFIG", "--relay", "::", "photo.png"],
        ["-c", "CONFIG", "--approve", "missing.yaml", "photo.png"],
        ["-c", "CONFIG", "no-such-photo.png"],
        ["-c", "CONFIG", "EMPTY"],
    ],
)
def test_2_usage(station: Station, arguments: list[str], capfd: Any) -> None:
    (station.home / "empty").mkdir()
    names = {"CONFIG": str(station.config), "EMPTY": str(station.home / "empty")}
    from cli.register import command

    with pytest.raises(SystemExit) as left:
        run_with(command, [names.get(a, a) for a in arguments])
    assert left.value.code == ExitCode.USAGE
    said = capfd.readouterr()
    assert said.err.startswith("error E1")
    assert "hint: " in said.err
    assert said.out == ""


def test_3_every_mistake_at_once(station: Station, capfd: Any) -> None:
    station.config.write_text("#cloud-config\nhostnam: x\nusers: 3\n")
    from cli.register import command

    with pytest.raises(SystemExit) as left:
        run_with(command, ["-c", str(station.config), "nothing.png"])
    assert left.value.code == ExitCode.CONFIG
    said = capfd.readouterr().err
    assert "shop.yaml:2:1: hostnam:" in said
    assert "Did you mean `hostname`?" in said
    assert "shop.yaml:3:" in said


def test_the_config_that_leaves_is_the_one_that_was_checked(station: Station) -> None:
    from cli import configs

    document, _ = configs.read([str(station.config)])
    body = configs.resolve(document)
    assert load(body).value == document.value


def test_3_a_value_that_nobody_can_give(capfd: Any) -> None:
    from cli.register import command

    config = Path(__file__).parents[2] / "examples" / "configs" / "per-shop.yaml"
    with pytest.raises(SystemExit) as left:
        run_with(command, ["-c", str(config), "nothing.png"])
    assert left.value.code == ExitCode.CONFIG
    assert "values.shop has no value" in capfd.readouterr().err
