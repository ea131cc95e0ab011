"""Joins the installed machine to what its config names: prepare, check, start, watch, report."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from node.providers.base import CLUSTERS, JOIN_SECONDS, Preparation, Provider, Scene
from node.stages.doing import carry_out
from node.system.door import Door
from pairing import errors, process
from pairing.config.document import Document
from pairing.config.scrub import Scrub
from pairing.events import State
from pairing.facts import Facts
from pairing.process import Result

START_SECONDS = 60.0
"""How long systemd may take to accept a unit; it is not waited for what the unit does."""
TAIL_LINES = 20


class Reporter(Protocol):
    """Where states and steps go: `pairing.serving.Reporter` or what goes on after the reboot."""

    def entered(self, state: State, *, code: str = "", text: str = "") -> None:
        """The node reached a state."""

    def progressed(self, step: str, of: str, done: int, total: int, text: str = "") -> None:
        """A step began (`done` 0), advanced or ended (`done == total`)."""


async def join(
    config: Document,
    facts: Facts,
    reporter: Reporter,
    *,
    root: Path = Path("/"),
    run: Door = process.run,
    providers: Sequence[Provider] | None = None,
) -> State | None:
    """Join everything that `config` asks for, one after the other.

    Reports JOINED when the last one joined and READY when all are ready. Returns the state that
    was reached, None if the config asks for nothing. Ends within the providers' deadlines.
    Raises errors.JoinFailed or a class below it, whose detail ends with the tail of the log;
    the caller reports it.
    """
    if providers is None:
        from node.providers.found import found  # reads entry points: only where one may be wanted

        providers = found(root)
    wanted = chosen(config, providers)
    reached: State | None = None
    for number, provider in enumerate(wanted, start=1):
        last = number == len(wanted)
        one = _Joining(provider, config, facts, reporter, root, run, f"{number}/{len(wanted)}")
        reached = await one.all(last=last)
    return reached


def chosen(config: Document, providers: Sequence[Provider]) -> list[Provider]:
    """Those that the config names in `providers`; if it names none, those that want it.

    A network that is wanted is used also where only others are named.
    Raises errors.JoinProgramMissing for a name that nobody has.
    """
    named = config.get("providers")
    if not named:
        return sorted((one for one in providers if one.wanted(config)), key=lambda one: one.order)
    found = {provider.name: provider for provider in providers}
    for name in named:
        if name not in found:
            raise errors.JoinProgramMissing(element=name)
    networks = [one for one in providers if one.order < CLUSTERS and one.wanted(config)]
    return [*(one for one in networks if one.name not in named), *(found[name] for name in named)]


@dataclass(slots=True)
class _Joining:
    """One provider on its way."""

    provider: Provider
    config: Document
    facts: Facts
    reporter: Reporter
    root: Path
    run: Door
    of: str
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    tail: list[str] = field(default_factory=list)
    reached: State | None = None

    async def all(self, *, last: bool) -> State | None:
        scrub = Scrub.of(self.config)
        scene = Scene(
            config=self.config,
            facts=self.facts,
            root=self.root,
            command=self._command,
            log=lambda line: self._log(scrub(line)),
            say_tail=lambda lines: self._keep_tail(scrub("\n".join(lines[-TAIL_LINES:]))),
        )
        try:
            await self._watch(scene, await self._prepare(scene), last)
        except errors.JoinFailed as wrong:
            raise self._told(wrong, scrub) from None
        except errors.KnownError as wrong:
            raise self._told(errors.JoinFailed(wrong.sentence), scrub) from None
        except OSError as wrong:  # a full or damaged disk, mostly
            raise self._told(errors.JoinFailed(f"{wrong.strerror or wrong}."), scrub) from None
        return self.reached

    def _log(self, line: str) -> None:
        if line not in self.lines:
            self.lines.append(line)

    def _keep_tail(self, text: str) -> None:
        self.tail = text.splitlines()

    async def _prepare(self, scene: Scene) -> Preparation:
        provider = self.provider
        preparation = provider.prepare(self.config, self.facts)
        self._progress(0, 3, "Check the cluster's server")
        with _within(JOIN_SECONDS):
            await provider.check(scene)
        self._progress(1, 3, "Write the settings")
        for action in preparation.actions:
            await trio.to_thread.run_sync(carry_out, action, self.root, self.run)
        for unit in preparation.units:
            self._progress(2, 3, f"Start {unit}")
            argv = ("systemctl", "start", "--no-block", unit)
            await self._command(argv, seconds=START_SECONDS)
        return preparation

    async def _watch(self, scene: Scene, preparation: Preparation, last: bool) -> None:
        cluster = self.provider.order >= CLUSTERS

        def entered(state: State, text: str) -> None:
            reached.append(state)
            self.reached = state if cluster else None
            if state is State.JOINED:
                deadline.deadline = trio.current_time() + preparation.ready_seconds
            if state is State.READY:
                self._progress(3, 3, text)
            if last and cluster:
                self.reporter.entered(state, text=text)

        reached: list[State] = []
        with trio.move_on_after(preparation.join_seconds) as deadline:
            await self.provider.watch(scene, entered)
        if deadline.cancelled_caught:
            raise errors.JoinNotReady if reached else errors.JoinTimeout

    def _progress(self, done: int, total: int, text: str) -> None:
        self.reporter.progressed(f"join-{self.provider.name}"[:64], self.of, done, total, text)

    def _told(self, wrong: errors.JoinFailed, scrub: Callable[[str], str]) -> errors.JoinFailed:
        """The same failure, saying which provider it was and how its log ends."""
        detail = "\n".join(filter(None, (scrub(wrong.detail), *self.lines, *self.tail)))
        return type(wrong)(detail, element=wrong.element or self.provider.name)

    def _command(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Awaitable[Result]:
        ready = partial(
            self.run, argv, seconds=seconds, stdin=stdin, environment=environment, check=check
        )
        return trio.to_thread.run_sync(ready, abandon_on_cancel=True)


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raises errors.JoinTimeout after `seconds`."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise errors.JoinTimeout from None
