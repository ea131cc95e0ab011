"""The node's screen as data, and its layout: QR code at the left, plain words at its right.

Pure: the same screen, size and abilities give the same lines. Sizes in columns and rows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Literal

from node.canvas import REPERTOIRE, Canvas, big, printable, wrap
from node.texts import Texts
from pairing.events import State
from pairing.qr import render

SMALLEST, LARGEST = (20, 4), (500, 200)
"""Consoles outside are drawn as if they were at the bound."""
GAP = 2
PANEL = 28
"""Columns that the words need beside the code."""
PANEL_LIMIT = 60
LEAST_QUIET = 2
"""Modules of white that a code needs on a dark console (measured: less loses photos)."""
LEAST_MODULE = 3
"""Pixels of a module under which a code is drawn as text, if that is larger at all."""
GOOD_STYLE, BAD_STYLE, BASE_STYLE = "97;42", "97;41", ""
STRONG, CAUTION = "97", "30;43"

_DONE = frozenset({State.WRITTEN, State.INSTALLED, State.JOINED, State.READY})
_BAD = frozenset({State.FAILED, State.REFUSED, State.LOCKED})
_SAFE = _DONE | {State.FAILED, State.REFUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Everything that the screen shows.

    `token`: text of the QR code, empty once it is of no use. `step_name` is a step's name in
    `node.steps.STEP_TYPES`, shown in the screen's language; `step` is its English line, shown for
    a name without a text. It is `number` of `steps`; `percent` of the whole, None if unknown.
    `machine`, `operator` and `compare` are words of fingerprints and of `--confirm-words`. `code`
    is read aloud, such as `E603`; `detail` one line more. `abort_seconds` counts down before the
    first write. `dry_run`: a rehearsal, which changes nothing. `visitor`: words of who has a repair
    session open; `repaired`: one is over, and nothing came after it. `starting`: it is installed,
    was switched on, and is not ready yet. `weak`: the code is Kairos' own, which whoever has the
    photo may use; `smaller` is the native code in its place, for a screen where it does not fit.
    `tried`: what came last could not be installed.
    """

    state: State = State.WAITING
    token: str = field(default="", repr=False)
    step_name: str = ""
    step: str = ""
    number: int = 0
    steps: int = 0
    percent: int | None = None
    machine: tuple[str, ...] = ()
    operator: tuple[str, ...] = ()
    compare: tuple[str, ...] = ()
    serial: str = ""
    addresses: tuple[str, ...] = ()
    relay: str = ""
    code: str = ""
    detail: str = ""
    abort_seconds: int | None = None
    dry_run: bool = False
    visitor: tuple[str, ...] = ()
    repaired: bool = False
    starting: bool = False
    weak: bool = False
    smaller: str = field(default="", repr=False)
    tried: bool = False

    @property
    def may_switch_off(self) -> bool:
        """Whether switching the machine off now does no harm."""
        return self.state in _SAFE or self.repaired


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixels of a console that can be drawn on, and how many a cell takes."""

    width: int
    height: int
    cell_width: int
    cell_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a terminal can show: half blocks, colours, which characters, and pixels, if any.

    With pixels the code is not among the lines: its cells are left alone, for whoever draws it.
    """

    half_blocks: bool = True
    colour: bool = True
    glyphs: Set[str] = REPERTOIRE
    pixels: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A QR code on a page: modules, scale, and the columns and rows that it takes.

    `scale` counts squares of half a cell, or pixels. `quiet`: modules of white around it.
    """

    code: render.Modules
    scale: int
    columns: int
    rows: int
    quiet: int = render.QUIET
    in_pixels: bool = False


def layout(
    screen: Screen, columns: int, rows: int, able: Abilities, texts: Texts
) -> tuple[str, ...]:
    """The screen's rows from the top, each with its colours, for `canvas.frame`."""
    columns = min(max(columns, SMALLEST[0]), LARGEST[0])
    rows = min(max(rows, SMALLEST[1]), LARGEST[1])
    canvas = Canvas(columns, rows, _base(screen, able), able.glyphs)
    placed = placed_code(screen, columns, rows, able)
    if placed is None:
        _words_only(canvas, screen, able, texts)
    else:
        top = placed_top(placed, rows)
        _draw(canvas, placed, top, able)
        _beside(canvas, screen, placed, top, able, texts)
    return canvas.lines()


def placed_top(placed: Placed, rows: int) -> int:
    """The row in which it begins."""
    return (rows - placed.rows) // 2


def placed_code(screen: Screen, columns: int, rows: int, able: Abilities) -> Placed | None:
    """The code that fits: Kairos' own is large, so it may be with less correction, or another."""
    if not screen.token:
        return None
    forms: list[tuple[str, Literal["M", "L"]]] = [(screen.token, "M")]
    if screen.weak:
        forms.append((screen.token, "L"))
    if screen.smaller:
        forms.append((screen.smaller, "M"))
    for text, level in forms:
        placed = able.pixels and place_pixels(text, rows, able.pixels, level)
        placed = placed or place(text, columns, rows, able.half_blocks, level)
        if placed:
            return placed
    return None


