"""The inbox with simulated photos of the worst kind, which take seconds each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cli.inbox.arrivals import Found
from cli.inbox.intake import Intake, Result
from cli.inbox.ledger import Ledger
from pairing.qr.read import PhotoReader
from pairing.testing.consolecodes import ConsoleCode, show
from pairing.testing.photos import photograph
from pairing.testing.tokens import random_token
from tests.cli.inboxes import node_of

pytestmark = pytest.mark.soak

SCREEN = ConsoleCode(name="own v5-M", version=5, level="M")
SEEDS = (3, 29, 53)
"""Of photos at severity 5 of this screen that nobody reads alone."""


@pytest.mark.timeout(600)
def test_three_photos_at_severity_5_are_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    shown = show(SCREEN, 0, random_token(random.Random(f"{SCREEN.name}/0"), hint=True))
    with Ledger(tmp_path) as ledger, PhotoReader() as reader:
        reader._worker._seconds = reader._grid._seconds = 300  # a busy machine takes its time
        intake = Intake(folder=tmp_path, ledger=ledger, reader=reader)
        for number, seed in enumerate(SEEDS):
            path = tmp_path / f"{number}.jpg"
            path.write_bytes(photograph(shown.picture, 5, seed, shown.area))
            (alone,) = intake.take(Found(path, taken=number))
            assert (alone.result, alone.waits) == (Result.UNREADABLE, True), "the control"
        found = list(intake.together())
        assert list(intake.together()) == []
    assert [(one.photo.name, one.result, one.wanted) for one in found] == [
        ("2.jpg", Result.NEW, True),
        ("1.jpg", Result.SAME, False),
        ("0.jpg", Result.SAME, False),
    ]
    assert {one.photo.node for one in found} == {node_of(shown.text)}
