"""`decode --explain`: which steps were tried on a photo, and where codes are in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pairing.qr.reading import Corners, Reading, Seen, box


def lines(name: str, seen: Reading) -> list[str]:
    """For a terminal of 80 columns: a line a step, then a line a code."""
    said = [f"{name}: {seen.format}, {seen.width} x {seen.height}, {seen.cpu_ms} ms of CPU"]
    if seen.tried:
        said.append(f"  {'step':30}{'ms':>7}{'read':>7}{'located':>9}")
    said += [
        f"  {step.step[:30]:30}{step.ms:>7}{step.read:>7}{step.located:>9}" for step in seen.tried
    ]
    said += [f"  read by {code.step!r} at {place(code.corners)}" for code in seen.codes]
    said += [f"  a code that cannot be read at {place(corners)}" for corners in seen.unreadable]
    return said + [f"  {_said(code)}" for code in seen.seen]


def body(seen: Reading) -> dict[str, Any]:
    """The same for a JSON line."""
    return {
        "format": seen.format,
        "size": [seen.width, seen.height],
        "steps": [
            {"step": t.step, "ms": t.ms, "read": t.read, "located": t.located} for t in seen.tried
        ],
        "codes": [{"corners": code.corners, "step": code.step} for code in seen.codes],
        "unreadable": list(seen.unreadable),
        "seen": [_body(code) for code in seen.seen],
    }


def place(corners: Sequence[tuple[int, int]]) -> str:
    """The box round a code, in pixels of the upright photo."""
    left, top, right, bottom = box(tuple(corners))
    return f"({left}, {top}) to ({right}, {bottom})"


def _said(code: Seen) -> str:
    version = f"version {code.version}, " if code.version else ""
    if code.guessed:
        return f"looks like a code at {place(code.corners)}, {code.pitch:.1f} px a module"
    words = f"grid at {_start(code.corners)}: {version}fit {code.fit:.2f}, {code.pitch:.1f} px"
    words += " a module"
    if code.glare:
        words += f", glare {code.glare:.0%}"
    return f"{words}, cut off {code.cut}" if code.cut else words


def _start(corners: Corners) -> str:
    left, top, *_ = box(corners)
    return f"({left}, {top})"


def _body(code: Seen) -> dict[str, Any]:
    return {
        "corners": code.corners,
        "version": code.version,
        "fit": round(code.fit, 3),
        "pitch": round(code.pitch, 2),
        "glare": round(code.glare, 3),
        "glare_at": code.glare_at,
        "read": code.read,
        "cut": code.cut,
        "blur": round(code.blur, 2),
        "guessed": code.guessed,
    }
