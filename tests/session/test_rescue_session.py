"""Repair sessions: a real shell on a real terminal, over the memory network."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.showing import screen_of
from node.testing.repair import GOODBYE, NoDisplay, Person, agent_in, repaired, running, station
from pairing import errors, keys
from pairing.events import State
from pairing.protocol.repair import Ended, Wanted
from pairing.protocol.terminal import WINDOW
from pairing.transport.memory import MemoryNetwork

FLEET = keys.generate()


def alive(pid: str) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


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
        assert screen_of(agent, trio.current_time()).repaired
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
    # The program says that it is ready once it would be caught: a shell may still be starting it.
    program = (
        """sh -c 'trap "echo cau""ght; exit" INT; echo re""ady; while :; do sleep 0.1; done'"""
    )
    person = Person([("exit", f"{program}\r"), ("ready", "\x03"), ("caught", "exit\r")])
    async with running(agent, network) as token:
        await repaired(token, network, person, station(FLEET))
    assert "caught" in person.shown


@pytest.mark.parametrize(("hide", "seen"), [("stty -echo; ", False), ("", True)])
async def test_what_is_typed_unseen_is_recorded_nowhere(
    hide: str, seen: bool, tmp_path: Path, patient_clock: object
) -> None:
    """Control: what the terminal shows of it is recorded."""
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    secret = "cbdefghi-canary"
    person = Person(
        [("exit", f"{hide}echo rea''dy; read x; stty echo\r"), ("ready", f"{secret}\r"),
         ("", "echo $((6*7))\r"), ("42", "exit\r")]
    )  # fmt: skip
    async with running(agent, network) as token:
        await repaired(token, network, person, station(FLEET))
        await trio.sleep(1)
        held = agent.machine.tenancy
        assert held is not None
        assert not any(secret in event.text for event in held.log.since(0))
    (record,) = (tmp_path / "rescue").iterdir()
    lines = [json.loads(line)[2] for line in record.read_text().splitlines()[1:]]
    assert ("canary" in "".join(lines)) is ("canary" in person.shown) is seen


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


async def test_a_second_session_waits_for_the_first(tmp_path: Path, patient_clock: object) -> None:
    """A new connection of the holder replaces the old one, so there is never a second shell."""
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    identity = station(FLEET)
    first, second = Person([("never", "")]), Person([*GOODBYE])
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
        await repaired(token, network, replace(second, script=[*GOODBYE]), identity)
        nursery.cancel_scope.cancel()


async def test_without_a_shell_it_says_so(tmp_path: Path, patient_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)

    def broken(*_argv: object, **_more: object) -> object:
        raise errors.CommandMissing(element="setsid")

    agent.rescue.start = broken  # type: ignore[assignment]
    async with running(agent, network) as token:
        with pytest.raises(errors.RescueFailed, match="setsid"):
            await repaired(token, network, Person([*GOODBYE]), station(FLEET))
