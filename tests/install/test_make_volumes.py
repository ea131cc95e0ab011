"""make-volumes: heads of encrypted volumes in memory, with all their slots, before any write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.testing.ground import DONE, Call, Ground
from pairing import errors
from pairing.process import Result

from .conftest import MakePlan, assert_not_told, run


async def test_heads_are_made_in_memory_with_the_key_as_a_file(
    ground: Ground, make_plan: MakePlan
) -> None:
    seen: dict[str, Any] = {}

    def formatting(call: Call) -> Result:
        named = dict(zip(call.argv, call.argv[1:], strict=False))
        key, head = Path(named["--key-file"]), Path(call.argv[-1])
        seen[named["--label"]] = (key.read_bytes(), key.stat().st_mode & 0o777, head)
        assert head.stat().st_size == 16 << 20
        assert head.stat().st_mode & 0o777 == 0o600
        return DONE

    ground.programs.answers["cryptsetup luksFormat"] = formatting
    await run(ground, make_plan(), "make-volumes")
    folder = ground.doors.volumes
    key = ground.key.passphrase
    assert seen == {name: (key, 0o600, folder / name) for name in ("KR_OEM", "KR_PERSISTENT")}
    assert_not_told(ground, key)


@pytest.mark.parametrize(
    ("mode", "bound"),
    [
        ("tpm2", 2),
        ("recovery-only", 0),
        ({"mode": "tpm2", "unlock": "approval"}, 0),
        ({"mode": "tpm2+tang", "tang": "http://tang.example"}, 0),
    ],
)
async def test_the_tpm_is_bound_by_what_the_plan_says_only(
    ground: Ground, make_plan: MakePlan, mode: Any, bound: int
) -> None:
    """With Tang or approval, a slot that the TPM opens alone would be a way around."""
    await run(ground, make_plan(mode), "make-volumes")
    calls = ground.programs.called("systemd-cryptenroll")
    assert len(calls) == bound
    for argv in calls:
        assert f"--tpm2-pcrs=7+12+15:sha256={64 * '0'}" in argv
        assert "--tpm2-public-key-pcrs=11" in argv


async def test_a_tpm_that_fails_is_found_before_the_disk_is_touched(
    ground: Ground, make_plan: MakePlan
) -> None:
    ground.programs.answers["systemd-cryptenroll"] = Result(1, b"", b"Failed to seal.")
    plan = make_plan()
    with pytest.raises(errors.CommandFailed, match="systemd-cryptenroll"):
        await run(ground, plan, "make-volumes")
    names = [step.name for step in plan.steps]
    assert names.index("make-volumes") < names.index("wipe-tables")


async def test_run_again_it_starts_with_blank_heads(ground: Ground, make_plan: MakePlan) -> None:
    old = ground.write("run/kairos-register/volumes/KR_OEM", b"half" * 9999)
    await run(ground, make_plan(), "make-volumes")
    assert old.read_bytes() == bytes(16 << 20)
