"""Token -> certificate -> Node object -> Ready. Every wait has a deadline and a named error.

`Ask` is the door to the network, so that the order of questions can be tested without one.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import trio

from node.providers.kubernetes import authority
from node.providers.kubernetes.api import (
    Answer,
    Api,
    Connect,
    Json,
    tcp,
    trusting,
    trusting_nobody_yet,
    with_certificate,
)
from node.providers.kubernetes.identity import Identity
from node.providers.kubernetes.settings import HASH, Settings
from pairing import errors

REACH_SECONDS = 30.0
"""How long a server that does not answer is asked again: it or the network may be starting."""
SIGN_SECONDS = 25.0
READY_SECONDS = 300.0
PAUSE = 1.0
SIGN_PAUSE = 0.25
LOOK_PAUSE = 2.0
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
NODES = "/api/v1/nodes"
CREATED, CONFLICT, MISSING = 201, 409, 404
INVALID = frozenset({400, 422})
"""A label, say, that Kubernetes does not allow; its words name it."""
COMING = (errors.JoinUnreachable, errors.JoinClockWrong)
"""What may pass while a machine starts: no network yet, no time yet."""
BUSY = frozenset({429, 500, 502, 503, 504})


class Ask(Protocol):
    """Send one request to the API server, as `Api.ask` does, without blocking trio."""

    async def __call__(
        self, method: str, path: str, body: Json | None = None, kind: str = "json"
    ) -> Answer:
        """Raises what `Api.ask` raises."""


Open = Callable[[Api], Ask]


def in_thread(api: Api) -> Ask:
    """The usual `Open`. A request that is given up on ends by its own deadline."""

    async def ask(method: str, path: str, body: Json | None = None, kind: str = "json") -> Answer:
        request = partial(api.ask, method, path, body, kind)
        return await trio.to_thread.run_sync(request, abandon_on_cancel=True)

    return ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """One machine's way into its cluster. `system` is its SMBIOS UUID, empty if unknown."""

    settings: Settings
    identity: Identity
    system: str = ""
    connect: Connect = tcp
    open: Open = in_thread
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def authority(self) -> str:
        """The cluster's authority (PEM). Raises errors.JoinFailed's children."""
        named = self.settings.authority
        if not HASH.fullmatch(named):
            return named
        kept = self.identity.authority
        if kept and authority.has(kept, named):
            return kept  # the token is not in cluster-info for ever
        nobody = self._api(trusting_nobody_yet())
        answer = await self._patient(self.open(nobody), "GET", authority.PATH)
        if answer.status == MISSING:
            raise errors.JoinAnswerUnknown("It has no cluster-info: give `ca` as a certificate.")
        _require(answer, 200)
        return authority.found(answer.body, named, self.settings.token)

    @property
    def has_joined(self) -> bool:
        """Whether an earlier start left a certificate that is still good."""
        return self.identity.valid(self.now())

    async def join(self, pem: str) -> None:
        """Until the cluster has signed the machine's certificate and has its Node.

        Does nothing that was done before: a certificate that is still good is used. Raises
        errors.JoinFailed's children, within two minutes, and OSError if it cannot be stored.
        """
        if self.has_joined:
            try:
                await self._register(pem)
            except errors.JoinTokenRefused:  # signed by an authority that is no more
                self.identity.forget()
            else:
                return
        await self._certificate(pem)
        await self._register(pem)

    async def ready(self, pem: str, seconds: float = READY_SECONDS) -> None:
        """Until the Node's condition Ready is true. Raises errors.JoinNotReady with the reason."""
        said = "The cluster has heard nothing from its kubelet."
        ask = self._as_node(pem)
        with trio.move_on_after(seconds):
            while True:
                try:
                    answer = await ask("GET", f"{NODES}/{self.settings.name}")
                except COMING as wrong:
                    said = str(wrong)
                else:
                    good, said = readiness(answer.body, said)
                    if good:
                        return
                await trio.sleep(LOOK_PAUSE)
        raise errors.JoinNotReady(said, element=self.settings.name)

    async def _certificate(self, pem: str) -> None:
        ask = self.open(self._api(trusting(pem), self.settings.token))
        key = self.identity.key()
        request = self.identity.request(key)
        path = f"{CSRS}/{request['metadata']['name']}"
        answer = await self._patient(ask, "POST", CSRS, request)
        _require(answer, CREATED, CONFLICT)
        with trio.move_on_after(SIGN_SECONDS):
            while True:
                answer = await self._patient(ask, "GET", path)
                _require(answer, 200)
                signed = issued(answer.body)
                if signed:
                    self.identity.keep(signed, key)
                    return
                await trio.sleep(SIGN_PAUSE)
        raise errors.JoinNotSigned(f"It was waited for {SIGN_SECONDS:g} seconds.")

    async def _register(self, pem: str) -> None:
        """Make the Node, or see that the one that is there is this machine, and label it."""
        ask, path = self._as_node(pem), f"{NODES}/{self.settings.name}"
        wanted = {
            "kubernetes.io/hostname": self.settings.name,
            "kubernetes.io/os": "linux",
            **self.settings.labels,
        }
        node = {"metadata": {"name": self.settings.name, "labels": wanted}}
        made = await self._patient(ask, "POST", NODES, {"apiVersion": "v1", "kind": "Node", **node})
        if made.status != CONFLICT:
            _require(made, CREATED)
            return
        there = await self._patient(ask, "GET", path)
        _require(there, 200)
        self._require_ours(there.body)
        patch = {"metadata": {"labels": wanted}}
        _require(await self._patient(ask, "PATCH", path, patch, "merge-patch+json"), 200)

    def _require_ours(self, node: Json) -> None:
        known = str(_at(node, "status", "nodeInfo", "systemUUID") or "").lower()
        if known and self.system and known != self.system.lower():
            raise errors.JoinForbidden(
                "Another machine has this name in the cluster.", element=self.settings.name
            )

    async def _patient(
        self, ask: Ask, method: str, path: str, body: Json | None = None, kind: str = "json"
    ) -> Answer:
        """Ask until there is an answer that is not "come again"; at most REACH_SECONDS."""
        last: errors.KnownError = errors.JoinUnreachable(element=self.settings.server)
        with trio.move_on_after(REACH_SECONDS):
            while True:
                try:
                    answer = await ask(method, path, body, kind)
                except COMING as wrong:
                    last = wrong
                else:
                    if answer.status not in BUSY:
                        return answer
                    last = errors.JoinUnreachable(f"Status {answer.status}. {answer.reason}")
                await trio.sleep(PAUSE)
        raise last

    def _as_node(self, pem: str) -> Ask:
        return self.open(self._api(with_certificate(pem, self.identity.pair)))

    def _api(self, trust: Any, token: str = "") -> Api:
        return Api(self.settings.host, self.settings.port, trust, token, self.connect)


