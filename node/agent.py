"""The booted node from top to bottom: code on the screen -> facts -> claim -> config -> plan ->
execution -> verdict.

The code is drawn first, before libp2p is loaded, before the hardware was looked at and before
there is an address; whatever becomes known later is added to the screen.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

from node.execute import Outcome, execute
from node.journal import Journal
from node.plan.install import InstallOptions, plan_install
from node.recoverykey import RecoveryKey
from node.settings import Settings
from node.steps import EscrowKey, Plan
from node.system import clock
from pairing import errors, facts, keys, peertoken, serving
from pairing.config.load import load
from pairing.config.validate import require_valid
from pairing.events import State
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.frames import canonical
from pairing.protocol.messages import EscrowRecord, Manifest, SealedKey, Volume, VolumeProof
from pairing.protocol.node import NodeMachine
from pairing.serving import Reporter
from pairing.transport.base import Address, Listener, Presence, Reachable, Transport
from pairing.transport.relay import relay_id

LOG = logging.getLogger("kairos.node")
FACTS_LIMIT = 48 * 1024
"""Bytes of facts in canonical JSON; the lease's frame holds 64 KiB."""
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
    dry_run: bool = False
    once: bool = False
    """End when the operator has the verdict."""
    machine: NodeMachine = field(init=False)
    facts: facts.Facts = field(default_factory=facts.Facts)
    reachable: Reachable = field(default_factory=Reachable)
    progress: Progress = field(default_factory=Progress)
    error: errors.KnownError | None = None
    begins_at: float | None = None
    """When the installation begins, in trio's time, while switching off still stops it."""
    _plan: Plan | None = None
    _recovery: RecoveryKey | None = None
    _settled: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.machine = NodeMachine(
            key=keys.generate(),
            boot=secrets.token_hex(8),
            facts={},
            policy=self.settings.policy(),
            random=secrets.token_bytes,
            dry_run=self.dry_run,
        )

    # --- what the screen shows ----------------------------------------------------------------

    def token(self) -> str:
        """The text of the code to show now, with the hints known by now."""
        chosen = _hints(self.reachable.addresses)
        relays = self.reachable.relays_up or self.settings.relays
        relay = relay_id(relays[0]) if relays else b""
        hints = Token(b"", b"", ipv4=chosen, relay=relay)
        return peertoken.to_text(self.machine.token(hints))

    # --- the session's hands ------------------------------------------------------------------

    def changed(self) -> None:
        """See `serving.Hands`."""
        if self.machine.state is State.WAITING:
            self.progress, self.error = Progress(), None
        self.display.show(self)

    async def check(self, manifest: Manifest, config: bytes) -> Sequence[str]:
        """See `serving.Hands`. The same rules as the operator's, on this machine's own facts."""
        self.error = None
        if not self.dry_run:
            clock.set_forward(manifest.time)
        with self._remembering_errors():
            self._plan = await trio.to_thread.run_sync(self._make_plan, manifest, config)
        return self._plan.text

    @contextlib.contextmanager
    def _remembering_errors(self) -> Iterator[None]:
        try:
            yield
        except errors.KnownError as error:
            self.error = error
            raise

    def _make_plan(self, manifest: Manifest, config: bytes) -> Plan:
        document = load(config, "config")
        require_valid(document)
        recipients = tuple(keys.fingerprint(key) for key in manifest.escrow)
        release = (manifest.lease + manifest.digest).hex()
        options = InstallOptions(device=manifest.device, recipients=recipients, release=release)
        return plan_install(self.facts, document, options)

    async def install(self, manifest: Manifest, delay: float, reporter: Reporter) -> None:
        """See `serving.Hands`."""
        assert self._plan is not None
        await self._wait_to_begin(delay)
        reporter.entered(State.INSTALLING)
        with self._remembering_errors(), Journal(self.state / "journal.jsonl") as journal:
            outcome = await execute(
                self._plan,
                journal=journal,
                emit=self._emit(reporter),
                escrow=self._escrow(manifest, reporter),
                dry_run=self.dry_run,
                key=self._key(),
            )
        self._prove(outcome, reporter)
        reporter.entered(State.WRITTEN)

    async def _wait_to_begin(self, delay: float) -> None:
        self.begins_at = trio.current_time() + delay
        self.display.show(self)
        await trio.sleep(delay)
        self.begins_at = None

    def _key(self) -> RecoveryKey:
        # Kept over attempts of one boot, so that a resumed run needs no second escrow.
        if self._recovery is None:
            self._recovery = RecoveryKey.new()
        return self._recovery

    def _emit(self, reporter: Reporter) -> Callable[[str, str, int, int, str], None]:
        def emit(step: str, of: str, done: int, total: int, text: str) -> None:
            self.progress = Progress(step=step, of=of, done=done, total=total, text=text)
            reporter.progressed(step, of, done, total, text)
            self.display.show(self)

        return emit

    def _escrow(
        self, manifest: Manifest, reporter: Reporter
    ) -> Callable[[EscrowKey, RecoveryKey], Awaitable[str]]:
        async def escrow(step: EscrowKey, key: RecoveryKey) -> str:
            record = self._sealed(manifest, key)
            await reporter.escrow(record)
            return handshake.record_digest(record).hex()

        return escrow

    def _sealed(self, manifest: Manifest, key: RecoveryKey) -> EscrowRecord:
        context = handshake.escrow_context(manifest.node, manifest.lease)
        sealed = tuple(
            SealedKey(recipient=to, sealed=keys.seal(bytes(key.passphrase), to, context))
            for to in manifest.escrow
        )
        return EscrowRecord(
            node=manifest.node, lease=manifest.lease, serial=self.facts.serial, keys=sealed
        )

    def _prove(self, outcome: Outcome, reporter: Reporter) -> None:
        held = self.machine.tenancy
        if held is None or held.escrow is None:
            return
        tpm = self.facts.tpm
        volumes = tuple(
            Volume(name=volume.name, uuid=volume.uuid, slot=bytes.fromhex(volume.slot))
            for volume in outcome.volumes
        )
        reporter.proved(
            VolumeProof(
                digest=handshake.record_digest(held.escrow.record),
                volumes=volumes,
                ek_hash=tpm.ek_hash if tpm else "",
                dry_run=self.dry_run,
            )
        )

    def settled(self) -> None:
        """See `serving.Hands`."""
        self._settled.set()

    # --- the whole of it ----------------------------------------------------------------------

    async def run(self, transport: Transport, warm_up: Callable[[], None]) -> None:
        """Pair until cancelled, or until the verdict if `once`.

        Raises errors.KnownError if this machine cannot pair at all.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            nursery.start_soon(trio.to_thread.run_sync, warm_up)
        self.display.show(self)
        async with (
            transport.listener(self.machine.key.seed, self.settings.port) as listener,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._watch, listener)
            nursery.start_soon(self._serve, listener)
            if self.once:
                await self._settled.wait()
                await trio.sleep(0.5)  # the farewell is still on its way
                nursery.cancel_scope.cancel()

    async def _serve(self, listener: Listener) -> None:
        presence = Presence(relays=self.settings.relays, mdns=self.settings.mdns)
        await serving.serve(self.machine, listener, self, presence)

    async def _look(self) -> None:
        self.facts = await trio.to_thread.run_sync(self.look)
        self.machine.facts = facts_within(self.facts, FACTS_LIMIT)

    async def _watch(self, listener: Listener) -> None:
        while True:
            seen = listener.reachable()
            if seen != self.reachable:
                self.reachable = seen
                LOG.info("reachable at %s", " ".join(map(str, seen.addresses)) or "no address")
                self.display.show(self)
            await trio.sleep(LOOK_AGAIN)


def facts_within(snapshot: facts.Facts, limit: int) -> dict[str, object]:
    """The facts as JSON of at most `limit` bytes: a machine with too many parts drops the last."""
    body = json.loads(json.dumps(snapshot.to_json()))
    while len(canonical(body)) > limit:
        longest = max(("disks", "nics"), key=lambda name: len(body[name]))
        body[longest] = body[longest][:-1]
    return dict(body)


def _hints(addresses: Sequence[Address]) -> Address | None:
    """The one IPv4 address that goes into the code; more would make it larger."""
    return next((a for a in addresses if _is_ipv4(a.host)), None)


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
