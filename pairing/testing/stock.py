"""Stock Kairos peers for tests: Kairos' own programs in Go, as tests/interop/peer drives them.

    peers = Stock("new")
    with peers.start(shop, "receive", {"token": token}) as node, \\
            peers.start(office, "send", {"token": token, "payload": {...}}) as operator:
        operator.wait("sent")
        assert node.wait("received")["payload"] == {...}

`new` is what provider-kairos pins today, `old` what go-nodepair itself pins. `python -m
pairing.testing.stock` builds both ahead of the tests.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pairing import process
from pairing.process import Partner
from pairing.testing import goprogram
from pairing.testing.goprogram import GoProgram
from pairing.testing.netns import Namespace

SOURCE = Path(__file__).resolve().parents[2] / "tests/interop/peer"
Age = Literal["new", "old"]
AGES: tuple[Age, ...] = ("new", "old")
MODFILE = {"new": "go.mod", "old": "old.mod"}
TOOLCHAIN = {"new": "", "old": "go1.23.12"}
"""Built with Go 1.26 the old pair's quic-go 0.46 panics when two of them meet over QUIC."""
SECONDS = 60.0
"""What a peer is given for one event: stock tools look around every ten seconds only."""
LINE_LIMIT = 4 * 1024 * 1024
NEVER = 2**63 - 1
"""The interval, in seconds, of a token whose names do not change."""

Answer = Mapping[str, Any]
"""A line of the program: `event`, `seconds` since its start, and what belongs to the event."""


@dataclass(slots=True)
class Peer:
    """A running peer, stock or ours, and what it has said."""

    said: deque[str] = field(default_factory=lambda: deque(maxlen=30))
    """Its last lines: what to look at when a test fails."""
    _partner: Partner | None = None
    _answers: queue.SimpleQueue[Answer | None] = field(default_factory=queue.SimpleQueue)

    def wait(self, event: str, seconds: float = SECONDS) -> Answer:
        """The next answer of that kind. Raises AssertionError if it fails, ends or is silent."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {event} in {seconds:g} s: {list(self.said)}") from None
            if answer is None or answer["event"] == "failed":
                raise AssertionError(f"ended without {event}: {list(self.said)}")
            if answer["event"] == event:
                return answer

    def rest(self, seconds: float = 2 * SECONDS) -> list[Answer]:
        """All that it says until it ends by itself. Raises AssertionError if it does not."""
        deadline, found = time.monotonic() + seconds, list[Answer]()
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no end in {seconds:g} s: {list(self.said)}") from None
            if answer is None:
                return found
            found.append(answer)

    def say(self, request: Mapping[str, Any]) -> None:
        """A request, or one more (a running network takes more for its ledger)."""
        assert self._partner is not None
        self._partner.say(json.dumps(request).encode() + b"\n")

    def end(self) -> None:
        """Kill it now; what it said before can still be waited for."""
        assert self._partner is not None
        self._partner.stop()

    def listen(self, partner: Partner) -> None:
        """Take over a program that has just started."""
        self._partner = partner
        threading.Thread(target=self._listen, args=(partner,), daemon=True).start()

    def _listen(self, partner: Partner) -> None:
        with contextlib.suppress(ValueError):  # the pipe was closed
            for line in partner.lines(LINE_LIMIT):
                if line.startswith('{"event"'):
                    answer = json.loads(line)
                    self.said.append(f"{answer['event']} {answer.get('error', '')}")
                    self._answers.put(answer)
                else:
                    self.said.append(line)
        self._answers.put(None)


@dataclass(frozen=True, slots=True)
class Stock:
    """One build of the peer."""

    age: Age = "new"

    @property
    def program(self) -> GoProgram:
        """How it is made."""
        return GoProgram(
            self.age,
            "interop",
            SOURCE,
            modfile=MODFILE[self.age],
            toolchain=TOOLCHAIN[self.age],
        )

    def token(self, interval: int = NEVER) -> str:
        """A network token of 548 characters or so; its names change every `interval` seconds."""
        argv = [str(self.program.build()), "token", "-interval", str(interval)]
        return str(json.loads(process.run(argv, seconds=SECONDS).stdout)["token"])

    def picture(self, token: str, file: Path) -> Path:
        """The token as stock Kairos draws it: a PNG with six pixels a module."""
        argv = [str(self.program.build()), "picture", "-photo", str(file)]
        process.run(argv, seconds=SECONDS, stdin=json.dumps({"token": token}).encode())
        return file

    def start(
        self, inside: Namespace, command: str, request: Mapping[str, Any] | None, *flags: str
    ) -> AbstractContextManager[Peer]:
        """Run a command of the program inside, until the context ends (SIGKILL)."""
        return running(inside, (str(self.program.build()), command, *flags), request)

    def versions(self) -> Mapping[str, str]:
        """The modules that make the protocol, with their versions: `go version -m` in short."""
        wanted = (
            r"github\.com/(?:kairos-io/go-nodepair|mudler/edgevpn|libp2p/go-libp2p(?:-\w+-?\w*)?)"
        )
        return dict(re.findall(rf"^\tdep\t({wanted})\t(v\S+)", self.program.contents(), re.M))


@contextlib.contextmanager
def running(
    inside: Namespace, argv: Sequence[str], request: Mapping[str, Any] | None
) -> Iterator[Peer]:
    """Any program that talks as the peers do, until the context ends (SIGKILL)."""
    partner = inside.partner(*argv)
    try:
        peer = Peer()
        peer.listen(partner)
        if request is not None:
            peer.say(request)
        yield peer
    finally:
        partner.stop()


def ours(inside: Namespace, *flags: str) -> AbstractContextManager[Peer]:
    """Our ends, waiting for their request. See `pairing.testing.kairos_ends`."""
    return running(inside, (sys.executable, "-m", "pairing.testing.kairos_ends", *flags), None)


def possible() -> bool:
    """Whether both builds are there or can be made."""
    return bool(goprogram.go()) or all(Stock(age).program.built() for age in AGES)


def main() -> int:
    """Build both and print where they are."""
    return goprogram.build_all((Stock(age).program for age in AGES), "no stock peers for the tests")


if __name__ == "__main__":
    sys.exit(main())
