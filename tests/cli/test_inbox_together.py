"""Bad photos of one screen in the inbox: together they are a machine."""

from __future__ import annotations

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
from pairing.testing.noisy import noisy_photo
from tests.cli.inboxes import Inbox, node_of, picture, token


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_bad_photos_are_a_machine_over_runs_too(box: Inbox) -> None:
    """The first comes alone, in a run of its own."""
    box.drop("0.png", noisy_photo(token(1), 0), hours_old=3)
    assert box.results() == {"0.png": "unreadable"}, "the control"
    for number in (1, 2):
        box.drop(f"{number}.png", noisy_photo(token(1), number), hours_old=3 - number)
    assert box.run() == errors.ExitCode.DONE
    *lines, report = box.lines()
    assert [(line["photo"], line["result"], line["wanted"]) for line in lines] == [
        ("2.png", "new", True),
        ("1.png", "same", False),
        ("0.png", "same", False),
    ]
    assert report["send_back"] == []
    (machine,) = report["machines"]
    assert (machine["photo"], machine["photos"]) == ("2.png", 3)
    assert (machine["node"], machine["standing"]) == (node_of(token(1)), "waiting")
    assert sorted(machine["sources"]) == ["0.png", "1.png", "2.png"]
    box.run("--once", "--output", "paths")
    said = box.capture.readouterr()
    (path,) = said.out.splitlines()
    assert {Path(source.name).name for source in sources([path])} == {"0.png", "1.png", "2.png"}
    assert "2.png (with " in said.err
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
