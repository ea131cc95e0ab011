"""Kairos' own protocol on a node: wait with every code that is valid, install what comes.

Nothing but "it is here" goes back to the sender: no plan, no progress, no verdict. So everything is
said on the screen; what cannot be installed is shown there, and a new code with it. Nobody keeps a
recovery key (docs/adr/0026), so only a config without encryption is carried out.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import trio

from node import alone
from node.agent import Progress
from node.execute import execute
from node.installing import table_of
from node.journal import Journal
from node.providers.found import require_programs
from node.settings import Form
from node.steps import EscrowKey
from node.system.install.doors import Doors
from node.system.install.handover import Handover
from pairing import errors
from pairing.config import Document, encryption, load, require_valid, set_value
from pairing.config.accounts import accounts
from pairing.edgevpn import session
from pairing.edgevpn.payload import Payload
from pairing.events import State
from pairing.facts import Facts

if TYPE_CHECKING:
    from node.agent import Agent
    from node.recoverykey import RecoveryKey
    from pairing.edgevpn.gossip import KairosNetwork
    from pairing.edgevpn.nettoken import NetworkToken
    from pairing.serving import Serving

LOG = logging.getLogger("kairos.node")
LOOK_SECONDS = 0.5
"""Between two looks at which codes are valid."""
AGAIN_SECONDS = 5.0
"""Before a network that could not be joined is tried again."""
LINGER_SECONDS = 60.0
"""More than the acknowledgement is repeated."""
WAIT_MARGIN = 60.0
"""Seconds that a code is waited with beyond its two windows: the window ends it, not this."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A config of Kairos' protocol, planned on this machine, and what is to be done after it."""

    made: alone.Alone
    reboot: bool
    poweroff: bool


def planned(payload: Payload, facts: Facts) -> Ready:
    """Hold what came to the same rules as any config, and to those of this protocol.

    Raises errors.ConfigError, errors.ConfigNotForThisMachine, errors.DiskNotChosen,
    errors.KairosEncryptionRefused, errors.KairosAccountsUnresolved.
    """
    document = _on_disk(load(payload.config.encode(), "config"), payload.device)
    require_valid(document)
    if encryption(document).mode != "none":
        raise errors.KairosEncryptionRefused
    device = "" if payload.device == "auto" else payload.device
    made = alone.fitted(document, facts, device)
    final = load(made.config, "config")
    if made.plan.encryption != "none":
        raise errors.KairosEncryptionRefused
    if named := accounts(final):
        raise errors.KairosAccountsUnresolved(f"It names {', '.join(named)}.")
    reboot = payload.reboot or final.get("install", "reboot") is True
    poweroff = payload.poweroff or final.get("install", "poweroff") is True
    if reboot and poweroff:
        raise errors.ConfigRefusedByNode("It is to restart and to be switched off.")
    return Ready(made, reboot, poweroff)


def _on_disk(document: Document, device: str) -> Document:
    """The disk that was named beside the config counts where the config names none."""
    if not device or document.get("install", "device") is not None:
        return document
    return set_value(document, f"install.device={device}")


