"""Whether the code on this machine's own screen can be read: a photo of it can be no better."""

from __future__ import annotations

from collections.abc import Iterator

from node import monitor
from node.checkup.look import Look, advice
from pairing.findings import Finding, ok
from pairing.qr.reading import kind_of


def code(look: Look) -> Iterator[Finding]:
    """Of what the kernel says that the monitor shows. The code itself is not told."""
    with monitor.opened(look.root / "dev") as found:
        if found is None:
            return
        if not found[0].is_in_front():
            yield advice("screen", "another console is in front", "Press Alt-F1 to see the code.")
            return
        shown = monitor.picture(*found)
    text = shown.code()
    what = f"{shown.width} x {shown.height}, {shown.source}"
    if text and kind_of(text):
        yield ok("screen", f"the code on it can be read ({what})")
    elif look.mode == "live":
        hint = "It shows one until an operator has it. Otherwise: look at the monitor."
        yield advice("screen", f"no code can be read from it ({what})", hint)
