"""The providers `k3s` and `k3s-agent`: check, then wait for this machine's Node, then for Ready."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from node.providers.base import Entered, Preparation, Scene, has_unit
from node.providers.k3s.settings import KEYS, Role, Settings, settings, wanted
from node.providers.k3s.supervisor import Supervisor
from node.providers.k3s.token import parse
from node.providers.kubernetes.api import Answer, Api, Connect, tcp, trusting
from node.providers.kubernetes.joining import COMING, readiness
from pairing import errors
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts

PROGRAM = "/usr/bin/k3s"
"""What the units start. `/usr/local`, where k3s' own script puts it, is the machine's data."""
REACH_SECONDS = 40.0
"""How long a server is asked again that does not answer, or that the clock is wrong for: it, the
network or the time may be coming."""
PAUSE = 2.0
TOOL_SECONDS = 20.0
JOIN_SECONDS: Mapping[Role, float] = {"agent": 180.0, "server": 300.0}
"""A server makes its authority and its database first. Refusals are known before, by `check`."""
RESTARTS = 3
"""After so many the unit is said to fail: it is started again and again for ever."""
_REASONS: Mapping[str, type[errors.JoinFailed]] = {
    "node password rejected": errors.JoinForbidden,
    "token ca hash does not match": errors.JoinCaMismatch,
    "certificate signed by unknown authority": errors.JoinCaMismatch,
    "not authorized": errors.JoinTokenRefused,
    "401 unauthorized": errors.JoinTokenRefused,
    "connection refused": errors.JoinUnreachable,
    "no route to host": errors.JoinUnreachable,
    "i/o timeout": errors.JoinUnreachable,
    "no such host": errors.JoinUnreachable,
}
"""What k3s' log says, and what it means. The last line that says one of these counts."""


@dataclass(frozen=True, slots=True)
class K3s:
    """One role of k3s. `connect` is the door to the network."""

    role: Role = "server"
    connect: Connect = tcp
    order: int = 50

    @property
    def name(self) -> str:
        return KEYS[self.role]

    def wanted(self, config: Document) -> bool:
        return wanted(config, self.role)

    def prepare(self, config: Document, facts: Facts) -> Preparation:
        found = settings(config, self.role)
        seconds = JOIN_SECONDS[self.role]
        return Preparation(actions=found.files(), units=(found.unit,), join_seconds=seconds)

    def missing(self, root: Path) -> str:
        """See `node.providers.found.NeedsProgram`."""
        if not (root / PROGRAM.lstrip("/")).is_file():
            return PROGRAM
        unit = f"{self.name}.service"
        return "" if has_unit(root, unit) else unit

    async def check(self, scene: Scene) -> None:
        """That k3s is there, and that the server would take this machine."""
        if name := self.missing(scene.root):
            raise errors.JoinProgramMissing(element=name)
        found = settings(scene.config, self.role)
        if not (found.server and found.token):
            return
        if has_joined(scene, found):
            return
        token, server = parse(found.token), Supervisor.at(found.server, self.connect)
        ask = partial(server.require_joinable, token, scene.log)
        last: errors.JoinFailed = errors.JoinUnreachable(element=server.host)
        with trio.move_on_after(REACH_SECONDS):
            while True:
                try:
                    await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
                except COMING as wrong:
                    last = wrong
                else:
                    return
                await trio.sleep(PAUSE)
        raise last

    async def watch(self, scene: Scene, entered: Entered) -> None:
        watch = _Watch(scene, settings(scene.config, self.role), self.connect)
        if watch.settings.has_kubelet:
            name = await watch.node(entered)
            entered(State.READY, f"{name} is ready")
        else:
            await watch.server()
            entered(State.JOINED, "k3s serves its cluster")
            entered(State.READY, "k3s serves its cluster; this machine is no node of it")


def has_joined(scene: Scene, found: Settings) -> bool:
    """Whether k3s has this machine's certificate already: then it is started whatever the server
    says, also while the cluster is away or the token has expired since.
    """
    # A server without a kubelet has none of a Node, but its administrator's: made once the others
    # have let it in.
    own = "agent/client-kubelet.crt" if found.has_kubelet else "server/tls/client-admin.crt"
    return scene.path(f"{found.data}/{own}").is_file()


def agent() -> K3s:
    """The provider `k3s-agent`."""
    return K3s("agent")


