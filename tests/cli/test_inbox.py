"""The photo inbox: each picture once, each machine once, over restarts too."""

from __future__ import annotations

import io
import signal
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from cli.commands.inbox import Watch, seconds_of
from cli.inbox.arrivals import Arrivals
from cli.inbox.intake import Intake, Result
from cli.inbox.ledger import Ledger
from cli.inbox.machines import Standing, machines
from cli.inbox.report import Summary
from cli.records import Records
from cli.sources import sources
from pairing import errors, keys, peertoken
from pairing.protocol.terms import KnownLease
from pairing.qr.read import PhotoReader
from tests.cli.inboxes import HOUR, Inbox, blank, node_of, picture, token

# --- each once ----------------------------------------------------------------------------------


def test_what_a_day_brings(box: Inbox) -> None:
    box.drop("first.png", picture(token(1)), hours_old=5)
    box.drop("again.png", picture(token(1), scale=5), hours_old=4)
    box.drop("shop/other.png", picture(token(2)), hours_old=3)
    box.drop("bad.png", blank(), hours_old=2)
    box.drop("notes.txt", b"hello")
    box.drop(".hidden.png", picture(token(3)))
    assert box.run() == errors.ExitCode.BATCH
    *photos, report = box.lines()
    assert [(line["photo"], line["result"], line["wanted"]) for line in photos] == [
        ("bad.png", "unreadable", False),
        ("shop/other.png", "new", True),
        ("again.png", "new", True),
        ("first.png", "older", False),
    ]
    assert photos[2]["node"] == photos[3]["node"] == node_of(token(1))
    assert photos[3]["age_s"] == pytest.approx(5 * HOUR, abs=120)
    assert [one["photo"] for one in report["machines"]] == ["shop/other.png", "again.png"]
    assert report["send_back"][0]["reason"] == "photo-no-code"
    assert "square code" in report["send_back"][0]["advice"]


def test_a_restart_reads_nothing_again_but_names_what_waits(box: Inbox) -> None:
    box.drop("a.png", picture(token(1)))
    box.drop("bad.png", blank())
    assert box.results() == {"a.png": "new", "bad.png": "unreadable"}
    assert box.results() == {"a.png": "known"}
    assert box.run() == errors.ExitCode.DONE
    assert [one["photo"] for one in box.lines()[-1]["send_back"]] == ["bad.png"]


def test_a_copy_is_no_new_photo(box: Inbox) -> None:
    box.drop("a.png", picture(token(1)), hours_old=2)
    box.drop("copy.png", picture(token(1)), hours_old=3)
    assert box.results() == {"a.png": "new", "copy.png": "copy"}
    assert box.run() == 0
    assert box.lines()[-1]["photos"] == 1


def test_an_older_photo_that_comes_later_does_not_count(box: Inbox) -> None:
    box.drop("new.png", picture(token(1)), hours_old=1)
    box.results()
    box.drop("old.png", picture(token(1), scale=5), hours_old=9)
    assert box.results() == {"new.png": "known", "old.png": "older"}
    box.run()
    assert [one["photo"] for one in box.lines()[-1]["machines"]] == ["new.png"]


def test_a_bad_photo_is_read_again_when_asked(box: Inbox) -> None:
    box.drop("bad.png", blank())
    assert box.results() == {"bad.png": "unreadable"}
    assert box.results("--again") == {"bad.png": "unreadable"}
    assert box.results() == {}


def test_a_changed_file_is_another_photo(box: Inbox) -> None:
    box.drop("a.png", picture(token(1)))
    box.results()
    box.drop("a.png", picture(token(2)))
    assert box.results() == {"a.png": "new"}


