"""What a kernel image of ours says, and whether it would do on this machine. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from node.system.kernelimage import sections
from node.system.medium import PUBLIC_KEY
from node.system.reading import read


def unfit(path: Path, root: Path) -> str:
    """Why it would not do as the kernel of an installed system here; empty if nothing speaks
    against it.

    Without Secure Boot nothing holds its code against a key: what it says of itself is then all.
    """
    from node.system.firmwarekeys import refused  # needs libraries that `state` does not

    try:
        found = sections(path, (".pcrpkey",))
        mode = line_words(path).get("kairos.mode")
        if reason := refused(root, path):
            return f"This machine would not start its kernel: {reason}."
    except (ValueError, OSError) as wrong:
        return f"Its kernel image cannot be read ({wrong})."
    if mode != "installed":
        return "Its kernel image is not that of an installed system."
    ours = read(root / str(PUBLIC_KEY).lstrip("/")).strip(b"\0\n ")
    if ours and found.get(".pcrpkey", b"").strip(b"\0\n ") != ours:
        return "Its kernel image is signed by another key: the volumes would not open."
    return ""


def line_words(path: Path) -> Mapping[str, str]:
    """The words of its own kernel line, with their values; the last of each counts.

    Raises ValueError for another kind of file, OSError.
    """
    line = sections(path, (".cmdline",)).get(".cmdline", b"").decode("utf-8", "replace")
    return dict(word.partition("=")[::2] for word in line.strip("\0").split())
