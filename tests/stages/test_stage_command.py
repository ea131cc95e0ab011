"""`kairos-node stage` as a person or a unit calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.stages.apply import outcome_from_json
from node.stages.command import stage
from pairing import errors

CONFIG = """#cloud-config
hostname: shop-17
install: {nousers: true}
stages:
  after-install:
    - files: [{path: /srv/once, content: x}]
  boot:
    - files: [{path: /srv/each, content: x}]
  mine:
    - files: [{path: /srv/mine, content: x}]
"""


def call(root: Path, *words: str, config: str = CONFIG) -> Result:
    file = root.parent / "config.yaml"
    file.write_text(config)
    arguments = [*words, "--config", str(file), "--root", str(root)]
    return CliRunner().invoke(stage, arguments)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "srv").glob("*"))


def test_a_stage_is_applied_and_its_outcome_kept(system: Path) -> None:
    done = call(system, "boot")
    assert done.exit_code == 0, done.output
    assert "stage-boot 1/2 0/1 the config's own keys" in done.output
    assert (system / "etc/hostname").read_text() == "shop-17\n"
    kept = system / "run/kairos-register/stages/boot.json"
    assert outcome_from_json(kept.read_text()).failures == ()


def test_after_install_is_done_with_the_first_boot_only(system: Path) -> None:
    call(system, "boot")
    assert names(system) == ["each", "once"]
    for name in names(system):
        (system / "srv" / name).unlink()
    call(system, "boot")
    assert names(system) == ["each"]


def test_stages_that_only_kairos_applies_fail_with_the_first_boot_only(system: Path) -> None:
    config = f"{CONFIG}  after-upgrade: [{{commands: [x]}}]\n"
    first = call(system, "boot", config=config)
    assert isinstance(first.exception, errors.StageIncomplete)
    assert "stages.after-upgrade" in str(first.exception)
    assert call(system, "boot", config=config).exit_code == 0


def test_a_stage_of_ones_own(system: Path) -> None:
    assert call(system, "mine").exit_code == 0
    assert names(system) == ["mine"]


def test_a_rehearsal_changes_nothing(system: Path) -> None:
    done = call(system, "boot", "--dry-run")
    assert "Name the machine shop-17" in done.output
    assert not (system / "srv").exists()
    assert not (system / "etc/hostname").exists()


@pytest.mark.parametrize(
    ("words", "config", "error"),
    [
        (("nonsense",), CONFIG, errors.UsageError),
        (("boot",), "#cloud-config\nhostname: [1]\n", errors.StageIncomplete),
        (("boot",), "#cloud-config\nusers: [1]\n", errors.ConfigError),
        (("boot",), CONFIG.replace("/srv/each", "/boot/x"), errors.StageIncomplete),
    ],
)
def test_mistakes_have_names(
    system: Path, words: tuple[str, ...], config: str, error: type[errors.KnownError]
) -> None:
    done = call(system, *words, config=config)
    assert isinstance(done.exception, error)


def test_rules_that_came_later_do_not_lock_people_out(system: Path) -> None:
    """After an upgrade: what is not valid any more is told, and all that can be done is done."""
    old = CONFIG + "no-longer-known: 1\n"
    done = call(system, "boot", config=old)
    assert done.exit_code == 0
    assert "not valid" in done.output
    assert "no-longer-known" in done.output
    assert (system / "etc/hostname").read_text() == "shop-17\n"


def test_a_locked_machine_runs_no_config(system: Path) -> None:
    """Its volume is not there: neither is a config."""
    arguments = ["boot", "--root", str(system), "--config", str(system / "oem/90_custom.yaml")]
    done = CliRunner().invoke(stage, arguments)
    assert isinstance(done.exception, errors.ConfigFileMissing)