def zipped(**pictures: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in pictures.items():
            file.writestr(f"chat/{name}.png", data)
        file.writestr("chat/_chat.txt", "hello")
    return out.getvalue()


def test_a_messengers_export_is_its_pictures(box: Inbox) -> None:
    box.drop("export.zip", zipped(a=picture(token(1)), b=picture(token(2)), c=blank()))
    assert box.results() == {
        "export.zip/chat/a.png": "new",
        "export.zip/chat/b.png": "new",
        "export.zip/chat/c.png": "unreadable",
    }
    assert box.results() == {"export.zip/chat/a.png": "known", "export.zip/chat/b.png": "known"}
    box.drop("later.zip", zipped(a=picture(token(1)), d=picture(token(3))), hours_old=0.5)
    assert box.results() == {
        "export.zip/chat/a.png": "known",
        "export.zip/chat/b.png": "known",
        "later.zip/chat/a.png": "copy",
        "later.zip/chat/d.png": "new",
    }


def test_a_picture_in_an_export_is_a_source(box: Inbox) -> None:
    box.drop("export.zip", zipped(a=picture(token(1)), b=picture(token(2))))
    box.run("--once", "--output", "paths")
    paths = box.capture.readouterr().out.splitlines()
    assert len(paths) == 2
    with PhotoReader() as reader:
        found = [sources([path])[0].token(reader, loopback=True) for path in paths]
    assert {keys.fingerprint(one.key) for one in found} == {node_of(token(n)) for n in (1, 2)}
    box.drop("broken.zip", zipped(a=picture(token(1)))[:-30])
    assert box.results()["broken.zip"] == "unreadable"


def test_a_damaged_record_is_set_aside_and_all_is_read_again(box: Inbox) -> None:
    box.drop("a.png", picture(token(1)))
    box.results()
    (record,) = (box.data / "inbox").glob("*.jsonl")
    record.write_bytes(b"nonsense\n" + record.read_bytes())
    assert box.results() == {"a.png": "new"}
    assert len(list((box.data / "inbox").iterdir())) == 2


def test_a_line_cut_off_by_a_power_cut_is_read_again(box: Inbox) -> None:
    box.drop("a.png", picture(token(1)), hours_old=2)
    box.drop("b.png", picture(token(2)), hours_old=1)
    box.results()
    (record,) = (box.data / "inbox").glob("*.jsonl")
    record.write_bytes(record.read_bytes()[:-20])
    assert box.results() == {"b.png": "known", "a.png": "new"}


def test_no_token_is_kept_or_said(box: Inbox) -> None:
    box.drop("a.png", picture(token(1)))
    box.run("--once", "--output", "jsonl")
    said = box.capture.readouterr()
    (record,) = (box.data / "inbox").glob("*.jsonl")
    for text in (said.out, said.err, record.read_text()):
        assert "EP1" not in text
    assert record.stat().st_mode & 0o777 == 0o600
    assert peertoken.parse(token(1)).name in record.read_text(), "the positive control"


def test_a_name_that_would_break_lines_is_refused(box: Inbox) -> None:
    box.drop("a\nb.png", picture(token(1)))
    box.run("--once", "--output", "paths")
    said = box.capture.readouterr()
    assert said.out == ""
    assert "cannot be printed" in said.err


def test_only_one_process_watches_an_inbox(box: Inbox) -> None:
    with Ledger(box.folder), pytest.raises(errors.StoreUnwritable, match="watching"):
        box.run()


@pytest.mark.parametrize("arguments", [("--once", "--for", "1s"), ("--lang", "xx"), ("--for", "x")])
def test_usage(box: Inbox, arguments: tuple[str, ...]) -> None:
    with pytest.raises(errors.UsageError):
        box.run(*arguments)


def test_times() -> None:
    found = [seconds_of(text) for text in ("90", "90s", "1.5h", "2m", "1d")]
    assert found == [90, 90, 5400, 120, 86400]


# --- what the records know ----------------------------------------------------------------------


def release(text: str) -> None:
    known = KnownLease(b"l" * 16, b"s" * 32, None)
    Records().keep_lease(peertoken.parse(text).name, known, released=True)


def test_a_machine_that_is_registered_is_not_named_again(box: Inbox) -> None:
    box.drop("a.png", picture(token(1)), hours_old=2)
    box.drop("b.png", picture(token(2)), hours_old=1)
    box.run("--once", "--output", "paths")
    assert box.capture.readouterr().out.splitlines() == [
        str(box.folder / name) for name in ("b.png", "a.png")
    ]
    release(token(1))
    box.run("--once", "--output", "paths")
    assert box.capture.readouterr().out.splitlines() == [str(box.folder / "b.png")]
    box.run()
    assert [one["standing"] for one in box.lines()[-1]["machines"]] == ["waiting", "registered"]


def test_a_newer_photo_of_a_registered_machine_is_not_wanted(box: Inbox) -> None:
    box.drop("a.png", picture(token(1)), hours_old=2)
    box.results()
    release(token(1))
    box.drop("b.png", picture(token(1), scale=5), hours_old=1)
    box.run()
    (photo, _) = box.lines()
    assert (photo["result"], photo["wanted"]) == ("newer", False)


# --- waiting ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Heard:
    """A voice that remembers."""

    said: list[tuple[str, str]]
    ends: list[Summary]

    def taken(self, one: Any) -> None:
        self.said.append((one.photo.name, one.result.value))

    def end(self, all_of_it: Summary) -> None:
        self.ends.append(all_of_it)


@dataclass(slots=True)
class Stopping(Heard):
    """Somebody presses Ctrl-C when the first photo is named."""

    number: signal.Signals

    def taken(self, one: Any) -> None:
        Heard.taken(self, one)
        if len(self.said) == 1:
            signal.raise_signal(self.number)


@pytest.fixture
def reader() -> Iterator[PhotoReader]:
    with PhotoReader() as reader:
        yield reader


def watch_of(box: Inbox, reader: PhotoReader, ledger: Ledger) -> tuple[Watch, Heard]:
    heard = Heard([], [])
    arrivals = Arrivals(folder=box.folder, clock=trio.current_time, now=lambda: 0.0)
    return Watch(arrivals, Intake(folder=box.folder, ledger=ledger, reader=reader), heard), heard


async def test_a_file_counts_once_it_has_stopped_changing(
    box: Inbox, reader: PhotoReader, autojump_clock: trio.testing.MockClock
) -> None:
    whole = picture(token(1))
    with Ledger(box.folder) as ledger:
        watch, heard = watch_of(box, reader, ledger)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.until, 60)
            for length in (0, 100, 200, len(whole)):
                await trio.sleep(1.5)
                (box.folder / "a.png").write_bytes(whole[:length])
                assert heard.said == []
            await trio.sleep(5)
            assert heard.said == [("a.png", Result.NEW.value)]
    (end,) = heard.ends
    assert end.count(Standing.WAITING) == 1
    assert end.unfinished == ()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_all_that_was_found(
    box: Inbox, reader: PhotoReader, number: signal.Signals
) -> None:
    names = [f"{number_of}.png" for number_of in range(8)]
    for place, name in enumerate(names):
        box.drop(name, picture(token(place)), hours_old=place + 1)
    with Ledger(box.folder) as ledger:
        watch, _ = watch_of(box, reader, ledger)
        watch.arrivals.now = lambda: 1e12
        watch.voice = heard = Stopping([], [], number)
        with trio.fail_after(30):
            assert await watch.until(None) == errors.ExitCode.INTERRUPTED
        seen = [name for name, _ in heard.said]
        assert 0 < len(seen) < 6, "it takes note between two photos"
        assert len(heard.ends) == 1
        assert [photo.name for photo in ledger.photos] == seen


