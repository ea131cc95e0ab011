"""The second child's answers: what makes sense is taken, and nothing of the first's is lost."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest

from pairing import errors
from pairing.qr import replies
from pairing.qr.read import GRID, PhotoReader
from pairing.qr.reading import Reading, Seen, Sum, Tried
from pairing.testing.tokens import random_token
from pairing.worker import Worker

TOKEN = random_token(random.Random(5))
SQUARE = [[10, 10], [90, 10], [90, 90], [10, 90]]
FAR = [[300, 300], [390, 300], [390, 390], [300, 390]]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
FIRST: dict[str, Any] = {
    "format": "PNG",
    "width": 400,
    "height": 400,
    "codes": [],
    "unread": [[SQUARE, 4]],
    "tried": [["raw", 5, 0, 1]],
    "cpu_ms": 5,
    "blur": 1.5,
    "blurs": [2.5],
}
SOFT = bytes(range(100))
SECOND: dict[str, Any] = {
    "codes": [[TOKEN, "grid", SQUARE]],
    "seen": [[SQUARE, 4, 0.9, 6.5, 0.1, [20, 30], True, "", 0.0, False]],
    "soft": [],
    "tried": [["grid", 120, 1, 0]],
    "cpu_ms": 120,
}
UNREAD: dict[str, Any] = {
    **SECOND,
    "codes": [],
    "seen": [[FAR, None, 0.7, 2.5, 0, None, False, "left", 3, False]],
    "soft": [base64.b64encode(SOFT).decode()],
    "tried": [["grid", 120, 0, 1]],
}


class TwoChildren:
    """Answers for both workers, and what they were asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *second: dict[str, Any]) -> None:
        self.second = list(second)
        self.asked: list[dict[str, Any]] = []
        self.sent: list[bytes] = []
        monkeypatch.setattr(Worker, "ask", lambda worker, *given: self.ask(worker, *given))

    def ask(self, worker: Worker, request: dict[str, Any], data: bytes) -> dict[str, Any]:
        if worker.module != GRID:
            return FIRST
        self.asked.append(request)
        self.sent.append(data)
        answer = self.second.pop(0)
        if answer.get("fails"):
            raise errors.PhotoWorkerFailed("(too slow)")
        return answer


def test_what_the_grid_reader_reads_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    children = TwoChildren(monkeypatch, SECOND)
    with PhotoReader(hard=True) as reader:
        reading = reader.read(PNG)
    assert reading.tokens == (TOKEN,)
    assert reading.unreadable == ()
    assert reading.steps == ("raw", "grid")
    assert reading.cpu_ms == 125
    assert reading.seen[0] == Seen(
        tuple((x, y) for x, y in SQUARE), 4, 0.9, 6.5, 0.1, (20, 30), True, "", 2.5
    )
    wanted = {"any": False, "hard": True, "picture": 0, "do": "read"}
    assert children.asked == [{**wanted, "places": [[reading.codes[0].corners, 4]]}]


def test_what_it_only_sees_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    TwoChildren(monkeypatch, UNREAD)
    with PhotoReader() as reader:
        reading = reader.read(PNG)
    assert len(reading.unreadable) == 2
    assert reading.soft == (SOFT,)
    assert reading.seen[0].cut == "left"
    assert repr(SOFT) not in repr(reading)


