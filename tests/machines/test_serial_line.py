"""What a failed test prints of a machine's serial line."""

from __future__ import annotations

from pairing.testing.serial_line import last_words

SAID = (
    "\x1b[2J\x1b[01;01HBdsDxe: starting Boot0008\r\n"
    "\x1b[1;1H\x1b[0;97;40m████ ▄▄▄ ▀█ ████\x1b[0;97;41m  Machine locked  \x1b[0m"
    "\x1b[H\x1b[?7h\x1b[?25h[   94.653270] reboot: Restarting system\r\n\x1b[=3h\x1b[2J"
)


def test_escapes_and_codes_are_left_out() -> None:
    assert last_words(SAID, 12) == [
        "BdsDxe: starting Boot0008",
        "Machine locked",
        "[   94.653270] reboot: Restarting system",
    ]


def test_only_the_last_are_given() -> None:
    assert last_words(SAID, 1) == ["[   94.653270] reboot: Restarting system"]
    assert not last_words("", 3)
