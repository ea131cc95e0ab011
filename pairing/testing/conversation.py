"""Node and operators talking without a network: both state machines, joined by plain queues.

For tests of the protocol. Messages go through real frames (encoded and decoded); time moves only
when told to. A `Tap` sees, changes or drops every frame.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pairing import errors, keys
from pairing.events import Event, Mode, State
from pairing.peertoken import Token
from pairing.protocol import effects, frames, messages
from pairing.protocol.callers import NodePolicy
from pairing.protocol.effects import NodeEffect, OperatorEffect
from pairing.protocol.kept import KeptTenancy, ReportFile
from pairing.protocol.locked import locked_machine
from pairing.protocol.node import NodeMachine
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import Identity, KnownLease, Patience, Release, Way
from pairing.protocol.tpmproof import TpmAnswer, TpmQuestion
from pairing.protocol.wire import Message, write_message

Tap = Callable[[str, Mapping[str, Any]], Sequence[Mapping[str, Any]]]
"""Called with a direction (`to-node`, `to-operator`) and a frame's object; gives what arrives."""


def pass_all(direction: str, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The tap that changes nothing."""
    return (body,)


@dataclass(slots=True)
class OperatorEnd:
    """An operator in a conversation, and everything that it has been told."""

    machine: OperatorMachine
    conn: int = 0
    channel_key: bytes = b""
    view: effects.NodeView | None = None
    events: list[Event] = field(default_factory=list)
    escrow: list[messages.EscrowRecord] = field(default_factory=list)
    proofs: list[messages.VolumeProof] = field(default_factory=list)
    leases: list[KnownLease] = field(default_factory=list)
    done: effects.Done | None = None
    error: errors.KnownError | None = None
    redials: list[tuple[Way, ...]] = field(default_factory=list)
    heard: list[Mapping[str, Any]] = field(default_factory=list)
    """Every frame that arrived: what this operator could have learned."""
    decide: Callable[[OperatorEnd], list[OperatorEffect]] | None = None
    keeps_escrow: bool = True


@dataclass(slots=True)
class NodeEnd:
    """The node in a conversation, and what it was asked to do."""

    machine: NodeMachine
    configs: list[bytes] = field(default_factory=list)
    installs: list[messages.Manifest] = field(default_factory=list)
    announced: tuple[bytes, ...] = ()
    escrow_kept: int = 0
    settled: int = 0
    keeps: bool = False
    """The volume is open: what the machine asks to remember is stored."""
    stored: KeptTenancy | None = None
    plan: Callable[[bytes], Sequence[str]] = field(default=lambda config: ("1/1 nothing",))
    tpm: Callable[[TpmQuestion], TpmAnswer | None] = field(default=lambda question: None)
    """What its TPM answers; None leaves the operator waiting."""


class Conversation:
    """A node and any number of operators. `seed` makes all randomness repeatable."""

    def __init__(
        self,
        *,
        policy: NodePolicy | None = None,
        facts: Mapping[str, Any] | None = None,
        seed: int = 0,
        tap: Tap = pass_all,
    ) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.boots = 1
        self.tap = tap
        self.node = NodeEnd(
            NodeMachine(
                key=self.new_key(),
                boot="boot-1",
                facts=facts or {"serial": "S-1"},
                policy=policy or NodePolicy(),
                random=self.random.randbytes,
            )
        )
        self._conns = itertools.count(1)
        self._operators: dict[int, OperatorEnd] = {}
        self._todo: deque[tuple[str, int, Mapping[str, Any]]] = deque()

    def new_key(self) -> keys.SigningKey:
        """A repeatable key."""
        return keys.SigningKey(self.random.randbytes(32))

    def state(self) -> State:
        """The node's state now."""
        return self.node.machine.state

    def photo(self) -> Token:
        """What the screen shows now."""
        return self.node.machine.token()

    def operator(
        self,
        token: Token | None = None,
        *,
        identity: Identity | None = None,
        goal: State = State.WRITTEN,
        known: KnownLease | None = None,
        patience: Patience | None = None,
    ) -> OperatorEnd:
        """An operator with a photo, not yet connected."""
        machine = OperatorMachine(
            token or self.photo(),
            identity or Identity(self.new_key()),
            goal,
            self.random.randbytes,
            patience or Patience(),
            known,
        )
        return OperatorEnd(machine)

    # --- the network --------------------------------------------------------------------------

    def connect(self, end: OperatorEnd, source: str = "192.0.2.1") -> None:
        """Open a channel and let both talk until nothing more is said."""
        end.conn, end.channel_key = next(self._conns), self.random.randbytes(32)
        self._operators[end.conn] = end
        machine = self.node.machine
        self._apply_node(machine.opened(end.conn, source, end.channel_key, self.now))
        key = self.node.machine.public
        self._apply_operator(end, end.machine.opened(end.channel_key, "memory", self.now, key))
        self.settle()

    def cut(self, end: OperatorEnd) -> None:
        """The network takes the channel away from both."""
        if self._operators.pop(end.conn, None) is end:
            self._todo = deque(item for item in self._todo if item[1] != end.conn)
            self._apply_node(self.node.machine.closed(end.conn, self.now))
            self._apply_operator(end, end.machine.lost(self.now))
            self.settle()

    def settle(self) -> None:
        """Deliver until both ends are silent."""
        while self._todo:
            direction, conn, body = self._todo.popleft()
            end = self._operators.get(conn)
            if end is None:
                continue
            for arriving in self.tap(direction, body):
                if direction == "to-node":
                    self._apply_node(self.node.machine.received(conn, arriving, self.now))
                else:
                    end.heard.append(arriving)
                    self._apply_operator(end, end.machine.received(arriving, self.now))

    def reboot(self) -> None:
        """The node restarts as an installed one: only what it stored last is left of it.

        Both ends have one clock here, so the new boot's time goes on.
        """
        for end in list(self._operators.values()):
            self.cut(end)
        assert self.node.stored is not None, "nothing was stored"
        key, held = self.node.stored.restored(self.now)
        old = self.node.machine
        self.boots += 1
        self.node.machine = NodeMachine(
            key=key,
            boot=f"boot-{self.boots}",
            facts=old.facts,
            policy=old.policy,
            random=self.random.randbytes,
            now=self.now,
            mode=Mode.INSTALLED,
            tenancy=held,
        )
        self.node_says([self.node.machine.announcement()])

    def lock(self, file: ReportFile, code: str, text: str) -> None:
        """The node restarts and its volumes do not open."""
        for end in list(self._operators.values()):
            self.cut(end)
        old = self.node.machine
        self.boots += 1
        self.node.machine = locked_machine(
            file,
            boot=f"boot-{self.boots}",
            facts=old.facts,
            policy=old.policy,
            random=self.random.randbytes,
            now=self.now,
            code=code,
            text=text,
        )
        self.node_says([self.node.machine.announcement()])

    def wait(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        for _ in range(int(seconds)):
            self.now += 1
            self._apply_node(self.node.machine.tick(self.now))
            for end in list(self._operators.values()):
                self._apply_operator(end, end.machine.tick(self.now))
            self.settle()

    def forge(self, end: OperatorEnd, body: Mapping[str, Any]) -> None:
        """Send the node something that the operator's machine would not say."""
        self._todo.append(("to-node", end.conn, body))
        self.settle()

    # --- what both do -------------------------------------------------------------------------

    def release(self, end: OperatorEnd, release: Release) -> None:
        """The operator approves and sends."""
        self._apply_operator(end, end.machine.release(release, self.now))
        self.settle()

    def node_says(self, todo: Sequence[NodeEffect]) -> None:
        """Carry out what a call to the node's machine returned."""
        self._apply_node(todo)
        self.settle()

    def operator_says(self, end: OperatorEnd, todo: Sequence[OperatorEffect]) -> None:
        """Carry out what a call to an operator's machine returned."""
        self._apply_operator(end, todo)
        self.settle()

    def _frame(self, message: Message) -> Mapping[str, Any]:
        data = frames.encode_frame(write_message(message))
        (body,) = frames.FrameReader(frames.FRAME_LIMIT).feed(data)
        return body

    def _apply_node(self, todo: Sequence[NodeEffect]) -> None:  # noqa: C901 (a table of effects)
        node, now = self.node, self.now
        for effect in todo:
            match effect:
                case effects.Send(message, conn):
                    self._todo.append(("to-operator", conn, self._frame(message)))
                case effects.Close(conn):
                    self.settle()
                    self._hang_up(conn)
                case effects.Announce(labels):
                    node.announced = labels
                case effects.CheckConfig(_, config):
                    node.configs.append(config)
                    self._apply_node(self._plan(config, now))
                case effects.Install(manifest, _):
                    node.installs.append(manifest)
                case effects.EscrowKept():
                    node.escrow_kept += 1
                case effects.Remember():
                    if node.keeps and (kept := node.machine.kept()):
                        node.stored = KeptTenancy.from_bytes(kept.to_bytes())
                case effects.Aside(TpmQuestion() as question, conn):
                    if answer := node.tpm(question):
                        self._todo.append(("to-operator", conn, self._frame(answer)))
                case effects.Settled():
                    node.settled += 1

    def _plan(self, config: bytes, now: float) -> list[NodeEffect]:
        try:
            return self.node.machine.planned(self.node.plan(config), now)
        except errors.KnownError as error:
            return self.node.machine.config_refused(error, now)

    def _hang_up(self, conn: int) -> None:
        end = self._operators.pop(conn, None)
        self._apply_node(self.node.machine.closed(conn, self.now))
        if end:
            self._apply_operator(end, end.machine.lost(self.now))

    def _apply_operator(  # noqa: C901 (a table of effects)
        self, end: OperatorEnd, todo: Sequence[OperatorEffect]
    ) -> None:
        for effect in todo:
            match effect:
                case effects.Send(message):
                    self._todo.append(("to-node", end.conn, self._frame(message)))
                case effects.Close():
                    self.settle()
                    self._hang_up(end.conn)
                case effects.Leased(known):
                    end.leases.append(known)
                case effects.KeepReportKey(known):
                    end.leases.append(known)
                    self._apply_operator(end, end.machine.report_key_kept(self.now))
                case effects.Decide(view):
                    end.view = view
                    if end.decide:
                        self._apply_operator(end, end.decide(end))
                case effects.KeepEscrow(record):
                    end.escrow.append(record)
                    if end.keeps_escrow:
                        self._apply_operator(end, end.machine.escrow_kept(self.now))
                case effects.KeepProof(proof):
                    end.proofs.append(proof)
                case effects.Seen(event):
                    end.events.append(event)
                case effects.Redial(ways):
                    end.redials.append(ways)
                case effects.Done() as done:
                    end.done = done
                case effects.Fail(error):
                    end.error = error