@pytest.mark.parametrize(
    "change",
    [
        {"fails": True},
        {"codes": [[TOKEN, "grid"]]},
        {"seen": [[SQUARE, 41, 0.9, 6.5, 0.1, None, True, "", 0, False]]},
        {"seen": [[SQUARE, 4, float("nan"), 6.5, 0.1, None, True, "", 0, False]]},
        {"seen": [[SQUARE, 4, 0.9, -1, 0.1, None, True, "", 0, False]]},
        {"seen": [[SQUARE, 4, 0.9, 6.5, 0.1, [1], True, "", 0, False]]},
        {"seen": [[SQUARE, 4, 0.9, 6.5, 0.1, None, "yes", "", 0, False]]},
        {"seen": [[SQUARE, 4, 0.9, 6.5, 0.1, None, True, "\x1b[2J", 0, False]]},
        {"seen": [[SQUARE, 4]]},
        {"soft": ["!!!"]},
        {"soft": ["A" * 400_000]},
        {"soft": [["AAAA"]] * 65},
        {"cpu_ms": True},
    ],
)
def test_its_failure_takes_nothing_away(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    TwoChildren(monkeypatch, {**SECOND, **change})
    with PhotoReader() as reader:
        reading = reader.read(PNG)
    assert len(reading.unreadable) == 1
    assert reading.tried[0] == Tried("raw", 5, 0, 1)
    assert reading.tried[1].step.startswith("grid: ")
    assert reading.tokens == ()


def test_several_photos_give_one_code(monkeypatch: pytest.MonkeyPatch) -> None:
    other = random_token(random.Random(6))
    summed = {"sums": [[other, [0, 2]], [TOKEN, [1]]], "cpu_ms": 9}
    children = TwoChildren(monkeypatch, UNREAD, SECOND, UNREAD, UNREAD, summed)
    with PhotoReader() as reader:
        for name in ("a.png", "read.png", "b.png", "c.png"):
            reader.read(PNG, name=name)
        assert reader.together() == (
            Sum(other, ("a.png", "c.png")),
            Sum(TOKEN, ("b.png",), shown_by="read.png"),
        )
        assert reader.together() == ()
    assert children.asked[-1]["photos"] == [0, 1, 2]
    assert children.sent[-1] == SOFT * 3


def test_unread_photos_wait_for_more_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    other = random_token(random.Random(6))
    summed = {"sums": [[other, [0, 2]]], "cpu_ms": 9}
    children = TwoChildren(monkeypatch, *[UNREAD] * 3, {"sums": [], "cpu_ms": 9}, UNREAD, summed)
    with PhotoReader() as reader:
        reader.read(PNG, name="a.png")
        assert reader.together(keep=True) == ()  # one alone is not even asked about
        for name in ("b.png", "c.png"):
            reader.read(PNG, name=name)
        assert reader.together(keep=True) == ()
        reader.read(PNG, name="d.png")
        assert reader.together(keep=True) == (Sum(other, ("a.png", "c.png")),)
        assert [reader.keeps(f"{letter}.png") for letter in "abcd"] == [False, True, False, True]
    assert children.asked[-1]["photos"] == [0, 1, 2, 3]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bits of unread photos, and codes that they may turn out to show: the latest."""
    monkeypatch.setattr("pairing.qr.read.UNREAD_LIMIT", 2)
    monkeypatch.setattr("pairing.qr.read.SHOWN_LIMIT", 2)
    tokens = [random_token(random.Random(seed)) for seed in range(3)]
    read = [{**SECOND, "codes": [[text, "grid", SQUARE]]} for text in tokens]
    children = TwoChildren(monkeypatch, *[UNREAD] * 3, *read, {"sums": [], "cpu_ms": 9})
    with PhotoReader() as reader:
        for place in range(6):
            reader.read(PNG, name=f"{place}.png")
        assert [reader.keeps(f"{place}.png") for place in range(3)] == [False, True, True]
        reader.together(keep=True)
    assert children.asked[-1]["shown"] == tokens[1:]


def test_a_failure_while_summing_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is too much for the child would be asked for ever."""
    TwoChildren(monkeypatch, UNREAD, UNREAD, {"fails": True})
    with PhotoReader() as reader:
        for name in ("a.png", "b.png"):
            reader.read(PNG, name=name)
        with pytest.raises(errors.PhotoWorkerFailed):
            reader.together(keep=True)
        assert not reader.keeps("a.png")


def test_one_unread_photo_is_not_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    TwoChildren(monkeypatch, UNREAD, UNREAD)
    with PhotoReader() as reader:
        reader.read(PNG, name="a.png")
        reader.read(PNG, name="a.png")
        assert reader.together() == ()


@pytest.mark.parametrize("said", [[[TOKEN, [0]]], [[TOKEN, [0, 0]]], [[TOKEN, [0, 2]]], [[TOKEN]]])
def test_a_sum_must_come_of_photos(said: list[Any]) -> None:
    with pytest.raises(errors.PhotoWorkerFailed), replies.checked():
        replies.sums({"sums": said}, 2)
    assert replies.sums({"sums": [[TOKEN, [0, 1]]]}, 2) == [(TOKEN, [0, 1])]  # the control


def test_one_photo_is_enough_for_a_code_that_another_showed() -> None:
    said = {"sums": [[TOKEN, [0]]]}
    assert replies.sums(said, 1, [TOKEN]) == [(TOKEN, [0])]
    with pytest.raises(errors.PhotoWorkerFailed), replies.checked():
        replies.sums(said, 1, ["another"])


def test_a_grid_answer_to_an_empty_reading() -> None:
    assert replies.with_grid(Reading(), SECOND).texts == (TOKEN,)