def place(
    token: str, columns: int, rows: int, half_blocks: bool, level: Literal["M", "L"] = "M"
) -> Placed | None:
    """The code at the largest whole scale that fits beside the words; None if it never fits.

    At scale 1 the words may go, and then half of the white around it: the code matters more.
    """
    code = _modules(token, level)
    measure = render.half_block_size if half_blocks else render.background_size
    for scale in range(max(columns, rows) // len(code) + 1, 0, -1):
        wide, high = measure(code, scale)
        beside = GAP + PANEL if scale > 1 else 0
        if wide + beside <= columns and high <= rows:
            return Placed(code, scale, wide, high)
    wide, high = measure(code, 1, LEAST_QUIET)
    fits = wide <= columns and high <= rows
    return Placed(code, 1, wide, high, LEAST_QUIET) if fits else None


def place_pixels(
    token: str, rows: int, pixels: Pixels, level: Literal["M", "L"] = "M"
) -> Placed | None:
    """The code with the largest modules of whole pixels; None if they would be under LEAST_MODULE.

    The words beside it go before it gets so small, then half of the white around it.
    """
    code = _modules(token, level)
    high = min(pixels.height, rows * pixels.cell_height)
    words = (GAP + PANEL) * pixels.cell_width
    for room, quiet in ((words, render.QUIET), (0, render.QUIET), (0, LEAST_QUIET)):
        squares = len(code) + 2 * quiet
        scale = min(pixels.width - room, high) // squares
        if scale >= LEAST_MODULE:
            side = scale * squares
            cells = (-(-side // pixels.cell_width), -(-side // pixels.cell_height))
            return Placed(code, scale, *cells, quiet, in_pixels=True)
    return None


_modules = functools.lru_cache(maxsize=4)(render.modules)


def _base(screen: Screen, able: Abilities) -> str:
    if not able.colour:
        return ""
    if screen.state in _DONE:
        return GOOD_STYLE
    return BAD_STYLE if screen.state in _BAD else BASE_STYLE


def _draw(canvas: Canvas, placed: Placed, top: int, able: Abilities) -> None:
    drawn = (placed.code, placed.scale, placed.quiet)
    if placed.in_pixels:
        for row in range(top, top + placed.rows):
            canvas.leave(row, 0, placed.columns)
        return
    if able.half_blocks:
        style = render.WHITE_INK if able.colour else ""
        for row, line in enumerate(render.half_blocks(*drawn), top):
            canvas.put_raw(row, 0, line, style)
        return
    light, dark = (render.WHITE_PAPER, render.BLACK_PAPER) if able.colour else ("7", "")
    for row, squares in enumerate(render.backgrounds(*drawn), top):
        for column, square in enumerate(squares):
            canvas.put_raw(row, column, " ", dark if square else light)


def _beside(
    canvas: Canvas, screen: Screen, placed: Placed, top: int, able: Abilities, texts: Texts
) -> None:
    column = placed.columns + GAP
    width = min(canvas.columns - column - 1, PANEL_LIMIT)
    if width < PANEL // 2:
        _below(canvas, screen, placed, top, able, texts)
        return
    lines = list(_panel(screen, width, texts))
    start = max(0, min(top + 1, canvas.rows - len(lines)))
    for row, (text, style) in enumerate(lines[: canvas.rows], start):
        canvas.put(row, column, text, style if able.colour else None)


def _below(
    canvas: Canvas, screen: Screen, placed: Placed, top: int, able: Abilities, texts: Texts
) -> None:
    """Under the code, if there is room; no words rather than broken ones: the code matters more."""
    row = top + placed.rows
    for text, style in _panel(screen, canvas.columns - 1, texts):
        if row < canvas.rows and text:
            canvas.put(row, 0, text, style if able.colour else None)
            row += 1


def _words_only(canvas: Canvas, screen: Screen, able: Abilities, texts: Texts) -> None:
    width = min(canvas.columns - 4, PANEL_LIMIT)
    lines = list(_panel(screen, width, texts, has_code=not screen.token))
    if screen.token:
        advice = wrap(texts.use_larger, width) if screen.weak else []
        lines = [(line, None) for line in (*wrap(texts.too_small, width), *advice, "")] + lines
        lines += [("", None), *((line, None) for line in _token_lines(screen.token, width))]
    letters = _letters(screen, canvas, len(lines))
    high = len(letters) + len(lines)
    row = max(0, (canvas.rows - high) // 2)
    left = max(0, (canvas.columns - width) // 2)
    for text in letters:
        _ink(canvas, row, left, text, able)
        row += 1
    for text, style in lines:
        canvas.put(row, left, text, style if able.colour else None)
        row += 1


def _letters(screen: Screen, canvas: Canvas, taken: int) -> list[str]:
    """The error code, or OK, in letters that are read across a room, if there is room."""
    text = screen.code if screen.state in _BAD else "OK" if screen.state in _DONE else ""
    if not text or not set(text) <= set("0123456789EOK"):
        return []
    rows = [*big(text), ""]
    fits = len(rows) + taken <= canvas.rows and len(rows[0]) + 4 <= canvas.columns
    return rows if fits else []


def _ink(canvas: Canvas, row: int, left: int, dots: str, able: Abilities) -> None:
    for column, dot in enumerate(dots, left):
        if dot == "#":
            canvas.put_raw(
                row, column, " " if able.colour else "#", "30;47;107" if able.colour else ""
            )


def _token_lines(token: str, width: int) -> Iterator[str]:
    """The token to be typed or copied; no line begins or ends with one of its blanks."""
    while len(token) > width:
        end = width
        while end > 1 and " " in token[end - 1 : end + 1]:
            end -= 1
        yield token[:end]
        token = token[end:]
    yield token


Line = tuple[str, "str | None"]
"""A line of the panel and its style; None is the page's own."""


def _panel(screen: Screen, width: int, texts: Texts, *, has_code: bool = True) -> Iterator[Line]:
    """The words. Without `has_code` there is nothing on this screen to be photographed."""
    rehearsed = screen.dry_run and screen.state in _DONE
    said = texts.starting if screen.starting else texts.states[screen.state]
    said = texts.repaired if screen.repaired else said
    if has_code or screen.state is not State.WAITING:
        for line in wrap(texts.rehearsed if rehearsed else said, width):
            yield line, None if screen.state in _DONE | _BAD else STRONG
        yield "", None
    if screen.weak and screen.token:
        yield from ((f" {line} ", CAUTION) for line in wrap(texts.weak, width - 2))
        yield "", None
    if screen.visitor:
        for line in wrap(f"{texts.repair}: {' '.join(screen.visitor)}", width - 2):
            yield f" {line} ", CAUTION
    yield from _power(screen, width, texts)
    if screen.dry_run and not rehearsed:
        yield from ((line, None) for line in wrap(texts.rehearsal, width))
    yield "", None
    yield from _error(screen, width, texts)
    yield from _progress(screen, width, texts)
    if screen.compare:
        yield texts.compare + ":", STRONG
        yield from ((line, STRONG) for line in wrap("  " + " - ".join(screen.compare), width))
        yield "", None
    yield from _identity(screen, width, texts)


def _power(screen: Screen, width: int, texts: Texts) -> Iterator[Line]:
    if screen.abort_seconds is not None:
        said, style = texts.abort.format(seconds=screen.abort_seconds), CAUTION
    elif screen.may_switch_off:
        said, style = texts.may_switch_off, None
    else:
        said, style = texts.keep_on, CAUTION
    for line in wrap(said, width - 2):
        yield (f" {line} " if style else line), style


def _error(screen: Screen, width: int, texts: Texts) -> Iterator[Line]:
    if screen.tried:
        yield from ((f" {line} ", CAUTION) for line in wrap(texts.tried, width - 2))
    if screen.code:
        yield from ((line, None) for line in wrap(f"{texts.read_aloud}: {screen.code}", width))
    if screen.detail:
        yield from ((line, None) for line in wrap(screen.detail, width)[:3])
    if screen.code or screen.detail:
        yield "", None


def _progress(screen: Screen, width: int, texts: Texts) -> Iterator[Line]:
    if not screen.steps or screen.state in _BAD | {State.WRITTEN, State.READY}:
        return
    yield texts.step.format(number=screen.number, steps=screen.steps), None
    kind = screen.step_name.partition("-")[0]
    if said := texts.steps.get(screen.step_name) or texts.steps.get(kind, screen.step):
        yield from ((line, None) for line in wrap(said, width)[:2])
    if screen.percent is not None:
        yield bar(screen.percent, width), None
    yield "", None


def bar(percent: int, width: int) -> str:
    """A progress bar of plain characters, with its number."""
    percent = min(max(percent, 0), 100)
    inside = max(1, width - 7)
    done = inside * percent // 100
    return f"[{'#' * done}{'.' * (inside - done)}] {percent:3d}%"


def _identity(screen: Screen, width: int, texts: Texts) -> Iterator[Line]:
    address = " ".join(screen.addresses) or texts.no_address
    rows = (
        (texts.machine, " ".join(screen.machine)),
        (texts.operator, " ".join(screen.operator)),
        (texts.serial, screen.serial),
        (texts.address, address),
        (texts.relay, screen.relay),
    )
    for label, value in rows:
        if value:
            first, *rest = wrap(f"{label}: {printable(value)}", width)[:3]
            yield first, None
            yield from (("  " + line, None) for line in rest)
