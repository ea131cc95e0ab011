"""What people and scripts are told; nothing of a node's text is obeyed by a terminal (T13)."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import threading
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors, report
from pairing.events import Event, EventType, State
from pairing.report import Bars, Lines, Verdict, report_for, safe

HOSTILE = (
    "\x1b[2J\x1b[H",
    "\x1b]0;owned\x07",
    "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31m",
    "a\rb",
    "a\nerror E000 fake: all is well",
    "\u202egnp.otohp",
    "\u2066x\u2069",
    "\u2028y\u2029",
    "\x00\x07\x08\x7f",
    "\u200b\u200f\ufeff",
    '", "exit": 0, "x": "',
    "\ud800",
    "x" * 100_000,
)


def event(**said: object) -> Event:
    given = {"node": "N", "boot": "b", "seq": 1, "up_ms": 5, "type": EventType.STATE,
             "state": State.PLANNED, **said}  # fmt: skip
    return Event(**given)  # type: ignore[arg-type]


def is_harmless(line: str) -> bool:
    return all(
        unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn") for c in line
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_text(text: str) -> None:
    assert is_harmless(safe(text))
    assert len(safe(text)) <= report.LINE_LIMIT


def test_the_positive_control() -> None:
    assert not is_harmless(HOSTILE[0])
    assert not is_harmless(HOSTILE[6])


@given(st.text())
def test_any_text(text: str) -> None:
    line = safe(text)
    assert is_harmless(line)
    if text.isprintable() and len(text) <= report.LINE_LIMIT:
        assert line == text


@pytest.mark.parametrize("output", report.OUTPUTS)
@pytest.mark.parametrize("text", HOSTILE)
def test_every_report_is_harmless(output: str, text: str) -> None:
    talk, data = io.StringIO(), io.StringIO()
    told = report_for(output, talk, data)
    told.event(event(text=text, step=text, code=text), "2026-01-01T00:00:00Z", text)
    told.event(event(type=EventType.STEP, text=text, step=text, of=text), "now", text)
    told.event(event(type=EventType.LOG, text=text), "now", text)
    told.warn(text)
    told.say("photo", text)
    told.block("node", [text], {"facts": text})
    wrong = errors.StepFailed(text, element=text)
    told.verdict(Verdict(source="photo", exit=7, serial=text, error=wrong))
    told.close(7)
    said = talk.getvalue() + data.getvalue()
    assert all(is_harmless(line) for line in said.split("\n"))
    said.encode("utf-8")
    first_words = {line.split(" ")[0] for line in talk.getvalue().splitlines() if line[:1].strip()}
    assert first_words <= {"planned", "step", "warning", "photo", "node", "error", "hint:"}
    if output == "jsonl":
        assert [json.loads(line)["schema"] for line in data.getvalue().splitlines()] == [1] * 7
    if output == "json":
        assert json.loads(data.getvalue())["exit"] == 7


def test_json_lines_say_when_and_who() -> None:
    data = io.StringIO()
    told = report_for("jsonl", io.StringIO(), data)
    told.event(event(dry_run=True), "2026-01-01T00:00:00.000Z", "S-1")
    body = json.loads(data.getvalue())
    assert (body["at"], body["serial"]) == ("2026-01-01T00:00:00.000Z", "S-1")
    assert body["state"] == "planned"
    assert body["dry_run"] is True
    assert body["schema"] == 1


def test_one_object_for_several_nodes() -> None:
    data = io.StringIO()
    told = report_for("json", io.StringIO(), data)
    for number in range(2):
        told.event(event(state=State.WRITTEN), "now", f"S-{number}")
        told.verdict(Verdict(source=f"{number}.png", exit=0, state="written", serial=f"S-{number}"))
    told.close(0)
    body = json.loads(data.getvalue())
    assert [node["serial"] for node in body["nodes"]] == ["S-0", "S-1"]
    assert [state["state"] for state in body["nodes"][1]["states"]] == ["written"]


def test_no_terminal_no_bars() -> None:
    assert type(report_for("human", io.StringIO(), io.StringIO())) is Lines


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, tell: Callable[[report.Report], None]) -> str:
    """What a terminal of 80 columns got."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    ours, theirs = pty.openpty()
    got: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(ours, got), daemon=True)
    reader.start()
    with os.fdopen(theirs, "w", encoding="utf-8") as talk:
        told = report_for("human", talk, io.StringIO())
        assert isinstance(told, Bars)
        tell(told)
        told.quiet()
    reader.join(10)
    return b"".join(got).decode()


def _drain(terminal: int, got: list[bytes]) -> None:
    """A terminal's buffer is small: whoever writes to it waits for its reader."""
    with contextlib.suppress(OSError):  # EIO: the other side was closed
        while data := os.read(terminal, 65536):
            got.append(data)
    os.close(terminal)


def an_installation(told: report.Report) -> None:
    told.block("node", ["disk /dev/sda " + "very long model " * 12], {})
    told.event(event(state=State.INSTALLING), "now", "S")
    for number in range(1, 9):
        for done in (0, 1):
            told.event(
                event(type=EventType.STEP, state=State.INSTALLING, step="write-disk",
                      of=f"{number}/8", done=done, total=1, text="Write " + "x" * 200),
                "now", "S",
            )  # fmt: skip
    told.event(event(state=State.WRITTEN), "now", "S")


ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    said = on_a_terminal(monkeypatch, an_installation)
    lines = [ESCAPE.sub("", line) for line in re.split(r"[\r\n]+", said)]
    assert any("8/8 write-disk" in line and "100%" in line for line in lines), "there was a bar"
    assert max(map(len, lines)) <= 80


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
    assert colour.search(on_a_terminal(monkeypatch, an_installation)), "colours without it"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour.search(on_a_terminal(monkeypatch, an_installation))


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as talk:
        assert not isinstance(report_for("human", talk, io.StringIO()), Bars)
    os.close(ours)


def test_talk_and_data_are_apart() -> None:
    talk, data = io.StringIO(), io.StringIO()
    told: report.Report = report_for("human", talk, data)
    told.say("config", "valid")
    told.verdict(Verdict(source="a.png", exit=5, error=errors.UnreachableError()))
    assert talk.getvalue().startswith("config     valid\nerror E400 unreachable: ")
    assert "hint: " in talk.getvalue()
    assert data.getvalue() == "a.png: not done (E400 unreachable), unknown machine, exit 5\n"


def test_a_hint_is_said_once_for_a_dozen() -> None:
    talk = io.StringIO()
    told: report.Report = report_for("human", talk, io.StringIO())
    for number in range(12):
        told.verdict(Verdict(source=f"{number}", exit=5, error=errors.UnreachableError()))
    told.verdict(Verdict(source="other", exit=6, error=errors.NotAuthenticError()))
    assert talk.getvalue().count(errors.UnreachableError.hint) == 1
    assert talk.getvalue().count("hint: as above") == 11
    assert talk.getvalue().count(errors.NotAuthenticError.hint) == 1
