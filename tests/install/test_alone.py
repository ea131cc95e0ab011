"""An installation without an operator: whose recovery key would be lost is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from node import alone
from node.facts import recorded
from node.recoverykey import RecoveryKey
from node.steps import EscrowKey
from node.system.medium import image_in
from node.testing.ground import IMAGE, Ground
from pairing import errors
from pairing.facts import Facts

MACHINE = Path(__file__).parents[2] / "examples/machines/virtio-vm.json"
CONFIG = """#cloud-config
hostname: shop-17
users:
  - name: admin
    groups: [admin]
    passwd: kairos
install:
  encrypt: {}
"""


@pytest.fixture
def facts() -> Facts:
    """A machine that was started from a stick of ours."""
    image = image_in(json.dumps(IMAGE).encode())
    assert image is not None
    return replace(recorded(MACHINE), image=replace(image, policies=True))


def plan_for(tmp_path: Path, facts: Facts, encrypt: str = "tpm2") -> alone.Alone:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG.format(encrypt))
    return alone.planned(path, facts)


def test_the_config_is_kept_without_the_plain_password(tmp_path: Path, facts: Facts) -> None:
    made = plan_for(tmp_path, facts)
    assert b"passwd: kairos" not in made.config
    assert b"$" in made.config
    assert "kairos" not in repr(made).replace("kairos-register", "")


def test_the_same_config_is_the_same_release(tmp_path: Path, facts: Facts) -> None:
    first, other = (plan_for(tmp_path, facts, encrypt) for encrypt in ("tpm2", "recovery-only"))
    assert first.plan.release != other.plan.release


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (None, "--recovery-key-to"),
        ("run/key", "lost at a restart"),
        ("mnt/gone/key", "no such folder"),
        ("mnt/old", "exists already"),
    ],
)
def test_a_key_that_would_be_lost_is_refused(
    ground: Ground, facts: Facts, where: str | None, said: str
) -> None:
    ground.mounts["/mnt"] = "vfat"
    ground.plant_mounts()
    ground.write("mnt/old", b"x")
    made = plan_for(ground.root / "mnt", facts)
    path = None if where is None else ground.root / where
    with pytest.raises(errors.UsageError, match=said):
        alone.require_installable(facts, made.plan, path, ground.doors)
    alone.require_installable(facts, made.plan, ground.root / "mnt/new", ground.doors)


def test_without_encryption_there_is_no_key(ground: Ground, facts: Facts) -> None:
    ground.write("mnt/x", b"")
    made = plan_for(ground.root / "mnt", facts, "none")
    alone.require_installable(facts, made.plan, None, ground.doors)


def test_away_from_our_medium_nothing_is_installed(ground: Ground) -> None:
    facts = recorded(MACHINE)
    ground.write("mnt/x", b"")
    made = plan_for(ground.root / "mnt", facts, "none")
    with pytest.raises(errors.ImageMissing):
        alone.require_installable(facts, made.plan, None, ground.doors)


async def test_the_key_is_in_the_file_before_the_first_write(ground: Ground) -> None:
    path = ground.write("mnt/x", b"").with_name("shop.key")
    key = RecoveryKey.new()
    await alone._kept_in(path)(EscrowKey(volumes=()), key)
    assert path.read_bytes() == key.passphrase
    assert path.stat().st_mode & 0o777 == 0o600
