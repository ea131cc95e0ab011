"""Recorded tools and kernel files, replayed for the probe of `node.facts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairing import errors
from pairing.process import Result


@dataclass
class RecordedTools:
    """Answers of programs by their name, or by name and last argument. A missing one is missing."""

    answers: Mapping[str, str | bytes | None] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, seconds: float, check: bool = True) -> Result:
        assert 0 < seconds <= 60
        self.asked.append(tuple(argv))
        name = argv[0]
        answer = self.answers.get(f"{name} {argv[-1]}", self.answers.get(name, None))
        if answer is None:
            raise errors.CommandMissing(element=name)
        data = answer.encode() if isinstance(answer, str) else answer
        if name == "tpm2_createek":
            Path(argv[-1]).write_bytes(data)
        return Result(0, data, b"")


def plant(root: Path, tree: Mapping[str, Any]) -> Path:
    """Make files below `root`: a text, {"hex": ...}, {"link": target} or {"folder": true}."""
    for name, what in tree.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str):
            path.write_text(what)
        elif "hex" in what:
            path.write_bytes(bytes.fromhex(what["hex"]))
        elif "link" in what:
            path.symlink_to(what["link"])
        else:
            path.mkdir(exist_ok=True)
    return root
