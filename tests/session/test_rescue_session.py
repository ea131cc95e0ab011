"""Repair sessions: a real shell on a real terminal, over the memory network."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio

from node.agent import Agent
from node.rescue import Rescue
from node.settings import Settings
from pairing import errors, keys, peertoken, repairing
from pairing.events import Mode, State
from pairing.facts import Facts
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.kept import ReportFile
from pairing.protocol.repair import Ended, Opened, RepairMachine, Wanted
from pairing.protocol.terminal import WINDOW
from pairing.protocol.terms import Identity, KnownLease, Patience
from pairing.transport.base import Target
from pairing.transport.memory import MemoryNetwork

FLEET, OTHER_FLEET = keys.generate(), keys.generate()
OWNER = keys.generate()
SHELL = ("/bin/sh", "-i")


class NoDisplay:
    """Remembers who was shown as visitor."""

    def __init__(self) -> None:
        self.visitors: list[tuple[str, ...]] = []

    def show(self, agent: Agent) -> None:
        if not self.visitors or self.visitors[-1] != agent.rescue.visitor:
            self.visitors.append(agent.rescue.visitor)


@dataclass
class Person:
    """Types what it is told to, when what it waits for is shown."""

    script: list[tuple[str, str]]
    """Texts to wait for, and what is then typed; empty keys end the session from this side."""
    shown: str = ""
    limits: Opened | None = None
    lease: KnownLease | None = None
    slow: float = 0.0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    _news: trio.Event = field(default_factory=trio.Event)
    _from: int = 0

    async def keys(self) -> bytes:
        if not self.script:
            await trio.sleep_forever()
        awaited, typed = self.script.pop(0)
        while awaited not in self.shown[self._from :]:
            self._news = trio.Event()
            await self._news.wait()
        self._from = len(self.shown)
        return typed.encode()

    async def size_changed(self) -> tuple[int, int]:
        if not self.sizes:
            await trio.sleep_forever()
        return self.sizes.pop(0)

    async def show(self, data: bytes) -> None:
        await trio.sleep(self.slow)
        self.shown += data.decode("utf-8", "replace")
        self._news.set()

    def opened(self, opened: Opened) -> None:
        self.limits = opened

    async def keep_lease(self, known: KnownLease) -> None:
        self.lease = known

    def notice(self, text: str) -> None:
        pass


def agent_in(
    folder: Path,
    *,
    fleets: tuple[keys.PinnedFleet, ...] = (),
    installed: Callable[[], ReportFile | None] = lambda: None,
    mode: Mode = Mode.RECOVERY,
    open_rescue: bool = False,
) -> Agent:
    return Agent(
        settings=Settings(port=0, fleets=fleets, open_rescue=open_rescue),
        look=Facts,
        display=NoDisplay(),
        state=folder,
        installed=installed,
        mode=mode,
        repairable=True,
        rescue=Rescue(folder=folder / "rescue", shell=SHELL, close_tpm=lambda: None),
    )


@contextlib.asynccontextmanager
async def running(agent: Agent, network: MemoryNetwork) -> AsyncIterator[Token]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run, network.transport("node"), lambda: None)
        while not agent.reachable.addresses:  # noqa: ASYNC110 (virtual time)
            await trio.sleep(0.1)
        yield peertoken.parse(agent.token())
        nursery.cancel_scope.cancel()


def alive(pid: str) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def station(fleet: keys.SigningKey, key: keys.SigningKey | None = None) -> Identity:
    key = key or keys.generate()
    return Identity(key, keys.certify(fleet, key.public, 1, "north"))


async def repaired(
    token: Token,
    network: MemoryNetwork,
    person: Person,
    identity: Identity,
    wanted: Wanted | None = None,
) -> Ended:
    machine = RepairMachine(
        key=token.key,
        subject=token.id,
        secret=token.secret,
        identity=identity,
        wanted=wanted or Wanted(columns=80, rows=24, kind="xterm"),
        random=secrets.token_bytes,
        patience=Patience(silence=60),
    )
    target = Target(token.key, handshake.label(token.secret, token.key), token.addresses)
    async with network.transport().dialer() as dialer:
        return await repairing.repair(machine, dialer, target, person, find=20)


PINNED = (keys.PinnedFleet(FLEET.public),)


async def test_a_shell_its_answers_and_its_end(tmp_path: Path, patient_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    person = Person([("exit", "echo $((40+2)) $TERM; stty size; tty\r"), ("/dev/pts", "exit 3\r")])
    operator = station(FLEET)
    async with running(agent, network) as token:
        ended = await repaired(token, network, person, operator)
        await trio.sleep(1)
        held = agent.machine.tenancy
        assert held is not None
        said = [event.text for event in held.log.since(0) if "repair" in event.text]
        assert agent.machine.state is State.CLAIMED
        assert not held.in_repair
    assert ended == Ended(3)
    assert "42 xterm\r\n24 80\r\n/dev/pts/" in person.shown
    assert person.limits is not None
    assert (person.limits.seconds, person.limits.idle) == (1800, 600)
    words = keys.fingerprint_words(operator.key.public)
    assert isinstance(agent.display, NoDisplay)
    assert agent.display.visitors == [(), words, ()]
    assert keys.fingerprint(operator.key.public) in said[0]
    assert "ended (as asked)" in said[1]
    (record,) = (tmp_path / "rescue").iterdir()
    header, *lines = map(json.loads, record.read_text().splitlines())
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)
    assert "42 xterm" in "".join(line[2] for line in lines if line[1] == "o")
    assert record.stat().st_mode & 0o777 == 0o600


async def test_ctrl_c_reaches_the_program(tmp_path: Path, patient_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    person = Person(
        [("exit", "trap 'echo caught' INT; echo re''ady\r"), ("ready", "sleep 1000\r"),
         ("sleep 1000", "\x03"), ("caught", "exit\r")]
    )  # fmt: skip
    async with running(agent, network) as token:
        await repaired(token, network, person, station(FLEET))
    assert "caught" in person.shown


async def test_another_size_reaches_the_program(tmp_path: Path, patient_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    person = Person([("exit", "sleep 0.3; stty size\r"), ("50 132", "exit\r")], sizes=[(132, 50)])
    async with running(agent, network) as token:
        await repaired(token, network, person, station(FLEET))


async def test_endless_output_waits_for_the_slow_reader(
    tmp_path: Path, patient_clock: object
) -> None:
    """And the session can still be ended: nobody stores what nobody reads."""
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    person = Person([("exit", "yes 0123456789\r"), ("0123456789\r\n0123", "")], slow=0.5)
    async with running(agent, network) as token:
        await repaired(token, network, person, station(FLEET))
    assert 0 < len(person.shown) < 2 * WINDOW


async def test_everything_arrives_in_order(tmp_path: Path, patient_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    person = Person([("exit", "stty -onlcr; seq 1 60000; exit\r")])
    async with running(agent, network) as token:
        await repaired(token, network, person, station(FLEET))
    assert "\n".join(map(str, range(1, 60001))) in person.shown


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        (Wanted(columns=80, rows=24, kind="xterm", seconds=20), 20),
        (Wanted(columns=80, rows=24, kind="xterm", idle=20), 20),
        (Wanted(columns=80, rows=24, kind="xterm", seconds=24 * 3600), 60),
    ],
)
async def test_time_ends_it(
    wanted: Wanted, seconds: int, tmp_path: Path, patient_clock: object
) -> None:
    """The node's own limits count, however much is asked for."""
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    agent.settings = replace(agent.settings, rescue_minutes=1)
    person = Person([("exit", "sleep 100000 & echo pid=$!\r")])
    async with running(agent, network) as token:
        began = trio.current_time()
        with pytest.raises(errors.RescueTimeUp):
            await repaired(token, network, person, station(FLEET), wanted)
        assert seconds <= trio.current_time() - began < seconds + 5
    assert not alive(person.shown.rpartition("pid=")[2].split()[0])


