"""Puts a node together from its options and runs it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from node import hands
from node import settings as node_settings
from node.agent import Agent
from node.ahead import check_medium
from node.console import Console, active_consoles
from node.facts import Probe, recorded
from node.rescue import Rescue
from node.settings import Settings
from node.showing import Showing
from node.system import devices, ownership, services
from node.system.endorsement import Endorsement
from node.system.keyfile import IN_MEMORY, filesystem
from node.tenancy_store import NAME, TenancyStore
from node.tpmanswers import TpmAnswers
from pairing import errors, process
from pairing.events import Mode
from pairing.facts import Facts
from pairing.transport.base import Address

if TYPE_CHECKING:
    from pairing.edgevpn.gossip import KairosNetwork
    from pairing.transport.p2p import P2PTransport

LOG = logging.getLogger("kairos.node")
RUN_FOLDER = Path("/run/kairos-register")
EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `kairos-node run`."""

    machine: Path | None
    dry_run: bool
    settings: Path | None
    lang: str | None
    port: int | None
    hosts: tuple[str, ...]
    relays: tuple[str, ...]
    relay_ca: Path | None
    relay_token_file: Path | None
    consoles: tuple[str, ...]
    picture: Path | None
    state: Path | None
    abort_seconds: int | None
    once: bool

    def chosen(self) -> Settings:
        """The settings of file, kernel line and options, the later ones winning."""
        chosen = node_settings.read(self.settings or node_settings.FILE)
        chosen = node_settings.with_kernel_words(chosen, _kernel_words())
        if self.lang is not None:
            if self.lang not in node_settings.LANGUAGES:
                known = ", ".join(node_settings.LANGUAGES)
                raise errors.UsageError(f"The languages are {known}.", element=self.lang)
            chosen = replace(chosen, language=self.lang)
        if self.port is not None:
            chosen = replace(chosen, port=self.port)
        if self.abort_seconds is not None:
            chosen = replace(chosen, abort_delay=self.abort_seconds)
        return replace(chosen, relays=_checked(self.relays) or chosen.relays)


def _checked(relays: Sequence[str]) -> tuple[str, ...]:
    """Raises errors.RelayAddressInvalid."""
    if relays:
        from pairing.transport.relay import relay_id  # TLS and all: only where a relay is named

        for relay in relays:
            relay_id(relay)
    return tuple(relays)


def _kernel_words() -> Sequence[str]:
    try:
        return Path("/proc/cmdline").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return ()


def look_at(machine: Path | None) -> Callable[[], Facts]:
    """How to learn the facts: from a recorded machine, or from this one."""
    if machine is None:
        return Probe().facts
    snapshot = recorded(machine)
    return lambda: snapshot


def _once_devices_are_there() -> Facts:
    devices.wait_for_all(process.run)
    return Probe().facts()


def _look(options: Options, booted: Mode | None) -> Callable[[], Facts]:
    """The same; a machine that has just been started waits for its devices, and the recovery system
    finishes a reset that was cut off before it looks."""
    look = look_at(options.machine)
    if booted is not None and options.machine is None:
        look = _once_devices_are_there
    if booted is not Mode.RECOVERY or options.machine is not None or options.dry_run:
        return look

    def finished_look() -> Facts:
        from node.reset import finish_first  # it takes its time: the code is on the screen before

        return finish_first(look)

    return finished_look


def run_node(options: Options) -> None:
    """Run until the verdict (`once`), a signal, or an error."""
    chosen = options.chosen()
    # A journal wants to know; a terminal is the screen itself.
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    LOG.setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    with _consoles(options, chosen) as consoles:
        showing = Showing(consoles, options.picture, chosen.language)
        state = _state_folder(options.state)
        booted = ownership.booted_mode(_kernel_words())
        agent = Agent(
            settings=chosen,
            look=_look(options, booted),
            display=showing,
            state=state,
            dry_run=options.dry_run or options.machine is not None,
            mode=booted or Mode.LIVE,
            once=options.once,
            uptime=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
            own_addresses=partial(_own_addresses, options, chosen.port),
            tpm=TpmAnswers(None if options.machine else Endorsement),
            leave=services.leave if booted and not options.machine else None,
            installed=ownership.installed_record,
            repairable=booted is not None and options.machine is None,
            rescue=Rescue(folder=state / "rescue", close_tpm=hands.close_tpm),
            opener=hands.open_volumes if booted is Mode.INSTALLED else None,
        )
        if booted is Mode.INSTALLED:
            agent.maintainer = partial(hands.change_keys, agent)
        keep_early(agent)
        try:
            stopped = trio.run(_run, agent, showing, options)
        except* errors.KnownError as group:
            raise errors.first_known(group) from None
    if stopped == signal.SIGINT:
        raise KeyboardInterrupt


