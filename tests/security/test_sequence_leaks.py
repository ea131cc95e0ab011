"""R10, short: many pairings one after another in one process leave nothing behind."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from pairing.testing.network import loopback_transport
from pairing.testing.races import race_many

WARM_UP, ROUNDS = 5, 60
GROWTH = 20 * 1024 * 1024


def resident() -> int:
    """Bytes of memory that this process really uses."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.timeout(180)
@pytest.mark.slow
async def test_pairings_leave_no_files_and_little_memory() -> None:
    transport = loopback_transport()
    await race_many(transport, nodes=WARM_UP, races=1, operators=1)
    gc.collect()
    files, memory = open_files(), resident()
    for _ in range(ROUNDS // 10):
        results = await race_many(transport, nodes=10, races=1, operators=1)
        assert [race.winners for race in results] == [1] * 10
    gc.collect()
    assert open_files() <= files
    assert resident() - memory < GROWTH
