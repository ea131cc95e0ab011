"""The booted node from top to bottom: code on the screen -> facts -> claim -> config -> plan ->
execution -> verdict.

The code is drawn first, before libp2p is loaded, before the hardware was looked at and before
there is an address; whatever becomes known later is added to the screen.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import trio

from node.code import Code, hints
from node.rescue import Rescue
from node.settings import Form, Settings
from node.system import clock
from node.tenancy_store import TenancyStore
from node.tpmanswers import TpmAnswers
from pairing import errors, facts, keys
from pairing.events import INSTALLS, Mode, State
from pairing.protocol.effects import CarryOut
from pairing.protocol.frames import canonical
from pairing.protocol.kept import ReportFile, report_file
from pairing.protocol.messages import Manifest
from pairing.protocol.node import NodeMachine
from pairing.protocol.requests import UnlockKind
from pairing.protocol.rescue import RescueRules
from pairing.protocol.terminal import OpenTerminal
from pairing.protocol.tpmproof import TpmAnswer, TpmQuestion
from pairing.serving import Reporter, Serving, TerminalTalk
from pairing.transport.base import Address, Presence, Reachable, Transport

if TYPE_CHECKING:
    from node.installer import Installer
    from node.system.install.doors import Doors
    from pairing.edgevpn.gossip import KairosNetwork
    from pairing.facts import Facts

LOG = logging.getLogger("kairos.node")
FACTS_LIMIT = 48 * 1024
"""Bytes of facts in canonical JSON; the lease's frame holds 64 KiB."""
FAREWELL_SECONDS = 20.0
"""How long a node that restarts waits until its operator knows."""
TENANCY = ".kairos/tenancy.json"
"""Where the lease is kept, in the OEM volume."""
LOOK_AGAIN = 2.0
"""Seconds between two looks at our addresses and relays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The step that runs: its name, number of all ("3/9") and progress in its own unit."""

    step: str = ""
    of: str = ""
    done: int = 0
    total: int = 0
    text: str = ""


class Display(Protocol):
    """Where the node shows itself: a console, a picture, or several at once."""

    def show(self, agent: Agent) -> None:
        """Draw what the agent is now. Called often; never blocks for long, never raises."""


