"""Several machines asked at once what they have to tell; nobody waits for one that is not there."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio

from cli.errand import NodeErrand
from cli.nodes import NodeRecord
from pairing import errors
from pairing.report import Lines, error_json, safe

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking one. `told`: it had its say; else it is locked, or `error`."""

    node: NodeRecord
    told: bool
    error: errors.KnownError | None = None

    @property
    def exit(self) -> int:
        """Its own exit code."""
        if self.error is not None:
            return int(self.error.exit_code)
        return int(errors.ExitCode.DONE if self.told else errors.ExitCode.LOCKED)

    @property
    def text(self) -> str:
        """One line for people."""
        name = self.node.hostname or self.node.serial or self.node.node
        if self.error is not None:
            return safe(f"{name}: {self.error.code} {self.error.sentence}")
        return safe(f"{name}: {'has told' if self.told else 'is locked'}")

    def to_json(self) -> dict[str, Any]:
        """For `--output jsonl`."""
        error = error_json(self.error) if self.error is not None else None
        said = {"node": self.node.node, "hostname": self.node.hostname, "exit": self.exit}
        return {"schema": 1, **said, "error": error}


def ask_all(errands: Sequence[NodeErrand]) -> list[Answer]:
    """Each asked once, in the order of `errands`. Raises errors.Interrupted."""
    if not errands:
        return []
    errands[0].warm.start()
    errands[0].warm.wait()
    try:
        return trio.run(answers, errands)
    except KeyboardInterrupt:
        raise errors.Interrupted("What was heard until then is kept.") from None


async def answers(errands: Sequence[NodeErrand], at_once: int = AT_ONCE) -> list[Answer]:
    """As `ask_all`, with libp2p loaded."""
    found: dict[int, Answer] = {}
    room = trio.CapacityLimiter(at_once)

    async def one(number: int, errand: NodeErrand) -> None:
        quiet = io.StringIO()
        errand.talk = Lines(quiet, quiet)
        async with room:
            try:
                found[number] = Answer(errand.node, await errand.ask())
            except errors.KnownError as error:
                found[number] = Answer(errand.node, told=False, error=error)

    async with trio.open_nursery() as nursery:
        for number, errand in enumerate(errands):
            nursery.start_soon(one, number, errand)
    return [found[number] for number in range(len(errands))]
