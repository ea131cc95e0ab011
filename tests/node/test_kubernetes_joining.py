"""Joining without a network: the order of questions, patience, and what each answer means."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from node.providers.base import JOIN_SECONDS, Scene
from node.providers.kubernetes import authority, kubelet
from node.providers.kubernetes.api import Answer, Api, Json
from node.providers.kubernetes.identity import KEY, Identity
from node.providers.kubernetes.joining import Ask
from node.providers.kubernetes.provider import Kubernetes
from node.testing.certificates import Authority
from node.testing.cluster_objects import kubeconfig
from pairing import errors
from pairing.config import load
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts
from pairing.process import Result

TOKEN = "abcdef.0123456789abcdef"
CA = Authority.new()
UUID = "11111111-2222-3333-4444-555555555555"
FACTS = Facts(uuid=UUID)


def config(ca: str = CA.fingerprint, more: str = "") -> Document:
    lines = ca.strip().replace("\n", "\n    ")
    return load(
        "#cloud-config\nhostname: Till-7\nkubernetes:\n  enabled: true\n"
        f"  server: https://cluster.example\n  token: {TOKEN}\n  ca: |-\n    {lines}\n{more}",
        "c.yaml",
    )


def cluster_info(token: str = TOKEN, ca: Authority = CA) -> Json:
    text = kubeconfig("https://cluster.example:6443", ca.pem)
    key = f"jws-kubeconfig-{token.partition('.')[0]}"
    return {"data": {"kubeconfig": text, key: authority.signature(text, token)}}


@dataclass
class Server:
    """An API server that does what it should, but for what a test puts into `instead`.

    `instead` maps a method and the last word of a path to answers that come first; an exception
    is raised. The last one of a list stays.
    """

    instead: dict[tuple[str, str], list[Answer | Exception]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    request: bytes = b""
    nodes: dict[str, Any] = field(default_factory=dict)

    def open(self, api: Api) -> Ask:
        async def ask(
            method: str, path: str, body: Json | None = None, kind: str = "json"
        ) -> Answer:
            await trio.lowlevel.checkpoint()
            self.asked.append((method, path, api.token))
            return self._answer(method, path, body)

        return ask

    def _answer(self, method: str, path: str, body: Json | None) -> Answer:
        waiting = self.instead.get((method, path.rpartition("/")[2]))
        if waiting:
            first = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            if isinstance(first, Exception):
                raise first
            return first
        if path == authority.PATH:
            return Answer(200, cluster_info())
        if "certificatesigningrequests" in path:
            if body is not None:
                self.request = base64.b64decode(body["spec"]["request"])
                return Answer(201, {})
            signed = base64.b64encode(CA.sign(self.request)).decode()
            return Answer(200, {"status": {"certificate": signed}})
        return self._node(method, path.rpartition("/")[2], body)

    def _node(self, method: str, name: str, body: Json | None) -> Answer:
        if method == "POST":
            assert body is not None
            name = body["metadata"]["name"]
            if name in self.nodes:
                return Answer(409, {})
            self.nodes[name] = dict(body)
            return Answer(201, body)
        return Answer(200, self.nodes[name])

    def say(self, method: str, last: str, *answers: Answer | Exception) -> None:
        self.instead[method, last] = list(answers)


@dataclass
class Machine:
    """The provider on a machine whose files are below `root`."""

    root: Path
    server: Server = field(default_factory=Server)
    config: Document = field(default_factory=config)
    lines: list[str] = field(default_factory=list)
    states: list[State] = field(default_factory=list)

    @property
    def provider(self) -> Kubernetes:
        return Kubernetes(open=self.server.open)

    async def check(self) -> None:
        await self.provider.check(self._scene())

    async def watch(self) -> None:
        await self.provider.watch(self._scene(), lambda state, _: self.states.append(state))

    def _scene(self) -> Scene:
        return Scene(
            config=self.config,
            facts=FACTS,
            root=self.root,
            command=_nothing_said,
            log=self.lines.append,
            say_tail=self.lines.extend,
        )

    @property
    def identity(self) -> Identity:
        return Identity(self.root, "till-7")

    def with_kubelet(self) -> None:
        program = self.root / kubelet.PROGRAM.lstrip("/")
        program.parent.mkdir(parents=True)
        program.write_text("")
        program.chmod(0o755)


async def _nothing_said(
    argv: object,
    *,
    seconds: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    check: bool = True,
) -> Result:
    return Result(0, b"kubelet says why\n", b"")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = trio.current_time()
    yield
    assert trio.current_time() - start <= seconds


UNREACHABLE = errors.JoinUnreachable("No route to host.", element="cluster.example:6443")


# --- the way in -----------------------------------------------------------------------------------


async def test_the_token_is_sent_only_after_the_authority_is_known(machine: Machine) -> None:
    await machine.check()
    first = machine.server.asked[0]
    assert first == ("GET", authority.PATH, "")
    with_token = {path.rpartition("/")[2][:8] for _, path, token in machine.server.asked if token}
    assert with_token == {"certific", "node-csr"}
    assert "till-7" in machine.server.nodes


async def test_the_next_start_asks_for_nothing_that_it_has(machine: Machine) -> None:
    await machine.check()
    machine.server.asked.clear()
    await machine.check()
    assert [(method, path) for method, path, _ in machine.server.asked] == [
        ("POST", "/api/v1/nodes"),
        ("GET", "/api/v1/nodes/till-7"),
        ("PATCH", "/api/v1/nodes/till-7"),
    ]
    assert not any(token for _, _, token in machine.server.asked)


async def test_ready(machine: Machine, autojump_clock: trio.testing.MockClock) -> None:
    machine.with_kubelet()
    await machine.check()
    no = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "no network"}
    yes = {"type": "Ready", "status": "True"}
    answers = [Answer(200, {"status": {"conditions": [one]}}) for one in (no, no, yes)]
    machine.server.say("GET", "till-7", Answer(200, {}), *answers)
    await machine.watch()
    assert machine.states == [State.JOINED, State.READY]


async def test_never_ready(machine: Machine, autojump_clock: trio.testing.MockClock) -> None:
    machine.with_kubelet()
    await machine.check()
    no = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "no network"}
    machine.server.say("GET", "till-7", Answer(200, {"status": {"conditions": [no]}}))
    with within(600), pytest.raises(errors.JoinNotReady, match="no network"):
        await machine.watch()
    assert machine.states == [State.JOINED]
    assert machine.lines == ["kubelet says why"]


async def test_an_image_without_a_kubelet_joins_and_says_so(machine: Machine) -> None:
    await machine.check()
    with pytest.raises(errors.JoinProgramMissing):
        await machine.watch()
    assert machine.states == [State.JOINED]


# --- what keeps it out ----------------------------------------------------------------------------


async def test_a_server_that_is_away_is_named_in_time(
    machine: Machine, autojump_clock: trio.testing.MockClock
) -> None:
    machine.server.say("GET", "cluster-info", UNREACHABLE)
    with within(JOIN_SECONDS - 5), pytest.raises(errors.JoinUnreachable, match="No route"):
        await machine.check()


async def test_a_server_that_is_starting_is_waited_for(
    machine: Machine, autojump_clock: trio.testing.MockClock
) -> None:
    machine.server.say(
        "GET",
        "cluster-info",
        *(UNREACHABLE,) * 10,
        *(errors.JoinClockWrong(),) * 5,
        Answer(503, {"message": "starting"}),
        Answer(200, cluster_info()),
    )
    await machine.check()
    assert "till-7" in machine.server.nodes


async def test_a_machine_that_has_joined_starts_without_its_cluster(
    machine: Machine, autojump_clock: trio.testing.MockClock
) -> None:
    await machine.check()
    machine.server.say("POST", "nodes", UNREACHABLE)
    with within(JOIN_SECONDS - 5):
        await machine.check()
    assert machine.lines == [UNREACHABLE.sentence]


async def test_a_clock_that_stays_wrong(
    machine: Machine, autojump_clock: trio.testing.MockClock
) -> None:
    machine.server.say("GET", "cluster-info", errors.JoinClockWrong())
    with within(JOIN_SECONDS - 5), pytest.raises(errors.JoinClockWrong):
        await machine.check()


ANSWERS: Mapping[str, tuple[str, str, Answer, type[errors.KnownError]]] = {
    "wrong or expired": (
        "POST",
        "certificatesigningrequests",
        Answer(401, {}),
        errors.JoinTokenRefused,
    ),
    "no role": ("POST", "certificatesigningrequests", Answer(403, {}), errors.JoinForbidden),
    "a page": ("POST", "certificatesigningrequests", Answer(302, {}), errors.JoinAnswerUnknown),
    "no cluster-info": ("GET", "cluster-info", Answer(404, {}), errors.JoinAnswerUnknown),
    "empty cluster-info": ("GET", "cluster-info", Answer(200, {}), errors.JoinAnswerUnknown),
    "a label": ("POST", "nodes", Answer(422, {"message": "labels"}), errors.JoinFailed),
    "not its name": ("POST", "nodes", Answer(403, {}), errors.JoinForbidden),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_each_answer_has_its_error(machine: Machine, name: str) -> None:
    method, last, answer, error = ANSWERS[name]
    machine.server.say(method, last, answer)
    with pytest.raises(errors.JoinFailed) as caught:
        await machine.check()
    assert type(caught.value) is error
    assert TOKEN not in str(caught.value)


async def test_nobody_signs(machine: Machine, autojump_clock: trio.testing.MockClock) -> None:
    name = _request_name(machine.identity)
    machine.server.say("GET", name, Answer(200, {"status": {}}))
    with within(JOIN_SECONDS - 5), pytest.raises(errors.JoinNotSigned):
        await machine.check()
    assert (machine.root / KEY).exists()
    assert _request_name(machine.identity) == name


async def test_somebody_says_no(machine: Machine) -> None:
    said = {"type": "Denied", "reason": "Policy", "message": "unknown shop"}
    name = _request_name(machine.identity)
    machine.server.say("GET", name, Answer(200, {"status": {"conditions": [said]}}))
    with pytest.raises(errors.JoinNotSigned, match="unknown shop"):
        await machine.check()


def _request_name(identity: Identity) -> str:
    return str(identity.request(identity.key())["metadata"]["name"])
