"""The node's session: drives the node's state machine over a listener, for as long as it is served.

Like `pairing.session`: one queue of inputs, one loop; checking a config and installing run beside
it, so the node answers heartbeats and further callers all the while. What happens while nothing is
listened on (an early boot, a quiet node) is remembered all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import trio

from pairing import errors
from pairing.events import State
from pairing.link import Link
from pairing.protection import Protection
from pairing.protocol import effects, frames
from pairing.protocol.callers import Phase
from pairing.protocol.effects import CarryOut, NodeEffect
from pairing.protocol.locked import LockedMachine
from pairing.protocol.messages import EscrowRecord, Lease, Manifest, VolumeProof
from pairing.protocol.node import NodeMachine
from pairing.protocol.requests import UnlockKind
from pairing.protocol.terminal import OpenTerminal, TerminalMessage
from pairing.protocol.tpmproof import TpmAnswer, TpmQuestion
from pairing.transport.base import Channel, Listener, Presence

REASON_LIMIT = 2000
"""Characters of a reason: a config can be wrong in a hundred places."""
HEARD_SECONDS = 0.2
"""Between two looks at what the operator has acknowledged."""
TERMINAL_INBOX = 256
"""Messages of a repair session that wait for the machine."""
ESCROW_SECONDS = 600.0
"""How long the disk stays untouched while the operator keeps the recovery key."""


@dataclass(frozen=True, slots=True)
class TerminalTalk:
    """A repair session's way to its operator; `inbox` ends when the connection does."""

    send: Callable[[TerminalMessage], None]
    inbox: trio.MemoryReceiveChannel[TerminalMessage]


class Reporter:
    """What a node says to its operator while it installs, and after the reboot.

    Without a listener it is kept and told later.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def entered(
        self,
        state: State,
        *,
        code: str = "",
        text: str = "",
        protection: Protection | None = None,
    ) -> None:
        """The node reached a state; with what protects its disk, once there is something."""
        machine, now = self._serving.machine, self._now()
        todo = machine.entered(state, now, code=code, text=text, protection=protection)
        self._serving.apply(todo)

    def progressed(self, step: str, of: str, done: int, total: int, text: str = "") -> None:
        """A step began (`done` 0), advanced or ended (`done == total`)."""
        machine = self._serving.machine
        self._serving.apply(machine.progressed(step, of, done, total, text, self._now()))

    def said(self, text: str) -> None:
        """A line for people; no secrets."""
        machine = self._serving.machine
        self._serving.apply(machine.said(text, self._now()))

    async def heard(self, seconds: float) -> bool:
        """Whether the operator has everything that was said, waiting at most so long for it."""
        with trio.move_on_after(seconds):
            while not self._serving.machine.heard():  # noqa: ASYNC110 (acknowledgements are rare)
                await trio.sleep(HEARD_SECONDS)
        return self._serving.machine.heard()

    async def escrow(self, record: EscrowRecord) -> None:
        """Until the operator has the record on its disk.

        Raises errors.EscrowNotAcknowledged after ten minutes.
        """
        self._serving.kept = trio.Event()
        self._serving.apply(self._serving.machine.escrow(record, self._now()))
        with trio.move_on_after(ESCROW_SECONDS):
            await self._serving.kept.wait()
            return
        raise errors.EscrowNotAcknowledged

    def proved(self, proof: VolumeProof) -> None:
        """The recovery key was tried on the volumes."""
        self._serving.apply(self._serving.machine.proved(proof, self._now()))

    def _now(self) -> float:
        return self._serving.now()


class Hands(Protocol):
    """What a node's session asks of the machine it runs on."""

    def changed(self) -> None:
        """Draw the screen again: state, code or progress changed."""

    async def check(self, manifest: Manifest, config: bytes) -> Sequence[str]:
        """The plan for this config, as lines. Raises errors.KnownError if it does not fit."""

    async def install(self, manifest: Manifest, delay: float, reporter: Reporter) -> None:
        """Carry out the plan that `check` made, after `delay` seconds in which it can be aborted.

        Raises errors.KnownError; the node is then in state failed and a config may come again.
        """

    def remember(self) -> None:
        """Store the lease, if it is kept over the reboot, before this returns. Never raises."""

    async def ask_tpm(self, question: TpmQuestion) -> TpmAnswer:
        """What this machine's TPM answers. Never raises a known error: that is an answer too."""

    async def terminal(self, order: OpenTerminal, talk: TerminalTalk, reporter: Reporter) -> None:
        """Let the operator repair this machine, until either has enough. Never raises."""

    async def unlock(self, kind: UnlockKind, secret: bytes) -> None:
        """Open the volumes with what an operator has sent. Raises errors.KnownError."""

    async def maintain(self, order: CarryOut, reporter: Reporter) -> None:
        """Change the keys of the volumes as ordered. Raises errors.KnownError.

        A new recovery key goes through `reporter.escrow` before it is enrolled, and
        `reporter.proved` before the old one is wiped.
        """

    def opened(self) -> None:
        """The volumes are open and the operator knows: leave this session."""

    def settled(self) -> None:
        """The operator has the verdict."""


