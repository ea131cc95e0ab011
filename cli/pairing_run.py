"""One run of `kairos-register` over its sources: photo, token, network, session, verdict."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self, TypeAlias, TypeVar

import trio

from cli import configs
from cli.desk import OperatorDesk, Order, Rehearsed
from cli.duplicates import machines
from cli.records import Records
from cli.sources import Source, native_token
from cli.together import read_together
from pairing import errors, session
from pairing.config import Problem
from pairing.errors import ExitCode
from pairing.events import State
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.effects import Done
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import Identity, Patience
from pairing.qr.read import PhotoReader
from pairing.qr.reading import Kind
from pairing.report import Report, Verdict, report_for
from pairing.transport.base import Dialer, Target
from pairing.transport.p2p import P2PTransport, meeting_from_files, warm_up
from pairing.transport.relay import find_relay

Outcome: TypeAlias = Done | errors.KnownError
Network = Callable[[], AbstractAsyncContextManager[Dialer]]
Ended = TypeVar("Ended")


def libp2p(relay_ca: Path | None = None, relay_token_file: Path | None = None) -> Network:
    """The network that is used. Raises errors.KnownError if a file is not what it should be."""
    meeting = meeting_from_files(relay_ca, relay_token_file)
    return lambda: P2PTransport(meeting=meeting).dialer()


BOTH = (
    "this machine's code is one for Kairos' own protocol too: whoever has the photo can take its"
    " place, so what our own protocol promises does not hold for it"
)
LEDGER = (
    "Kairos' own protocol may still reach this machine: --kairos uses it, and it is weaker (who has"
    " the photo can read the config)."
)


class WarmUp:
    """Loads libp2p in a thread, while the photo is being read."""

    def __init__(self, load: Callable[[], None] = warm_up) -> None:
        self._load = load
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="warm-up", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self) -> None:
        """Until it is loaded. Raises errors.TransportMissing."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            self._load()
        except BaseException as error:  # raised again where it is waited for
            self._error = error


