"""What of a stranger's terminal output our terminal gets to see: text, colours, cursor, no more.

A terminal obeys its output: it answers queries as if somebody had typed, sets the clipboard, the
title, mouse reports and key bindings, prints, forgets what it showed. A node may be hostile, and
its last bytes may reach the operator's own shell. So everything is dropped that is not on the lists
below. Sources: ECMA-48; XTerm Control Sequences (ctlseqs); console_codes(4).
"""

from __future__ import annotations

import codecs
import enum
import re

SEQUENCE_LIMIT = 64
"""Characters of one control sequence; longer ones are dropped."""
REPEAT_LIMIT = 4096
"""How often a character may be repeated by one sequence."""
_CONTROLS = frozenset("\a\b\t\n\v\f\r\x0e\x0f")
_ESCAPES = frozenset("78DEHM=>")
"""Save and restore the cursor, line feeds, tabs, keypad."""
_SETS = frozenset("()*+")
_CHARSETS = frozenset("B0A12")
_CURSOR = re.compile(r"[0-9;]*[A-IKLMPSXZ@`adefgrs]")
_SCROLL_DOWN = re.compile("[0-9]*T")
"""With five numbers it would start reporting the mouse."""
_COLOURS = re.compile(r"[0-9;:]*m")
_ERASE = re.compile(r"[012]?J")
"""Not 3: it would wipe what was shown before."""
_RESTORE = re.compile("u")
_CURSOR_SHAPE = re.compile("[0-6]? q")
_RESET = re.compile("!p")
_INSERT = re.compile("4[hl]")
_MODE = "(?:1|6|7|12|25|47|1047|1048|1049|2004)"
_MODES = re.compile(rf"\?{_MODE}(?:;{_MODE})*[hl]")
"""Cursor keys, wrapping, cursor, alternate screen, bracketed paste. No mouse, no focus reports."""
_REPEAT = re.compile(r"([0-9]{1,4})b")
_ALLOWED = (
    _CURSOR, _SCROLL_DOWN, _COLOURS, _ERASE, _RESTORE, _CURSOR_SHAPE, _RESET, _INSERT, _MODES,
)  # fmt: skip
_HIDDEN = frozenset(
    [*map(chr, range(0x80, 0xA0)), "\x7f", "\u061c", "\u200e", "\u200f"]
    + [*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))]
)
"""Controls beyond ASCII, and what turns the direction of writing."""
_ALTERNATE = re.compile(r"\?(?:[0-9]*;)*(47|1047|1049)(?:;[0-9]*)*([hl])")
AFTERWARDS = "\x1b[!p\x0f\x1b(B\x1b[0m\x1b[?1l\x1b[?6l\x1b[?2004l\x1b[?25h\x1b[?7h\x1b[4l\x1b>\r\n"
"""Puts a terminal right after a session, whatever of the allowed the node has left on."""
_BACK = "\x1b[?1049l"
"""To the usual screen; on the usual screen it would make the cursor jump."""


class _In(enum.Enum):
    TEXT = 0
    ESCAPE = 1
    CHARSET = 2
    SEQUENCE = 3
    STRING = 4
    """OSC, DCS, SOS, PM, APC: dropped up to its end."""
    SKIP = 5
    """The rest of an escape with intermediate characters."""


class TerminalFilter:
    """Bytes in, harmless text out; keeps what is unfinished until the next bytes."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._state = _In.TEXT
        self._sequence = ""
        self._alternate = False

    @property
    def afterwards(self) -> str:
        """What puts the terminal right after all this."""
        return (_BACK if self._alternate else "") + AFTERWARDS

    def feed(self, data: bytes) -> str:
        """What may be shown of `data`."""
        return "".join(map(self._next, self._decoder.decode(data)))

    def _next(self, character: str) -> str:
        if character in "\x18\x1a":  # CAN and SUB end whatever was going on
            self._state = _In.TEXT
            return ""
        match self._state:
            case _In.TEXT:
                return self._text(character)
            case _In.ESCAPE:
                return self._escape(character)
            case _In.CHARSET:
                return self._charset(character)
            case _In.SEQUENCE:
                return self._in_sequence(character)
            case _In.SKIP:
                self._state = _In.TEXT if character >= "0" else _In.SKIP
                return self._restart(character)
        return self._in_string(character)

    def _text(self, character: str) -> str:
        if character == "\x1b":
            self._state = _In.ESCAPE
            return ""
        if character < " ":
            return character if character in _CONTROLS else ""
        return "" if character in _HIDDEN else character

    def _restart(self, character: str) -> str:
        """An escape within an escape begins anew."""
        if character == "\x1b":
            self._state = _In.ESCAPE
        return ""

    def _escape(self, character: str) -> str:
        if character == "[":
            self._state, self._sequence = _In.SEQUENCE, ""
        elif character in "]PX^_k":
            self._state = _In.STRING
        elif character in _SETS:
            self._state, self._sequence = _In.CHARSET, character
        elif " " <= character < "0":
            self._state = _In.SKIP
        elif character == "\x1b":
            self._state = _In.ESCAPE
        else:
            self._state = _In.TEXT
            return f"\x1b{character}" if character in _ESCAPES else ""
        return ""

    def _charset(self, character: str) -> str:
        self._state = _In.TEXT
        if character in _CHARSETS:
            return f"\x1b{self._sequence}{character}"
        return self._restart(character)

    def _in_sequence(self, character: str) -> str:
        if character < " ":  # a control character within a sequence is obeyed at once
            return self._restart(character)
        self._sequence += character
        if len(self._sequence) > SEQUENCE_LIMIT:
            self._sequence = self._sequence[:SEQUENCE_LIMIT] + "?"  # never on a list
        if not "@" <= character <= "~":
            return ""
        self._state = _In.TEXT
        if not allowed(self._sequence):
            return ""
        if alternate := _ALTERNATE.fullmatch(self._sequence):
            self._alternate = alternate[2] == "h"
        return f"\x1b[{self._sequence}"

    def _in_string(self, character: str) -> str:
        if character in "\a\x9c":
            self._state = _In.TEXT
        return self._restart(character)


def allowed(sequence: str) -> bool:
    """Whether a control sequence (without its ESC [) is on the lists."""
    repeat = _REPEAT.fullmatch(sequence)
    if repeat:
        return int(repeat[1]) <= REPEAT_LIMIT
    return any(pattern.fullmatch(sequence) for pattern in _ALLOWED)