async def test_a_cut_connection_ends_the_shell(tmp_path: Path, patient_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    person = Person([("exit", "echo pid=$$\r")])
    async with running(agent, network) as token:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(repaired, token, network, person, station(FLEET))
            while "pid=" not in person.shown.replace("pid=$$", ""):  # noqa: ASYNC110 (a process)
                await trio.sleep(0.1)
            await trio.sleep(0.1)
            assert agent.rescue.visitor
            nursery.cancel_scope.cancel()
        await trio.sleep(40)
        assert not agent.rescue.visitor
    assert not alive(person.shown.rpartition("pid=")[2].split()[0])


def owned_by(operator: keys.SigningKey, fleet: bytes = b"") -> ReportFile:
    return ReportFile(
        seed=bytes(32),
        node=bytes(32),
        lease=bytes(16),
        secret=bytes(32),
        operator=operator.public,
        fleet=fleet,
        relays=(),
        unlock="",
    )


def damaged() -> ReportFile | None:
    raise ValueError("its checksum is wrong")


GOODBYE = [("exit", "exit\r")]


@pytest.mark.parametrize(
    ("agent_options", "identity", "error"),
    [
        # An open image: the owner, and who the owner's fleet vouches for.
        ({"installed": lambda: owned_by(OWNER)}, Identity(OWNER), None),
        ({"installed": lambda: owned_by(OWNER, FLEET.public)}, station(FLEET), None),
        ({"installed": lambda: owned_by(OWNER)}, Identity(keys.generate()), "rescue-refused"),
        ({"installed": lambda: owned_by(OWNER)}, station(FLEET), "rescue-refused"),
        (
            {"installed": lambda: owned_by(OWNER, FLEET.public)},
            station(OTHER_FLEET),
            "rescue-refused",
        ),
        (
            {"installed": lambda: owned_by(OWNER), "open_rescue": True},
            Identity(keys.generate()),
            "rescue-refused",
        ),
        # Nobody owns it: only where the image says so.
        ({}, Identity(OWNER), "rescue-refused"),
        ({"open_rescue": True}, Identity(keys.generate()), None),
        ({"installed": damaged, "open_rescue": True}, Identity(OWNER), "rescue-refused"),
        # A pinned fleet: its stations, and nobody else gets as far as a lease.
        ({"fleets": PINNED}, station(FLEET), None),
        ({"fleets": PINNED}, Identity(OWNER), "fleet-only"),
        ({"fleets": PINNED}, station(OTHER_FLEET), "fleet-only"),
        # The boots.
        ({"fleets": PINNED, "mode": Mode.LIVE}, station(FLEET), None),
        ({"fleets": PINNED, "mode": Mode.INSTALLED}, station(FLEET), "rescue-refused"),
        ({"fleets": PINNED, "mode": Mode.LOCKED}, station(FLEET), None),
        # Who has the disk writes who owns it: worth nothing where the TPM would open the disk.
        (
            {"installed": lambda: owned_by(OWNER), "mode": Mode.LOCKED},
            Identity(OWNER),
            "rescue-refused",
        ),
    ],
)
async def test_who_may(
    agent_options: dict[str, object],
    identity: Identity,
    error: str | None,
    tmp_path: Path,
    patient_clock: object,
) -> None:
    """The refused ones are each beside an allowed one that differs in one thing: the controls."""
    network = MemoryNetwork()
    agent = agent_in(tmp_path, **agent_options)  # type: ignore[arg-type]
    person = Person(list(GOODBYE))
    async with running(agent, network) as token:
        if error is None:
            await repaired(token, network, person, identity)
            return
        with pytest.raises(errors.NotAuthenticError) as refused:
            await repaired(token, network, person, identity)
    assert refused.value.slug == error
    assert person.limits is None
    assert person.shown == ""


async def test_the_tpm_of_a_locked_system_is_closed_before(
    tmp_path: Path, patient_clock: object
) -> None:
    def cannot() -> None:
        raise errors.CommandMissing(element="tpm2_pcrextend")

    network = MemoryNetwork()
    for mode, close, opens in (
        (Mode.LOCKED, None, False), (Mode.LOCKED, cannot, False), (Mode.RECOVERY, cannot, True),
    ):  # fmt: skip
        agent = agent_in(tmp_path, fleets=PINNED, mode=mode)
        agent.rescue.close_tpm = close
        person = Person(list(GOODBYE))
        async with running(agent, network) as token:
            if opens:
                await repaired(token, network, person, station(FLEET))
            else:
                with pytest.raises(errors.RescueFailed, match="TPM"):
                    await repaired(token, network, person, station(FLEET))
        assert bool(person.shown) is opens


async def test_no_shell_of_somebody_elses_computer(tmp_path: Path, patient_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    agent.repairable = False
    async with running(agent, network) as token:
        with pytest.raises(errors.RescueRefused):
            await repaired(token, network, Person(list(GOODBYE)), station(FLEET))


async def test_an_order_signed_by_another_key_opens_nothing(
    tmp_path: Path, patient_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    identity, forger = station(FLEET), keys.generate()

    def signed_by_another(self: keys.SigningKey, domain: str, body: bytes) -> bytes:
        return real(forger if domain == "rescue" else self, domain, body)

    real = keys.SigningKey.sign
    monkeypatch.setattr(keys.SigningKey, "sign", signed_by_another)
    async with running(agent, network) as token:
        with pytest.raises(errors.BadProof):
            await repaired(token, network, Person(list(GOODBYE)), identity)


async def test_a_second_session_waits_for_the_first(tmp_path: Path, patient_clock: object) -> None:
    """A new connection of the holder replaces the old one, so there is never a second shell."""
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    identity = station(FLEET)
    first, second = Person([("never", "")]), Person(list(GOODBYE))
    async with running(agent, network) as token, trio.open_nursery() as nursery:

        async def hold() -> None:
            with pytest.raises(errors.KnownError):
                await repaired(token, network, first, identity)

        nursery.start_soon(hold)
        while not agent.rescue.visitor:  # noqa: ASYNC110 (virtual time)
            await trio.sleep(0.1)
        with contextlib.suppress(errors.RescueOpenAlready):
            await repaired(token, network, second, identity)
        await trio.sleep(5)
        await repaired(token, network, replace(second, script=list(GOODBYE)), identity)
        nursery.cancel_scope.cancel()


async def test_without_a_shell_it_says_so(tmp_path: Path, patient_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)

    def broken(*_argv: object, **_more: object) -> object:
        raise errors.CommandMissing(element="setsid")

    agent.rescue.start = broken  # type: ignore[assignment]
    async with running(agent, network) as token:
        with pytest.raises(errors.RescueFailed, match="setsid"):
            await repaired(token, network, Person(list(GOODBYE)), station(FLEET))