def issued(request: Json) -> bytes:
    """The certificate (PEM) of a signed request; empty while nobody has decided.

    Raises errors.JoinNotSigned if somebody has said no.
    """
    for condition in _at(request, "status", "conditions") or ():
        if condition.get("type") in ("Denied", "Failed"):
            said = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            raise errors.JoinNotSigned(said.strip(": ")[:300])
    certificate = _at(request, "status", "certificate")
    return base64.b64decode(certificate) if isinstance(certificate, str) else b""


def readiness(node: Json, otherwise: str) -> tuple[bool, str]:
    """Whether the Node is Ready, and what its condition says; `otherwise` if it has none."""
    for condition in _at(node, "status", "conditions") or ():
        if condition.get("type") == "Ready":
            said = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            return condition.get("status") == "True", said.strip(": ")[:300]
    return False, otherwise


def _require(answer: Answer, *good: int) -> None:
    """Raises the error that this status means unless it is one of `good`."""
    if answer.status in good:
        return
    if answer.status == 401:
        raise errors.JoinTokenRefused
    if answer.status == 403:
        raise errors.JoinForbidden(answer.reason)
    if answer.status in INVALID:
        raise errors.JoinFailed(answer.reason)
    raise errors.JoinAnswerUnknown(f"Status {answer.status}. {answer.reason}".strip())


def _at(body: Json, *path: str) -> Any:
    value: Any = body
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