@dataclass(slots=True)
class Agent:
    """A node while it pairs. `serving.Hands` for its session, the source of truth for its screen.

    `look` probes the machine (in a thread); `dry_run` carries out plans without changing anything.
    """

    settings: Settings
    look: Callable[[], facts.Facts]
    display: Display
    state: Path
    own_addresses: Callable[[], Sequence[Address]] = tuple
    """The addresses that the listener will have, known before it is there."""
    dry_run: bool = False
    mode: Mode = Mode.LIVE
    once: bool = False
    """End when the operator has the verdict."""
    uptime: Callable[[], float] = lambda: 0.0
    """Seconds since the machine was switched on."""
    store: TenancyStore | None = None
    """Where the lease is kept over the reboot, once the volume for it is open."""
    early: TenancyStore | None = None
    """Where it is kept before, in memory: for a restart of this program."""
    doors: Doors | None = None
    """How steps reach the machine; None: this one."""
    leave: Callable[[State], Awaitable[None]] | None = None
    """Restarts the machine (`REBOOTING`) or switches it off (`WRITTEN`); None: it stays on."""
    tpm: TpmAnswers = field(default_factory=lambda: TpmAnswers(None))
    installed: Callable[[], ReportFile | None] = lambda: None
    """The record beside the boot files of an installed disk: who owns this machine.

    Raises ValueError if it is damaged."""
    repairable: bool = False
    """It runs from an image of ours, so there may be repair sessions."""
    rescue: Rescue = field(default_factory=Rescue)
    opener: Callable[[UnlockKind, bytes], Awaitable[None]] | None = None
    """Opens the volumes of a locked node with what an operator sent."""
    maintainer: Callable[[CarryOut, Reporter], Awaitable[None]] | None = None
    """Changes the keys of an installed node's volumes."""
    is_open: trio.Event = field(default_factory=trio.Event)
    """They are open, and the operator that sent it knows."""
    kairos: KairosNetwork | None = None
    """Where a code of Kairos' form is waited for."""
    tried: errors.KnownError | None = None
    """Why what came by Kairos' protocol was not installed; it waits again."""
    code: Code = field(default_factory=Code)
    machine: NodeMachine = field(init=False)
    facts: facts.Facts = field(default_factory=facts.Facts)
    reachable: Reachable = field(default_factory=Reachable)
    progress: Progress = field(default_factory=Progress)
    error: errors.KnownError | None = None
    begins_at: float | None = None
    """When the installation begins, in trio's time, while switching off still stops it."""
    _installer: Installer | None = None
    _settled: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        if self.mode in INSTALLS:
            self.code = Code(self.settings.form)
        self.machine = NodeMachine(
            key=keys.generate(),
            boot=secrets.token_hex(8),
            facts={},
            policy=self.settings.policy(),
            random=secrets.token_bytes,
            draw=self.code.draw,
            dry_run=self.dry_run,
            mode=self.mode,
            now=self.uptime(),
        )
        self.rescue.rules, self.rescue.changed = self._rescue_rules, self.changed

    # --- what the screen shows ----------------------------------------------------------------

    def token(self) -> str:
        """The text of the code to show now, with the hints known by now."""
        return self.code.text(self.machine, hints(self.reachable, self.settings.relays))

    def smaller_token(self) -> str:
        """The text of the code for a screen that is too small for it; mostly there is none."""
        return self.code.smaller_text(self.machine, hints(self.reachable, self.settings.relays))

    # --- the session's hands ------------------------------------------------------------------

    def changed(self) -> None:
        """See `serving.Hands`."""
        if self.machine.state is State.WAITING:
            self.progress, self.error = Progress(), None
        if self.machine.tenancy is not None:
            self.tried = None
        self.display.show(self)

    async def check(self, manifest: Manifest, config: bytes) -> Sequence[str]:
        """See `serving.Hands`. The same rules as the operator's, on this machine's own facts."""
        self.error = None
        self.store = self.early  # an earlier attempt's volume is about to be overwritten
        if not self.dry_run:
            clock.set_forward(manifest.time)
        with self._remembering_errors():
            return await trio.to_thread.run_sync(self.plan, manifest, config)

    def plan(self, manifest: Manifest, config: bytes) -> Sequence[str]:
        """Plan this config, and remember it. Raises errors.KnownError if it does not fit."""
        from node.installing import keep_release

        if self._installer is None:
            self.take_up(self.facts)
        assert self._installer is not None
        lines = self._installer.make_plan(manifest, config).text
        keep_release(self, self._installer.facts, config)
        return lines

    def take_up(self, snapshot: Facts) -> None:
        """Plan with these facts of the machine from now on."""
        from node.installing import installer_of

        self._installer = installer_of(self, snapshot)

    @contextlib.contextmanager
    def _remembering_errors(self) -> Iterator[None]:
        try:
            yield
        except errors.KnownError as error:
            self.error = error
            raise

    async def install(self, manifest: Manifest, delay: float, reporter: Reporter) -> None:
        """See `serving.Hands`."""
        from node.installing import forget_release

        assert self._installer is not None
        await self.pause(delay)
        reporter.entered(State.INSTALLING)

        def emit(step: str, of: str, done: int, total: int, text: str) -> None:
            self.progress = Progress(step=step, of=of, done=done, total=total, text=text)
            reporter.progressed(step, of, done, total, text)
            self.display.show(self)

        with self._remembering_errors():
            await self._installer.carry_out(manifest, emit, reporter)
        reporter.entered(State.WRITTEN, protection=self._installer.protection)
        self._installer.forget()
        forget_release(self)
        await self.go_away(manifest, reporter)

    async def go_away(self, manifest: Manifest, reporter: Reporter) -> None:
        """Restart or switch off, if that was asked for, once the operator knows."""
        if self.dry_run or self.leave is None or not (manifest.reboot or manifest.poweroff):
            return
        if manifest.reboot and self.machine.state is not State.REBOOTING:
            reporter.entered(State.REBOOTING)
        await reporter.heard(FAREWELL_SECONDS)
        await self.leave(self.machine.state)

    # --- over the reboot ------------------------------------------------------------------------

    def keep(self, path: Path) -> None:
        """From now on the lease outlives this boot, in this file: call it when the volume is open.

        Raises errors.TenancyUnwritable.
        """
        store = TenancyStore(path)
        kept = self.machine.kept()
        assert kept is not None, "nobody holds this node"
        store.save(kept)
        self.store = store

    def report_file(self) -> bytes:
        """What lies readable on the disk (`kairos/report.json`), for when it does not open."""
        held = self.machine.tenancy
        assert held is not None, "nobody holds this node"
        return report_file(self.machine.key, held).to_bytes()

    def remember(self) -> None:
        """See `serving.Hands`. What cannot be stored is told all the same."""
        kept = self.machine.kept()
        if self.store is None or kept is None:
            return
        try:
            self.store.save(kept)
        except errors.TenancyUnwritable as error:
            LOG.warning("%s", error)
            self.error = error

    async def pause(self, delay: float) -> None:
        """Seconds in which switching off still stops the installation; the screen counts them."""
        self.begins_at = trio.current_time() + delay
        self.display.show(self)
        await trio.sleep(delay)
        self.begins_at = None

    async def ask_tpm(self, question: TpmQuestion) -> TpmAnswer:
        """See `serving.Hands`."""
        held = self.machine.tenancy
        return await self.tpm.answer(question, self.machine.public, held.lease if held else b"")

    async def terminal(self, order: OpenTerminal, talk: TerminalTalk, reporter: Reporter) -> None:
        """See `serving.Hands`."""
        held = self.machine.tenancy
        if held is not None:
            await self.rescue.serve(order, held, self.machine.public, talk, reporter)

    def _rescue_rules(self) -> RescueRules:
        try:
            installed, unowned = self.installed(), self.settings.open_rescue
        except ValueError as wrong:
            LOG.warning("report record: %s", wrong)
            installed, unowned = None, False  # somebody owns it, and it is not known who
        return RescueRules(
            mode=self.machine.mode,
            offered=self.repairable and not self.dry_run,
            pinned=bool(self.settings.fleets),
            installed=installed,
            unowned=unowned,
            seconds=self.settings.rescue_minutes * 60,
        )

    async def unlock(self, kind: UnlockKind, secret: bytes) -> None:
        """See `serving.Hands`."""
        if self.opener is None:
            raise errors.UnlockFailed("This machine cannot open its volumes now.")
        await self.opener(kind, secret)

    async def maintain(self, order: CarryOut, reporter: Reporter) -> None:
        """See `serving.Hands`."""
        if self.maintainer is None:
            raise errors.StepUnsupported("It cannot change the keys of its volumes.")
        await self.maintainer(order, reporter)

    def opened(self) -> None:
        """See `serving.Hands`."""
        self.is_open.set()

    def settled(self) -> None:
        """See `serving.Hands`."""
        self._settled.set()

    # --- the whole of it ----------------------------------------------------------------------

    async def run(self, transport: Transport, warm_up: Callable[[], None]) -> None:
        """Pair until cancelled, or until the verdict if `once`.

        Raises errors.KnownError if this machine cannot pair at all.
        """
        await self.prepare(warm_up)
        serving = Serving(self.machine, self, self.presence())
        async with trio.open_nursery() as nursery:
            if self.code.form is not Form.KAIROS:
                nursery.start_soon(self.listen, transport, serving)
            if self.kairos is not None and self.code.is_weak:
                from node.kairos import KairosChannel

                nursery.start_soon(KairosChannel(self, self.kairos, serving).run)
            if self.machine.tenancy is not None:
                from node.installing import go_on

                nursery.start_soon(go_on, self, serving)
            if self.once:
                await self._settled.wait()
                await trio.sleep(0.5)  # the farewell is still on its way
                nursery.cancel_scope.cancel()

    def presence(self, relays: Sequence[str] = ()) -> Presence:
        """How to be found: at our relays and at these, on the LAN unless told otherwise."""
        both = tuple(dict.fromkeys((*self.settings.relays, *relays)))
        return Presence(relays=both, mdns=self.settings.mdns)

    async def prepare(self, warm_up: Callable[[], None]) -> None:
        """Look at the machine and load what listening needs, with the screen up to date."""
        async with trio.open_nursery() as nursery:
            early = await nursery.start(self._watch, self._before_listening)
            async with trio.open_nursery() as preparing:
                preparing.start_soon(self._look)
                preparing.start_soon(trio.to_thread.run_sync, warm_up)
            early.cancel()
        self.display.show(self)

    async def listen(self, transport: Transport, serving: Serving) -> None:
        """Be reachable until cancelled."""
        async with (
            transport.listener(self.machine.key.seed, self.settings.port) as listener,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._watch, listener.reachable)
            await serving.run(listener)

    async def _look(self) -> None:
        self.facts = await trio.to_thread.run_sync(self.look)
        self.machine.facts = facts_within(self.facts, FACTS_LIMIT)

    def _before_listening(self) -> Reachable:
        return Reachable(tuple(self.own_addresses()), relays_down=self.settings.relays)

    async def watch_own_addresses(self) -> None:
        """Keep the screen's addresses current where there is no listener, until cancelled."""
        await self._watch(self._before_listening)

    async def _watch(
        self,
        reachable: Callable[[], Reachable],
        task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with trio.CancelScope() as scope:
            task_status.started(scope)
            while True:
                seen = reachable()
                if seen != self.reachable:
                    self.reachable = seen
                    LOG.info("addresses: %s", " ".join(map(str, seen.addresses)) or "none")
                    self.display.show(self)
                await trio.sleep(LOOK_AGAIN)


def facts_within(snapshot: facts.Facts, limit: int) -> dict[str, object]:
    """The facts as JSON of at most `limit` bytes: a machine with too many parts drops the last."""
    body = json.loads(json.dumps(snapshot.to_json()))
    while len(canonical(body)) > limit:
        longest = max(("disks", "nics"), key=lambda name: len(body[name]))
        body[longest] = body[longest][:-1]
    return dict(body)
