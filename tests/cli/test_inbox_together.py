"""Bad photos of one screen in the inbox: together they are a machine."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cli.commands.inbox import Watch
from cli.inbox import intake as intakes
from cli.inbox.arrivals import Arrivals
from cli.inbox.intake import Intake
from cli.inbox.ledger import Ledger
from cli.sources import sources
from pairing import errors
from pairing.qr.read import PhotoReader
from pairing.testing.consolecodes import ConsoleCode, show
from pairing.testing.noisy import noisy_photo
from pairing.testing.photos import photograph
from pairing.testing.tokens import random_token
from tests.cli.inboxes import Inbox, node_of, picture, token

SCREEN = ConsoleCode(name="own v5-M", version=5, level="M")
SEEDS = (3, 29, 53)
"""Photos at severity 5 that nobody reads alone."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_photos_of_the_worst_kind(box: Inbox) -> None:
    shown = show(SCREEN, 0, random_token(random.Random(f"{SCREEN.name}/0"), hint=True))
    photos = [photograph(shown.picture, 5, seed, shown.area) for seed in SEEDS]
    box.drop("0.jpg", photos[0], hours_old=3)
    assert box.run() == errors.ExitCode.BATCH
    assert {line.get("result") for line in box.lines()[:-1]} == {"unreadable"}, "the control"
    for number, photo in enumerate(photos[1:], 1):
        box.drop(f"{number}.jpg", photo, hours_old=3 - number)
    assert box.run() == errors.ExitCode.DONE
    *lines, report = box.lines()
    assert [(line["photo"], line["result"], line["wanted"]) for line in lines] == [
        ("2.jpg", "new", True),
        ("1.jpg", "same", False),
        ("0.jpg", "same", False),
    ]
    assert report["send_back"] == []
    (machine,) = report["machines"]
    assert (machine["photo"], machine["photos"]) == ("2.jpg", 3)
    assert sorted(machine["sources"]) == ["0.jpg", "1.jpg", "2.jpg"]
    box.run("--once", "--output", "paths")
    said = box.capture.readouterr()
    (path,) = said.out.splitlines()
    assert {Path(source.name).name for source in sources([path])} == {"0.jpg", "1.jpg", "2.jpg"}
    assert node_of(shown.text) == machine["node"]
    assert "2.jpg (with 0.jpg, 1.jpg)" in said.err.replace("1.jpg, 0.jpg", "0.jpg, 1.jpg")
    (record,) = (box.data / "inbox").glob("*.jsonl")
    assert "EP1" not in record.read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_bad_photo_beside_a_good_one(box: Inbox) -> None:
    """It is newer, but shows nothing alone: the good one is used, until there is a better one."""
    box.drop("good.png", noisy_photo(token(2), 3, noise=10), hours_old=2)
    box.drop("later.png", noisy_photo(token(2), 12), hours_old=1)
    assert box.run() == errors.ExitCode.DONE
    *lines, report = box.lines()
    assert {line["photo"]: line["result"] for line in lines} == {
        "good.png": "new", "later.png": "same",
    }  # fmt: skip
    assert report["send_back"] == []
    box.run("--once", "--output", "paths")
    assert box.capture.readouterr().out.splitlines() == [str(box.folder / "good.png")]
    box.drop("clear.png", picture(token(2)), hours_old=0.5)
    assert box.results()["clear.png"] == "newer"
    box.run()
    (machine,) = box.lines()[-1]["machines"]
    assert (machine["node"], machine["photo"]) == (node_of(token(2)), "clear.png")
    assert "sources" not in machine


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_photos_that_wait_for_others_are_said_once_and_not_forever_kept(
    box: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad photo of each of two screens: said as unreadable, its bits kept; the reader's limit
    is the inbox' too."""
    monkeypatch.setattr("pairing.qr.read.UNREAD_LIMIT", 1)
    box.drop("0.png", noisy_photo(token(1), 0), hours_old=9)
    box.drop("1.png", noisy_photo(token(2), 11), hours_old=8)
    with Ledger(box.folder) as ledger, PhotoReader() as reader:
        intake = Intake(folder=box.folder, ledger=ledger, reader=reader)
        heard: list[str] = []

        class Voice:
            def taken(self, one: intakes.Taken) -> None:
                heard.append(f"{one.photo.name} {one.result}")

            def end(self, _: object) -> None:
                pass

        watch = Watch(Arrivals(folder=box.folder), intake, Voice())
        await watch.look()
        assert sorted(heard) == ["0.png unreadable", "1.png unreadable"]
        assert list(intake._alone) == ["0.png"], "the older photo was read last"
        await watch.look()
        assert len(heard) == 2
