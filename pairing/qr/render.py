"""Draw a QR code: as text for consoles of several abilities, and as a PNG.

Always dark modules on light with the full quiet zone of four modules: light on dark is invisible
to most phone and photo decoders. Sizes in modules, columns or rows as named.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Literal

from pairing import base45, errors

QUIET = 4
"""Modules of light border that ISO/IEC 18004 asks for on each side."""
WHITE_INK = "97;40"
"""SGR: bright white on black. As ink, because a Linux console has no bright background."""
WHITE_PAPER, BLACK_PAPER = "47;107", "40"
"""SGR: the brightest background there is (107 where known, else 47), and black."""
HALF_BLOCKS = "\u2580\u2584\u2588"
"""Upper half, lower half, full block: the only block glyphs of the Linux kernel's own font."""

Modules = tuple[tuple[bool, ...], ...]
"""Rows of modules from the top, True = dark, without quiet zone."""


def modules(text: str, level: Literal["M", "L"] = "M") -> Modules:
    """The QR code of `text`, smallest version, alphanumeric mode where possible.

    `level`: of error correction; L is smaller, for a screen where M does not fit.
    Raises errors.TokenInvalid if the text is too long for any QR code.
    """
    import qrcode
    from qrcode.exceptions import DataOverflowError
    from qrcode.util import MODE_8BIT_BYTE, MODE_ALPHA_NUM, QRData

    mode = MODE_ALPHA_NUM if set(text) <= set(base45.ALPHABET) else MODE_8BIT_BYTE
    data: Any = QRData(text.encode(), mode=mode)  # type: ignore[call-overload,unused-ignore]
    correction = {"M": qrcode.constants.ERROR_CORRECT_M, "L": qrcode.constants.ERROR_CORRECT_L}
    code = qrcode.QRCode(error_correction=correction[level], border=0)
    code.add_data(data, optimize=0)
    try:
        code.make(fit=True)
    except (DataOverflowError, ValueError):
        raise errors.TokenInvalid("(too long for a QR code)") from None
    return tuple(tuple(bool(module) for module in row) for row in code.modules)


def version(code: Modules) -> int:
    """The QR version, 1 to 40."""
    return (len(code) - 17) // 4


def enlarge(code: Modules, scale: int = 1, quiet: int = QUIET) -> Modules:
    """Each module as `scale` x `scale` squares, with the quiet zone around."""
    side = (len(code) + 2 * quiet) * scale
    border = (False,) * (quiet * scale)
    blank = ((False,) * side,) * (quiet * scale)
    rows = tuple(
        border + tuple(module for module in row for _ in range(scale)) + border
        for row in code
        for _ in range(scale)
    )
    return blank + rows + blank


def half_block_size(code: Modules, scale: int = 1, quiet: int = QUIET) -> tuple[int, int]:
    """Columns and rows that `half_blocks` takes."""
    side = (len(code) + 2 * quiet) * scale
    return side, (side + 1) // 2


def half_blocks(code: Modules, scale: int = 1, quiet: int = QUIET) -> tuple[str, ...]:
    """Lines of blanks and half blocks, two squares a character; *light* is the ink.

    To be written in white on black (`WHITE_INK`); right without any colour on a dark terminal.
    """
    grid = enlarge(code, scale, quiet)
    light = (False,) * len(grid)
    pairs = zip(grid[::2], (*grid[1::2], light), strict=False)
    return tuple(
        "".join(_HALVES[above, below] for above, below in zip(upper, lower, strict=True))
        for upper, lower in pairs
    )


_HALVES = {
    (True, True): " ",
    (False, True): "\u2580",
    (True, False): "\u2584",
    (False, False): "\u2588",
}


def background_size(code: Modules, scale: int = 1, quiet: int = QUIET) -> tuple[int, int]:
    """Columns and rows that `backgrounds` takes."""
    side = (len(code) + 2 * quiet) * scale
    return 2 * side, side


def backgrounds(code: Modules, scale: int = 1, quiet: int = QUIET) -> Modules:
    """Rows of character cells, True = dark: a square is two blanks wide and needs no glyph."""
    return tuple(
        tuple(square for square in row for _ in range(2)) for row in enlarge(code, scale, quiet)
    )


def ansi_lines(code: Modules, *, glyphs: bool = True, scale: int = 1) -> tuple[str, ...]:
    """Lines for a colour terminal, each with its colours reset at its end."""
    if glyphs:
        return tuple(f"\x1b[{WHITE_INK}m{line}\x1b[0m" for line in half_blocks(code, scale))
    return tuple("".join(_runs(row)) + "\x1b[0m" for row in backgrounds(code, scale))


def _runs(row: tuple[bool, ...]) -> Iterator[str]:
    """Blanks with a colour change only where the colour changes."""
    before: bool | None = None
    for dark in row:
        colour = f"\x1b[{BLACK_PAPER if dark else WHITE_PAPER}m" if dark is not before else ""
        yield colour + " "
        before = dark


def png(code: Modules, scale: int = 8, quiet: int = QUIET) -> bytes:
    """A black and white PNG, `scale` pixels a module."""
    from PIL import Image

    grid = enlarge(code, 1, quiet)
    side = len(grid)
    pixels = bytes(0 if module else 255 for row in grid for module in row)
    image = Image.frombytes("L", (side, side), pixels)
    out = io.BytesIO()
    big = image.resize((side * scale, side * scale), Image.Resampling.NEAREST)
    big.convert("1").save(out, "PNG", optimize=True)
    return out.getvalue()
