"""R10: one process, 500 pairings one after another: nothing stays behind."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from cli.testing.shop import Shop
from pairing.testing.measured import TOP, Used, used

Part = Any
PAIRINGS = 500
GROWTH = 20.0
"""MiB."""
MACHINE = TOP / "examples" / "machines" / "fanless-emmc.json"
CONFIG = TOP / "examples" / "configs" / "minimal.yaml"


def now() -> Used:
    gc.collect()
    return used()


@pytest.mark.soak(share=0.1)
async def test_pairings_leave_nothing_behind(tmp_path: Path, part: Part) -> None:
    shop = Shop(tmp_path, MACHINE, CONFIG)
    await one(shop)  # everything is imported, every cache has its first entry
    before, sizes = now(), []
    for count in range(1, PAIRINGS + 1):
        await one(shop)
        if count % 25 == 0 or part.over:
            sizes.append(round(now().resident, 1))
            part.kept.update(
                asked=PAIRINGS, pairings=count, resident_before_mib=round(before.resident, 1),
                resident_mib=sizes, open_files_before=before.files, open_files=now().files,
            )  # fmt: skip
        if part.over:
            break
    after = now()
    assert after.files <= before.files
    assert after.resident - before.resident <= GROWTH


async def one(shop: Shop) -> None:
    async with shop.node() as agent:
        await shop.pair(agent)
