"""`kairos-register` as a program of its own, on a terminal, against a node over libp2p."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from node.agent import Agent
from pairing.errors import ExitCode
from pairing.events import State
from pairing.qr import render
from pairing.testing.network import loopback_transport

Station = Any
TOP = Path(__file__).parents[2]
SECONDS = 50.0


class Terminal:
    """A program whose standard input and error are a terminal; answers questions it asks."""

    def __init__(self, station: Station, arguments: list[str], answers: dict[str, Any]) -> None:
        self._ours, theirs = pty.openpty()
        self.said = ""
        self._answers = dict(answers)
        argv = [sys.executable, "-m", "cli.register", *arguments]
        environment = {**os.environ, **station.environment(), "TERM": "dumb",
                       "PYTHONPATH": str(TOP)}  # fmt: skip
        self.program = subprocess.Popen(
            argv, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, env=environment,
            cwd=station.home, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._ours, 65536):
                self.said += data.decode("utf-8", "replace")
                for question in [q for q in self._answers if q in self.said]:
                    answer = self._answers.pop(question)
                    answer = answer(self) if callable(answer) else answer
                    os.write(self._ours, answer.encode())

    def end(self) -> tuple[int, str]:
        """Exit code and standard output."""
        out, _ = self.program.communicate(timeout=SECONDS)
        self._reader.join(5)
        os.close(self._ours)
        return self.program.returncode, out.decode()


@contextlib.asynccontextmanager
async def live_node(
    station: Station, machine: str = "fanless-emmc", **settings: object
) -> AsyncIterator[tuple[Agent, Path]]:
    """A node on loopback, and a picture of its code."""
    from node.facts import recorded
    from node.settings import Settings

    class NoDisplay:
        def show(self, agent: Agent) -> None:
            pass

    folder = station.home / "node"
    folder.mkdir()
    agent = Agent(
        settings=Settings(port=0, mdns=False, **{"abort_delay": 0, **settings}),  # type: ignore[arg-type]
        look=lambda: recorded(TOP / "examples" / "machines" / f"{machine}.json"),
        display=NoDisplay(),
        state=folder,
        dry_run=True,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run, loopback_transport(), lambda: None)
        while not agent.reachable.addresses:  # noqa: ASYNC110 (a few turns)
            await trio.sleep(0.02)
        photo = station.home / "photo.png"
        photo.write_bytes(render.png(render.modules(agent.token())))
        yield agent, photo
        nursery.cancel_scope.cancel()


async def on_terminal(
    station: Station, photo: Path, *more: str, answers: dict[str, Any]
) -> tuple[int, str, str]:
    arguments = ["-c", str(station.config), "--wait", "written", "--loopback", "--timeout", "20"]

    def run() -> tuple[int, str, str]:
        terminal = Terminal(station, [*arguments, *more, str(photo)], answers)
        code, out = terminal.end()
        return code, out, terminal.said

    return await trio.to_thread.run_sync(run)


async def test_words_confirmed_and_a_person_approves(station: Station) -> None:
    async with live_node(station) as (agent, photo):
        answers = {"show the words:": "yes\n", "and erase it?": "maybe\n", "maybe": "y\n"}
        code, out, said = await on_terminal(
            station, photo, "--confirm-words", "--approve", "ask", answers=answers
        )
        assert code == 0, said
        assert agent.machine.tenancy is not None
        assert " ".join(agent.machine.tenancy.words) in said
    assert out.startswith(f"{photo}: written")
    assert said.count("and erase it?") == 2, "asked again until it is yes or no"


@pytest.mark.slow
async def test_the_words_differ(station: Station) -> None:
    async with live_node(station) as (agent, photo):
        code, _, said = await on_terminal(
            station, photo, "--confirm-words", answers={"show the words:": "no\n"}
        )
        assert code == ExitCode.NOT_AUTHENTIC
        assert "E510 words-differ" in said
        assert agent.machine.state is State.CLAIMED


@pytest.mark.slow
async def test_a_person_says_no(station: Station) -> None:
    async with live_node(station) as (agent, photo):
        code, _, said = await on_terminal(
            station, photo, "--approve", "ask", answers={"and erase it?": "no\n"}
        )
        assert code == ExitCode.NOT_APPROVED
        assert "E804 person-refused" in said
        assert agent.machine.state is State.REFUSED


@pytest.mark.slow
async def test_the_node_dies_while_a_person_thinks(station: Station) -> None:
    """Claimed, facts shown, not released: exit 5, even if the answer is yes then."""
    gone, trio_token = trio.Event(), trio.lowlevel.current_trio_token()

    def kill(_: Terminal) -> str:
        trio.from_thread.run_sync(gone.set, trio_token=trio_token)
        return ""

    async def node_until_killed(task_status: trio.TaskStatus[Path]) -> None:
        async with live_node(station) as (_, photo):
            task_status.started(photo)
            await gone.wait()

    async with trio.open_nursery() as nursery:
        photo = await nursery.start(node_until_killed)
        answers = {"and erase it?": kill, "connection lost": "yes\n"}
        code, _, said = await on_terminal(
            station, photo, "--approve", "ask", "--timeout", "2", answers=answers
        )
    assert code == ExitCode.UNREACHABLE, said
    (lease,) = (station.data / "leases").glob("*.json")
    assert json.loads(lease.read_text())["released"] is False


def interrupted(station: Station, number: int) -> tuple[int, str]:
    """Stop a run that looks for a node which does not exist."""
    from pairing import keys
    from pairing.peertoken import Token, to_text
    from pairing.transport.base import Address

    token = to_text(Token(keys.generate().public, b"s" * 16, ipv4=Address("127.0.0.1", 9)))
    photo = station.home / "photo.png"
    photo.write_bytes(render.png(render.modules(token)))
    arguments = ["-c", str(station.config), "--loopback", "--timeout", "300", str(photo)]

    def stop(terminal: Terminal) -> str:
        os.kill(terminal.program.pid, number)
        return ""

    terminal = Terminal(station, arguments, {"photo  ": stop})
    code, _ = terminal.end()
    return code, terminal.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_130_and_what_was_released(station: Station, number: int) -> None:
    code, said = interrupted(station, number)
    assert code == ExitCode.INTERRUPTED, said
    assert "Nothing was released to this machine." in said
    assert "Traceback" not in said


@pytest.mark.slow
async def test_130_after_the_release(station: Station) -> None:
    def stop(terminal: Terminal) -> str:
        os.kill(terminal.program.pid, signal.SIGINT)
        return ""

    async with live_node(station, abort_delay=60) as (_, photo):
        code, _, said = await on_terminal(station, photo, answers={"planned ": stop})
        assert code == ExitCode.INTERRUPTED, said
        assert "The config had been released" in said


async def test_secrets_stay_where_they_belong(station: Station) -> None:
    """T16: canaries in every secret; none in arguments, environment, output, journal."""
    canaries = ["canary-password", "canary-k3s-token", "canary-file-content"]
    station.config.write_text(
        "#cloud-config\nhostname: shop-1\nusers:\n  - {name: a, passwd: canary-password}\n"
        "k3s:\n  enabled: true\n  env: {K3S_TOKEN: canary-k3s-token}\n"
        "write_files:\n  - {path: /etc/x, content: canary-file-content}\n"
    )
    seen: dict[str, str] = {}

    def look(terminal: Terminal) -> str:
        for name in ("cmdline", "environ"):
            seen[name] = Path(f"/proc/{terminal.program.pid}/{name}").read_text()
        return ""

    async with live_node(station) as (agent, photo):
        token = agent.token()
        canaries += [token, token.removeprefix("EP1:")[8:40]]
        code, out, said = await on_terminal(
            station, photo, "--output", "jsonl", "--log-level", "debug", answers={"DEBUG": look}
        )
        assert code == 0, said
        assert agent.machine.tenancy is not None
        lease_secret = agent.machine.tenancy.secret
        config = agent.machine.tenancy.manifest
        assert config is not None
    from pairing.protocol.wire import to_base64

    canaries += [to_base64(lease_secret), lease_secret.hex()]
    journal = "".join(p.read_text() for p in (station.data / "journal").glob("*"))
    escrow = "".join(p.read_text() for p in (station.data / "escrow").glob("*"))
    keys_text = (station.keys / "operator.pem").read_text().splitlines()[1]
    assert seen["cmdline"]
    assert [json.loads(line)["type"] for line in out.splitlines()][-1] == "verdict"
    for place in (seen["cmdline"], seen["environ"], out, said, journal, escrow):
        for canary in [*canaries, keys_text]:
            assert canary not in place, canary
    # Positive control: the same search finds them where they do belong.
    assert all(c in station.config.read_text() for c in canaries[:3])
    assert canaries[5] in "".join(p.read_text() for p in (station.data / "leases").glob("*"))


@pytest.mark.slow
async def test_a_person_chooses_the_disk(station: Station) -> None:
    async with live_node(station, machine="nvme-server-two-disks") as (_, photo):
        answers = {"Its path:": "/dev/nvme1n1\n"}
        code, _, said = await on_terminal(station, photo, answers=answers)
    assert code == 0, said
    assert "the config for /dev/nvme1n1" in said