@dataclass(slots=True, kw_only=True)
class Run:
    """Everything that is the same for all sources. `timeout` in seconds."""

    order: Order
    goal: State
    identity: Identity
    sources: Sequence[Source]
    timeout: float
    output: str = "human"
    loopback: bool = False
    warnings: Sequence[Problem] = ()
    network: Network = field(default_factory=libp2p)
    approve_start: Callable[[OperatorDesk], Awaitable[None]] | None = None
    """Opens a machine that waits for its first start to be approved. Raises errors.KnownError."""
    warm: WarmUp = field(default_factory=WarmUp)
    records: Records = field(default_factory=Records)
    reader: PhotoReader = field(default_factory=PhotoReader)
    report: Report = field(init=False)
    both: set[str] = field(default_factory=set)
    """Names of tokens whose machines speak Kairos' protocol too."""

    def __post_init__(self) -> None:
        self.report = report_for(self.output, sys.stderr, sys.stdout)

    def __enter__(self) -> Self:
        self.warm.start()
        for problem in self.warnings:
            self.report.warn(str(problem))
        name = configs.hostname(self.order.document)
        self.report.say("config", f"valid{f', hostname {name}' if name else ''}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.report.quiet()
        self.reader.close()

    def close(self, exit_code: int) -> int:
        """The end of the report; gives back the exit code."""
        self.report.close(exit_code)
        return exit_code

    def all(self) -> list[int]:
        """Register one machine after another; returns their exit codes. An interruption ends it."""
        codes: list[int] = []
        read = read_together(self.sources, self.reader)
        for machine in machines(read, loopback=self.loopback):
            verdict = self.one(machine.source)
            codes.append(verdict.exit)
            for other in machine.others:
                same = machine.source.name
                said = replace(verdict, source=other.name, duplicate_of=same, error=None)
                self.report.verdict(said)
            if codes[-1] == ExitCode.INTERRUPTED:
                break
        return codes

    def one(self, source: Source) -> Verdict:
        """Register one machine; never raises a known error."""
        try:
            token = self._token(source)
            self.warm.wait()
        except errors.KnownError as error:
            return self._end(_failed(source, error))
        except KeyboardInterrupt:
            return self._end(_failed(source, _interrupted(released=False)))
        return self._end(trio.run(self.pair, source.name, token))

    def _end(self, verdict: Verdict) -> Verdict:
        self.report.verdict(verdict)
        return verdict

    def _token(self, source: Source) -> Token:
        if source.advice:
            self.report.warn(source.advice)
        code = source.code(self.reader)
        token = native_token(code, source.name, loopback=self.loopback)
        if code.kind is Kind.KAIROS:
            self.both.add(token.name)
            self.report.warn(BOTH)
        hint = f", at {' or '.join(map(str, token.addresses))}" if token.addresses else ""
        self.report.say("photo", f"{source.name}: code {token.name}{hint}")
        return token

    # --- one node -------------------------------------------------------------------------------

    async def pair(self, name: str, token: Token) -> Verdict:
        """Register the machine that shows `token`; never raises a known error."""
        stored = self.records.lease(token.name)
        desk = OperatorDesk(self.order, token, self.records, self.report)
        desk.released = stored.released if stored else False
        desk.known = stored.known if stored else None
        desk.hostname = stored.hostname if stored else ""
        desk.machine = self._machine(desk)
        try:
            outcome = await interruptible(lambda: self._to_the_end(desk))
        finally:
            desk.close()
        await desk.settle(desk.machine.released)
        return self._verdict(name, desk, outcome or _interrupted(desk.released))

    def _machine(self, desk: OperatorDesk) -> OperatorMachine:
        return OperatorMachine(
            desk.token,
            self.identity,
            self.goal,
            secrets.token_bytes,
            Patience(silence=self.timeout),
            desk.known,
            desk.released,
            (self.records.last_state(desk.node) if desk.released else None) or State.WAITING,
        )

    async def _to_the_end(self, desk: OperatorDesk) -> Outcome:
        """With `unlock: approval`, who has just approved the machine approves its first start."""
        earlier = desk.released
        outcome = await self._session(desk)
        if not desk.awaits_approval or earlier or self.approve_start is None:
            return outcome
        try:
            await self.approve_start(desk)
        except errors.KnownError as error:
            return error
        desk.machine = self._machine(desk)
        return await self._session(desk)

    async def _session(self, desk: OperatorDesk) -> Outcome:
        assert desk.machine is not None
        try:
            async with self.network() as dialer:
                return await self._register(desk, desk.machine, dialer)
        except errors.KnownError as error:
            return error

    async def _register(
        self, desk: OperatorDesk, machine: OperatorMachine, dialer: Dialer
    ) -> Outcome:
        try:
            target = self._target(desk.token)
            return await session.register(machine, dialer, target, desk, find=self.timeout)
        except errors.KnownError as error:  # caught inside: a network may group what passes it
            return error

    def _target(self, token: Token) -> Target:
        relays = self.order.relays
        if token.relay:
            first = find_relay(token.relay, relays)
            if first is None:
                self.report.warn("the machine waits at a relay that you did not name (--relay)")
            else:
                relays = tuple(dict.fromkeys((first, *relays)))
        return Target(
            key=token.key,
            label=handshake.label(token.secret, token.key),
            addresses=token.addresses,
            relays=relays,
        )

    def _verdict(self, name: str, desk: OperatorDesk, outcome: Outcome) -> Verdict:
        error = outcome if isinstance(outcome, errors.KnownError) else None
        if isinstance(error, errors.UnreachableError) and desk.token.name in self.both:
            error.detail = f"{error.detail} {LEDGER}".strip()
        rehearsed = isinstance(error, Rehearsed)
        done = outcome if isinstance(outcome, Done) else None
        state = done.state if done else (State.CLAIMED if rehearsed else desk.state)
        return Verdict(
            source=name,
            exit=int(error.exit_code) if error else int(ExitCode.DONE),
            state=state.value if state else "",
            node=desk.node,
            serial=desk.facts.serial,
            already=done.already if done else False,
            dry_run=rehearsed or desk.dry_run,
            released=desk.released,
            error=None if rehearsed else error,
        )


def _failed(source: Source, error: errors.KnownError) -> Verdict:
    return Verdict(source=source.name, exit=int(error.exit_code), error=error)


def _interrupted(released: bool) -> errors.Interrupted:
    if released:
        return errors.Interrupted("The config had been released: the machine may go on by itself.")
    return errors.Interrupted("Nothing was released to this machine.")


async def interruptible(work: Callable[[], Awaitable[Ended]]) -> Ended | None:
    """Do `work`. None if Ctrl-C or SIGTERM ended it, politely; a second one ends it at once."""
    outcome: Ended | None = None

    async def watch(nursery: trio.Nursery) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            started.set()
            async for _ in signals:
                break
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, _leave_at_once)
            nursery.cancel_scope.cancel()
            await trio.sleep_forever()

    started = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, nursery)
        await started.wait()
        outcome = await work()
        nursery.cancel_scope.cancel()
    return outcome


def _leave_at_once(_number: int, _frame: FrameType | None) -> None:
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # a progress bar hides the cursor
    os._exit(int(ExitCode.INTERRUPTED))