async def test_a_folder_that_goes_away_is_a_named_error(box: Inbox, reader: PhotoReader) -> None:
    with Ledger(box.folder) as ledger:
        watch, heard = watch_of(box, reader, ledger)
        box.folder.rmdir()
        with pytest.raises(errors.NoSuchSource):
            await watch.until(60)
        assert len(heard.ends) == 1


async def test_a_file_that_never_ends_is_named(
    box: Inbox, reader: PhotoReader, autojump_clock: trio.testing.MockClock
) -> None:
    (box.folder / "empty.png").touch()
    with Ledger(box.folder) as ledger:
        watch, heard = watch_of(box, reader, ledger)
        assert await watch.once() == errors.ExitCode.DONE
    assert [path.name for path in heard.ends[0].unfinished] == ["empty.png"]


async def test_a_file_under_another_name_first_counts_once(
    box: Inbox, reader: PhotoReader, autojump_clock: trio.testing.MockClock
) -> None:
    with Ledger(box.folder) as ledger:
        watch, heard = watch_of(box, reader, ledger)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.until, 30)
            (box.folder / "a.png.part").write_bytes(picture(token(1)))
            await trio.sleep(10)
            assert heard.said == []
            (box.folder / "a.png.part").rename(box.folder / "a.png")
        assert heard.said == [("a.png", "new")]
        assert [machine.node for machine in machines(ledger.photos)] == [node_of(token(1))]


def test_people_read_it(box: Inbox) -> None:
    box.drop("a.png", picture(token(1)), hours_old=5)
    box.drop("bad.png", blank(), hours_old=2)
    box.run("--once", "--lang", "de")
    said = box.capture.readouterr()
    assert "2 photos, 1 machine: 1 waiting" in said.out
    assert "photo 5 h old" in said.out
    assert "Bitte den ganzen Bildschirm" in said.out
