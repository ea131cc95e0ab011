"""R4: two operators with one photo, 1,000 times over real sockets: one wins, one hears Taken."""

from __future__ import annotations

import pytest

from pairing.testing.network import loopback_transport
from pairing.testing.races import race_many


@pytest.mark.timeout(240)
@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
async def test_races(part: int) -> None:
    results = await race_many(loopback_transport(), nodes=25, races=10)
    assert [race.winners for race in results] == [1] * 250
    assert [race.taken for race in results] == [1] * 250
    assert not any(race.others for race in results)