@dataclass(slots=True)
class _Watch:
    """k3s after its start: its unit, its log, and what the cluster says of this machine."""

    scene: Scene
    settings: Settings
    connect: Connect
    said: str = "The cluster has heard nothing from its kubelet."

    async def node(self, entered: Entered) -> str:
        """Until the Node is Ready; its name."""
        kubeconfig = self.scene.path(f"{self.settings.data}/agent/kubelet.kubeconfig")
        joined = False
        while True:
            node = await self._ask(kubeconfig, lambda access: f"/api/v1/nodes/{access.node}")
            if node is not None:
                name = str(node.body.get("metadata", {}).get("name", ""))
                if not joined:
                    entered(State.JOINED, f"{name} is a node of the cluster")
                    joined = True
                ready, self.said = readiness(node.body, self.said)
                self.scene.log(self.said)
                if ready:
                    return name
            await self._require_well()
            await trio.sleep(PAUSE)

    async def server(self) -> None:
        """Until the API server of this machine answers."""
        kubeconfig = self.scene.path(self.settings.kubeconfig)
        while await self._ask(kubeconfig, lambda _: "/version") is None:
            await self._require_well()
            await trio.sleep(PAUSE)

    async def _ask(self, kubeconfig: Path, path: Callable[[Access], str]) -> Answer | None:
        """The answer, as k3s' own certificate is given it; None while there is none."""

        def ask() -> Answer | None:
            access = access_of(kubeconfig, self.scene.root)
            if access is None:
                return None
            api = Api(access.host, access.port, access.trust, connect=self.connect)
            answer = api.ask("GET", path(access))
            return answer if answer.status == 200 else None

        try:
            return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
        except errors.JoinFailed:
            return None  # k3s' own proxy is starting; its log tells more

    async def _require_well(self) -> None:
        """Raises what k3s' log says, once its unit is given up by systemd or by us."""
        show = ("systemctl", "show", "--property=ActiveState,NRestarts", self.settings.unit)
        text = (await self.scene.command(show, seconds=TOOL_SECONDS, check=False)).text()
        state = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        restarts = state.get("NRestarts", "0")
        log = await self._log()
        reason = reason_in(log)
        if reason is errors.JoinForbidden:
            raise reason("Another machine had this name in the cluster.")
        if state.get("ActiveState") == "failed" or int(restarts or 0) >= RESTARTS:
            raise (reason or errors.JoinFailed)("k3s ends by itself again and again.")

    async def _log(self) -> str:
        argv = ["journalctl", "--no-pager", "--output=cat", "--lines=20"]
        argv += ["--boot", f"--unit={self.settings.unit}"]
        result = await self.scene.command(argv, seconds=TOOL_SECONDS, check=False)
        text = result.text()
        self.scene.say_tail(text.splitlines())
        return text


def reason_in(log: str) -> type[errors.JoinFailed] | None:
    """What the last telling line of k3s' log means; None if none tells anything."""
    for line in reversed(log.lower().splitlines()):
        for words, reason in _REASONS.items():
            if words in line:
                return reason
    return None


@dataclass(frozen=True, slots=True)
class Access:
    """How k3s reaches its API server: address, TLS with its certificate, and its Node's name."""

    host: str
    port: int
    trust: ssl.SSLContext
    node: str


def access_of(kubeconfig: Path, root: Path) -> Access | None:
    """What a kubeconfig of k3s says; None while it, or a file that it names, is not whole."""
    try:
        parsed = yaml.safe_load(kubeconfig.read_bytes())
        cluster, user = parsed["clusters"][0]["cluster"], parsed["users"][0]["user"]
        address = str(cluster["server"]).removeprefix("https://").rstrip("/")
        host, _, port = address.rpartition(":")
        certificate = _part(user, "client-certificate", root)
        trust = trusting(_part(cluster, "certificate-authority", root).decode("ascii"))
        _show(trust, certificate, _part(user, "client-key", root))
        name = x509.load_pem_x509_certificate(certificate).subject
        user_name = str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        node = user_name.removeprefix("system:node:")
        return Access(host.strip("[]"), int(port), trust, node)
    except (OSError, ValueError, KeyError, IndexError, TypeError, yaml.YAMLError):
        return None
    except (ssl.SSLError, binascii.Error, errors.JoinFailed):
        return None


def _part(entry: Mapping[str, Any], name: str, root: Path) -> bytes:
    """A certificate or key: in the kubeconfig itself, or the file that it names."""
    if inside := entry.get(f"{name}-data"):
        return base64.b64decode(inside, validate=True)
    return (root / str(entry[name]).lstrip("/")).read_bytes()


def _show(trust: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Make `trust` present this certificate. The standard library reads it from a file only: one
    in memory.
    """
    with os.fdopen(os.memfd_create("k3s"), "wb", buffering=0) as pair:
        pair.write(certificate + b"\n" + key)
        trust.load_cert_chain(f"/proc/self/fd/{pair.fileno()}")