class Serving:
    """A node's machine and hands, with a listener (`run`) or for now without."""

    def __init__(
        self, machine: NodeMachine, hands: Hands, presence: Presence | None = None
    ) -> None:
        self.machine, self.hands = machine, hands
        self.presence = presence or Presence()
        self.listener: Listener | None = None
        self.reporter = Reporter(self)
        self.kept = trio.Event()
        self.links: dict[int, Link] = {}
        self.terminals: dict[int, trio.MemorySendChannel[TerminalMessage]] = {}
        self.started = trio.current_time() - machine.now
        self.inputs, self._queue = trio.open_memory_channel[Callable[[], list[NodeEffect]]](256)

    def now(self) -> float:
        """Seconds since boot."""
        return trio.current_time() - self.started

    async def run(self, listener: Listener) -> None:
        """Serve on this listener until cancelled."""
        self.listener = listener
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                self.apply([self.machine.announcement(), effects.Changed()])
                nursery.start_soon(self._clock)
                nursery.start_soon(self._accept, listener)
                async for take in self._queue:
                    self.apply(take())
        finally:
            self.listener = None

    async def _clock(self) -> None:
        while True:
            await trio.sleep(1)
            await self.inputs.send(lambda: self.machine.tick(self.now()))

    async def _accept(self, listener: Listener) -> None:
        conn = 0
        async for channel in listener.channels():
            conn += 1
            self.nursery.start_soon(self._hold, conn, channel)

    async def _hold(self, conn: int, channel: Channel) -> None:
        link = Link(channel, partial(self._limit, conn))
        self.links[conn] = link
        machine, now = self.machine, self.now
        await self.inputs.send(
            lambda: machine.opened(conn, channel.source, channel.remote_key, now())
        )
        try:
            await link.run(
                lambda body: self.inputs.send(lambda: machine.received(conn, body, now())),
                lambda broken: self.inputs.send(lambda: machine.broken(conn, broken, now())),
            )
        finally:
            del self.links[conn]
            if conn in self.terminals:
                self.terminals[conn].close()
        await self.inputs.send(lambda: machine.closed(conn, now()))

    def _limit(self, conn: int) -> int:
        caller = self.machine.callers.get(conn)
        proved = caller is not None and caller.phase is Phase.LEASE
        return frames.FRAME_LIMIT if proved else frames.PROOFLESS_LIMIT

    # --- effects ------------------------------------------------------------------------------

    def apply(self, todo: Sequence[NodeEffect]) -> None:
        """Carry out what a call to the machine returned."""
        for effect in todo:
            self._apply(effect)

    def _apply(self, effect: NodeEffect) -> None:  # noqa: C901 (a table of effects)
        match effect:
            case effects.Send(message, conn):
                if conn in self.links:
                    self.links[conn].send(message)
                    if isinstance(message, Lease):
                        self.links[conn].channel.vouch()
            case effects.Close(conn):
                if conn in self.links:
                    self.links[conn].close()
            case effects.Changed():
                self.hands.changed()
            case effects.Announce(labels):
                if self.listener:
                    self.listener.announce(replace(self.presence, labels=labels))
            case effects.CheckConfig(manifest, config):
                self.nursery.start_soon(self._check, manifest, config)
            case effects.Install(manifest, delay):
                self.nursery.start_soon(self._install, manifest, delay)
            case effects.EscrowKept():
                self.kept.set()
            case effects.Remember():
                self.hands.remember()
            case effects.Aside(TpmQuestion() as question, conn):
                self.nursery.start_soon(self._ask_tpm, question, conn)
            case effects.Aside(OpenTerminal() as order, conn):
                self.nursery.start_soon(self._terminal, order, conn)
            case effects.Aside(TerminalMessage() as message, conn):
                self._to_terminal(message, conn)
            case effects.TryUnlock(kind, secret):
                self.nursery.start_soon(self._unlock, kind, secret)
            case effects.CarryOut() as order:
                self.nursery.start_soon(self._maintain, order)
            case effects.Opened():
                self.hands.opened()
            case effects.Settled():
                self.hands.settled()

    async def _check(self, manifest: Manifest, config: bytes) -> None:
        try:
            lines = await self.hands.check(manifest, config)
        except errors.KnownError as error:
            refused = _refusal(error)
            self.apply(self.machine.config_refused(refused, self.now()))
            return
        self.apply(self.machine.planned(lines, self.now()))

    async def _ask_tpm(self, question: TpmQuestion, conn: int) -> None:
        answer = await self.hands.ask_tpm(question)
        self.apply([effects.Send(answer, conn)])

    async def _terminal(self, order: OpenTerminal, conn: int) -> None:
        if conn in self.terminals or conn not in self.links:
            return
        self.terminals[conn], inbox = trio.open_memory_channel[TerminalMessage](TERMINAL_INBOX)
        talk = TerminalTalk(lambda message: self.apply([effects.Send(message, conn)]), inbox)
        try:
            await self.hands.terminal(order, talk, self.reporter)
        finally:
            del self.terminals[conn]

    def _to_terminal(self, message: TerminalMessage, conn: int) -> None:
        """To the session on this connection; one that has just ended has no use for it."""
        if conn in self.terminals:
            try:
                self.terminals[conn].send_nowait(message)
            except trio.WouldBlock:
                flood = errors.ProtocolBroken("It sends more of a terminal than was asked for.")
                self.apply(self.machine.broken(conn, flood, self.now()))

    async def _unlock(self, kind: UnlockKind, secret: bytes) -> None:
        machine = self.machine
        assert isinstance(machine, LockedMachine)
        try:
            await self.hands.unlock(kind, secret)
        except errors.KnownError as error:
            self.apply(machine.unlock_failed(error, self.now()))
        else:
            self.apply(machine.unlocked(self.now()))

    async def _maintain(self, order: CarryOut) -> None:
        failed: errors.KnownError | None = None
        try:
            await self.hands.maintain(order, self.reporter)
        except errors.KnownError as error:
            failed = error
        self.apply(self.machine.carried_out(failed, self.now()))

    async def _install(self, manifest: Manifest, delay: float) -> None:
        try:
            await self.hands.install(manifest, delay, self.reporter)
        except errors.KnownError as error:
            self.reporter.entered(State.FAILED, code=error.slug, text=error.detail)


def _refusal(error: errors.KnownError) -> errors.KnownError:
    """Config errors are named by what they mean for the operator: the node refused it."""
    if isinstance(error, errors.NodeError):
        return error
    return errors.ConfigRefusedByNode(error.sentence[:REASON_LIMIT])


async def serve(
    machine: NodeMachine, listener: Listener, hands: Hands, presence: Presence | None = None
) -> None:
    """Serve pairings until cancelled. `presence` says at which relays, and whether by mDNS."""
    await Serving(machine, hands, presence).run(listener)
