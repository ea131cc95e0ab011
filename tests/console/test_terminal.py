"""The console that tests read pages with behaves like the kernel's where it matters."""

from __future__ import annotations

from pairing.testing.screens import PALETTE, Terminal, draw


def test_writing_the_last_cell_scrolls_only_when_wrapping() -> None:
    for wraps, scrolled in (("\x1b[?7h", 1), ("\x1b[?7l", 0)):
        terminal = Terminal(3, 2)
        terminal.write(wraps + "\x1b[2;1Habcd")
        assert terminal.scrolled == scrolled


def test_a_newline_in_the_last_row_scrolls() -> None:
    terminal = Terminal(3, 2)
    terminal.write("a\r\nb\r\nc")
    assert (terminal.text(), terminal.scrolled) == ("b\nc", 1)


def test_erasing_takes_the_background() -> None:
    terminal = Terminal(3, 2)
    terminal.write("\x1b[41m\x1b[2J\x1b[0;42m\x1b[1;2H\x1b[K")
    assert [[cell.paper for cell in row] for row in terminal.cells] == [[1, 2, 2], [1, 1, 1]]


def test_bright_backgrounds_are_gray_unless_the_palette_says_otherwise() -> None:
    terminal = Terminal(1, 1)
    terminal.write("\x1b[107m ")
    assert draw(terminal).getpixel((0, 0)) == (0xAA, 0xAA, 0xAA)
    terminal.write("\x1b]P7ffffff")
    assert draw(terminal).getpixel((0, 0)) == (255, 255, 255)
    assert PALETTE[7] == 0xAAAAAA


def test_block_glyphs_are_exact() -> None:
    terminal = Terminal(3, 1)
    terminal.write("\x1b[97;40m▀▄█")
    image = draw(terminal).convert("1")
    rows = [[bool(image.getpixel((x, y))) for x in (0, 8, 16)] for y in (7, 8)]
    assert rows == [[True, False, True], [False, True, True]]
