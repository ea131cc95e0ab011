"""An operator's station for tests: own folders, real options, and nodes on a memory network."""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from cli.pairing_run import Run, WarmUp
from cli.register import Asked, command, prepare
from cli.testing.kairosdesk import KairosDesk
from node.agent import Agent
from node.facts import recorded
from node.settings import Settings
from pairing import peertoken, process
from pairing.edgevpn import nettoken
from pairing.edgevpn.nettoken import NetworkToken
from pairing.facts import Facts
from pairing.report import Verdict, report_for
from pairing.transport.memory import MemoryNetwork
from tests.cli.inboxes import Inbox

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = """#cloud-config
hostname: shop-0815
users:
  - name: admin
    groups: [admin]
    ssh_authorized_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEQpkwZQBKoeTEj03QFYGUwCNJvMZkzZbkAOommRio1R a@example
"""


class NoDisplay:
    """Nobody looks at this node."""

    def show(self, agent: Agent) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Said:
    """What a finished program left."""

    status: int
    out: str
    err: str


@dataclass(slots=True)
class Station:
    """An operator's home folder, a config in it, and what the last run in this process said."""

    home: Path
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    out: io.StringIO = field(default_factory=io.StringIO)
    err: io.StringIO = field(default_factory=io.StringIO)

    @property
    def config(self) -> Path:
        return self.home / "shop.yaml"

    @property
    def data(self) -> Path:
        return self.home / "data" / "kairos-register"

    @property
    def keys(self) -> Path:
        return self.home / "config" / "kairos-register" / "keys"

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
        }

    # --- as a program of its own --------------------------------------------------------------

    def program(self, module: str, *arguments: str, stdin: bytes = b"", **more: str) -> Said:
        """Run `python -m MODULE`; standard error apart from standard output."""
        import sys

        argv = [sys.executable, "-m", module, *arguments]
        environment = {**self.environment(), **more, "PYTHONPATH": str(EXAMPLES.parent)}
        done = process.run(argv, seconds=50, stdin=stdin, environment=environment, check=False)
        return Said(done.status, done.text(), done.stderr.decode())

    def register(self, *arguments: str, stdin: bytes = b"") -> Said:
        return self.program("cli.register", *arguments, stdin=stdin)

    def fleet(self, *arguments: str, stdin: bytes = b"") -> Said:
        return self.program("cli.fleet", *arguments, stdin=stdin)

    # --- in this process, on the memory network -----------------------------------------------

    def run(self, *arguments: str, load: Callable[[], None] = lambda: None) -> Run:
        """What `kairos-register --config shop.yaml ARGUMENTS photo.png` would do."""
        given = ["--config", str(self.config), *arguments]
        if not any(a in ("--wait", "--poweroff") for a in arguments):
            given += ["--wait", "written"]
        (self.home / "photo.png").touch()
        with command.make_context(
            "kairos-register", [*given, str(self.home / "photo.png")]
        ) as made:
            asked = Asked(**made.params)
        run = prepare(asked)
        run.network = self.network.transport().dialer
        run.warm = WarmUp(load)
        run.report = report_for(asked.output, self.err, self.out)
        return run

    async def pair(self, agent: Agent, *arguments: str) -> Verdict:
        """Register a node that is running."""
        token = peertoken.parse(agent.token())
        run = self.run("--timeout", "5", *arguments)
        verdict = await run.pair("photo.png", token)
        run.report.verdict(verdict)
        run.close(verdict.exit)
        return verdict


@pytest.fixture
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Station:
    made = Station(tmp_path)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    made.config.write_text(CONFIG)
    return made


def agent_at(folder: Path, machine: str = "fanless-emmc", kind: type[Agent] = Agent,
             change: Callable[[Facts], Facts] = lambda facts: facts,
             **settings: object) -> Agent:  # fmt: skip
    return kind(
        settings=Settings(port=0, **{"abort_delay": 0, **settings}),  # type: ignore[arg-type]
        look=lambda: change(recorded(EXAMPLES / "machines" / f"{machine}.json")),
        display=NoDisplay(),
        state=folder,
        dry_run=True,
    )


@dataclass(slots=True)
class Shop:
    """A node on the station's network. `scope` kills it."""

    agent: Agent
    scope: trio.CancelScope


NewNode = Callable[..., contextlib.AbstractAsyncContextManager[Shop]]


@pytest.fixture
def node(station: Station) -> NewNode:
    @contextlib.asynccontextmanager
    async def start(machine: str = "fanless-emmc", kind: type[Agent] = Agent,
                    change: Callable[[Facts], Facts] = lambda facts: facts,
                    **settings: object) -> AsyncIterator[Shop]:  # fmt: skip
        folder = station.home / f"node-{secrets.token_hex(4)}"
        folder.mkdir()
        agent = agent_at(folder, machine, kind, change, **settings)
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def run() -> None:
                with scope:
                    await agent.run(station.network.transport("node"), lambda: None)

            nursery.start_soon(run)
            while not agent.reachable.addresses:  # noqa: ASYNC110 (a few turns)
                await trio.sleep(0.01)
            yield Shop(agent, scope)
            nursery.cancel_scope.cancel()

    return start


@pytest.fixture
def desk(station: Station) -> KairosDesk:
    """`kairos-register --kairos` of this station."""
    return KairosDesk(station)


@pytest.fixture
def token() -> NetworkToken:
    """A fresh network token of Kairos."""
    return nettoken.fresh(secrets.token_bytes)


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLUMNS", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def box(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "photos").mkdir()
    return Inbox(tmp_path / "photos", tmp_path / "data" / "kairos-register", capfd)