def keep_early(agent: Agent, root: Path = Path("/")) -> None:
    """Keep the lease in memory, and go on with it if this program had one before a restart."""
    if agent.dry_run or agent.mode is Mode.INSTALLED:
        return
    if filesystem(root, agent.state) not in IN_MEMORY:
        return
    agent.early = agent.store = TenancyStore(agent.state / NAME)
    if agent.early.path.exists():
        from node.installing import restore_early  # after a restart only: it takes its time

        restore_early(agent)


async def _run(agent: Agent, showing: Showing, options: Options) -> int:
    stopped: list[int] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signals, nursery.cancel_scope, stopped)
        await nursery.start(showing.run, agent)
        services.ready()
        services.give_way()
        LOG.info("code shown")
        transport = await trio.to_thread.run_sync(_transport, options)
        from pairing.transport.p2p import warm_up

        agent.kairos = await trio.to_thread.run_sync(_kairos, agent, options)
        if options.machine is None and not agent.dry_run:
            nursery.start_soon(check_medium, agent)
        if agent.mode is Mode.INSTALLED and not agent.dry_run:
            from node.listening import listen_when_asked
            from node.living import run_living

            await run_living(agent, transport, warm_up)
            await listen_when_asked(agent, transport, warm_up)  # for ever: the screen stays
        await agent.run(transport, warm_up)
        nursery.cancel_scope.cancel()
    return stopped[0] if stopped else 0


async def _stop_on_signals(
    scope: trio.CancelScope,
    stopped: list[int],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Ctrl-C and the service manager end it politely: the consoles are given back."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            stopped.append(number)
            scope.cancel()


def _transport(options: Options) -> P2PTransport:
    from pairing.transport.p2p import P2PTransport, meeting_from_files

    meeting = meeting_from_files(options.relay_ca, options.relay_token_file)
    return P2PTransport(hosts=options.hosts or EVERYWHERE, meeting=meeting)


def _kairos(agent: Agent, options: Options) -> KairosNetwork | None:
    """Where a code of Kairos' form is waited for; None where none is shown."""
    if not agent.code.is_weak:
        return None
    from pairing.transport.p2p import EdgeVpn

    chosen = agent.settings
    return EdgeVpn(chosen.mdns, chosen.bootstrap, hosts=options.hosts or EVERYWHERE)


def _own_addresses(options: Options, port: int) -> Sequence[Address]:
    """Where the listener will be; nothing while the port is not known."""
    from pairing.transport.interfaces import addresses_by_use

    hosts = options.hosts or tuple(map(str, addresses_by_use()))
    return [Address(host, port) for host in hosts] if port else []


@contextlib.contextmanager
def _consoles(options: Options, chosen: Settings) -> Iterator[Sequence[Console]]:
    colour = "NO_COLOR" not in os.environ
    names = list(options.consoles)
    if not names and sys.stdout.isatty():
        names = [os.ttyname(sys.stdout.fileno())]
    if "kernel" in names:
        # tty0 is whichever console is in front; ours is the first.
        names = [name.replace("/dev/tty0", "/dev/tty1") for name in active_consoles()]
    opened: list[Console] = []
    try:
        for name in dict.fromkeys(names):
            try:
                opened.append(Console.open(name, language=chosen.language, colour=colour))
            except OSError as wrong:
                print(f"{name}: {wrong.strerror}", file=sys.stderr)
        yield opened
    finally:
        for console in opened:
            console.close()


def _state_folder(asked: Path | None) -> Path:
    if asked is None:
        asked = RUN_FOLDER if os.access("/run", os.W_OK) else Path(tempfile.mkdtemp())
    asked.mkdir(mode=0o700, parents=True, exist_ok=True)
    return asked