class KairosChannel:
    """The channel of one node; it lives as long as the agent."""

    def __init__(self, agent: Agent, network: KairosNetwork, serving: Serving) -> None:
        self.agent, self.network, self.serving = agent, network, serving
        self._scopes: dict[NetworkToken, trio.CancelScope] = {}
        self._taken: _Arrival | None = None
        self._doubt: errors.KnownError | None = None
        self._arrived, self._payloads = trio.open_memory_channel[Payload](1)

    async def run(self) -> None:
        """Wait for configs and install them, until cancelled."""
        async with trio.open_nursery() as nursery:
            if self.agent.code.form is Form.KAIROS:
                nursery.start_soon(self._clock)
            while True:
                payload = await self._next(nursery)
                LOG.info("config received by Kairos' protocol")
                await self._install(payload)

    async def _clock(self) -> None:
        """There is no native listener that would keep the code fresh, and look for an address."""
        machine = self.agent.machine
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.agent.watch_own_addresses)
            while True:
                await trio.sleep(1)
                self.serving.apply(machine.tick(self.serving.now()))

    # --- waiting ------------------------------------------------------------------------------

    async def _next(self, nursery: trio.Nursery) -> Payload:
        while True:
            self._tend(nursery)
            with trio.move_on_after(LOOK_SECONDS):
                return await self._payloads.receive()

    def _tend(self, nursery: trio.Nursery) -> None:
        """Wait with exactly the codes that are valid; with none while somebody has the node."""
        machine = self.agent.machine
        waits = machine.state is State.WAITING and machine.tenancy is None
        valid = self.agent.code.valid(machine) if waits else ()
        for token in set(self._scopes) - set(valid):
            self._scopes.pop(token).cancel()
        for token in set(valid) - set(self._scopes):
            scope = self._scopes[token] = trio.CancelScope()
            nursery.start_soon(self._wait_with, token, scope)

    async def _wait_with(self, token: NetworkToken, scope: trio.CancelScope) -> None:
        """Until the code is not valid any more; or a config came, and it was said often enough."""
        arrival = _Arrival(self, token, scope)
        try:
            with scope:
                await session.receive(
                    self.network,
                    token,
                    wait_seconds=2 * self.agent.settings.window + WAIT_MARGIN,
                    task_status=cast("trio.TaskStatus[Payload]", arrival),
                )
        except* (errors.KnownError, OSError) as group:
            await self._ended_badly(arrival, _first(group))
        finally:
            arrival.ended.set()
            if self._scopes.get(token) is scope:
                del self._scopes[token]

    async def _ended_badly(self, arrival: _Arrival, error: errors.KnownError) -> None:
        LOG.warning("%s: %s", error.code, error)
        if self._taken is arrival:
            # A network that went away takes nothing back; somebody who meddles does.
            self._doubt = error if isinstance(error, errors.KairosIntruder) else None
        elif self.agent.machine.state is State.WAITING:
            await self._failed_waiting(error)

    def take(self, arrival: _Arrival, payload: Payload) -> bool:
        """The first claim on either channel closes the other, before anything is acknowledged."""
        if self._scopes.get(arrival.token) is not arrival.scope:
            return False  # Its code has ended in this very moment.
        if not self.agent.machine.taken_elsewhere(self.serving.now()):
            return False
        self._taken, self._doubt = arrival, None
        del self._scopes[arrival.token]  # it goes on by itself
        while self._scopes:
            self._scopes.popitem()[1].cancel()
        self._arrived.send_nowait(payload)
        return True

    async def _failed_waiting(self, error: errors.KnownError) -> None:
        """Somebody meddles: the code is burnt. A network that is not there is tried again, and what
        will not mend by itself (a wrong address in the settings) is shown."""
        if isinstance(error, errors.KairosIntruder | errors.KairosPayloadInvalid):
            self._wait_again(error)
            return
        if not isinstance(error, errors.UnreachableError):
            self.agent.tried = error
            self.agent.changed()
        await trio.sleep(AGAIN_SECONDS)

    def _wait_again(self, error: errors.KnownError) -> None:
        self.agent.tried, self.agent.progress, self.agent.begins_at = error, Progress(), None
        self.serving.apply(self.agent.machine.open_again(self.serving.now()))

    # --- installing ---------------------------------------------------------------------------

    async def _install(self, payload: Payload) -> None:
        agent, entered = self.agent, self.serving.reporter.entered
        agent.tried = None
        agent.changed()
        try:
            ready = await self._planned(payload)
            entered(State.PLANNED)
            await agent.pause(float(agent.settings.abort_delay))
            await self._acknowledged()
            entered(State.INSTALLING)
            await self._carry_out(ready)
        except errors.KnownError as error:
            LOG.warning("%s: %s", error.code, type(error).slug)
            self._wait_again(error)
            return
        entered(State.WRITTEN)
        LOG.info("written")
        await self._end(ready)

    async def _planned(self, payload: Payload) -> Ready:
        agent = self.agent
        if agent.facts.image is None and not agent.dry_run:
            raise errors.ImageMissing
        ready = await trio.to_thread.run_sync(planned, payload, agent.facts)
        if not agent.dry_run:
            root = (agent.doors or Doors()).root
            require_programs(load(ready.made.config, "config"), root)
        return ready

    async def _carry_out(self, ready: Ready) -> None:
        agent = self.agent

        def emit(step: str, of: str, done: int, total: int, text: str, /) -> None:
            agent.progress = Progress(step=step, of=of, done=done, total=total, text=text)
            agent.display.show(agent)

        handover = Handover(config=ready.made.config)
        with Journal(agent.state / "journal.jsonl") as journal:
            await execute(
                ready.made.plan,
                journal=journal,
                emit=emit,
                escrow=_nobody,
                dry_run=agent.dry_run,
                handlers=table_of(agent, agent.facts, handover),
            )

    async def _acknowledged(self) -> None:
        """Nothing is written before the sender had its time to hear that the config is here: until
        then it is seen if somebody else meddles. Raises what was seen (errors.KairosIntruder)."""
        assert self._taken is not None
        with trio.move_on_after(LINGER_SECONDS):
            await self._taken.ended.wait()
        if self._doubt is not None:
            raise self._doubt

    async def _end(self, ready: Ready) -> None:
        agent = self.agent
        agent.settled()
        if agent.dry_run or agent.leave is None or not (ready.reboot or ready.poweroff):
            return
        if ready.reboot:
            self.serving.reporter.entered(State.REBOOTING)
        await agent.leave(agent.machine.state)


@dataclass(slots=True)
class _Arrival:
    """What `session.receive` calls once a config is here, before it acknowledges anything."""

    channel: KairosChannel
    token: NetworkToken
    scope: trio.CancelScope
    ended: trio.Event = field(default_factory=trio.Event)

    def started(self, payload: Payload) -> None:
        """Take it, unless somebody was faster on the other channel: then nothing is said."""
        if not self.channel.take(self, payload):
            self.scope.cancel()


def _first(group: BaseExceptionGroup[errors.KnownError | OSError]) -> errors.KnownError:
    """What a network's nurseries have wrapped; the system's own words for what has no name."""
    inner = group.exceptions[0]
    if isinstance(inner, BaseExceptionGroup):
        return _first(inner)
    if isinstance(inner, errors.KnownError):
        return inner
    return errors.UnreachableError(f"({inner.strerror or type(inner).__name__})")


async def _nobody(step: EscrowKey, key: RecoveryKey) -> str:
    raise errors.KairosEncryptionRefused
