"""In a test's machine: join by each config of a folder in turn; a line of JSON for each event.

`python3 -m node.testing.join_once FOLDER`. The loop, the reports and the errors are the product's.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from node.facts import Probe
from node.providers.join import join
from pairing import errors
from pairing.config import load_file
from pairing.events import State

MARK = "JOIN "
END = "END"


@dataclass(frozen=True, slots=True)
class Spoken:
    """A reporter that writes to standard output. `seconds` count from `began`."""

    config: str
    began: float

    def entered(self, state: State, *, code: str = "", text: str = "") -> None:
        """One line."""
        seconds = round(time.monotonic() - self.began, 1)
        said = {"config": self.config, "state": state, "code": code, "text": text}
        print(f"{MARK}{json.dumps({**said, 'seconds': seconds})}", flush=True)

    def progressed(self, step: str, of: str, done: int, total: int, text: str = "") -> None:
        """For people who read the log."""
        print(f"{self.config}: {step} {done}/{total} {text}", flush=True)


def main(folder: Path) -> None:
    """Join by every `*.yaml`, in the order of the names."""
    facts = Probe().facts()
    for path in sorted(folder.glob("*.yaml")):
        reporter = Spoken(path.stem, time.monotonic())
        try:
            trio.run(partial(join, load_file(path), facts, reporter))
        except errors.KnownError as wrong:
            reporter.entered(State.FAILED, code=wrong.slug, text=wrong.sentence)
    print(f"{MARK}{END}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
