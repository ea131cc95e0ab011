"""One run of `kairos-register --kairos`: photos, tokens, one host for each, verdicts.

Other than our own pairings these go on side by side: nobody is asked anything, and a stock node
looks for news every ten seconds only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Self

import trio

from cli.kairos.notes import KairosNotes, name_of
from cli.kairos.order import SAID, KairosOrder
from cli.pairing_run import WarmUp, interruptible
from cli.records import now
from cli.sources import JOINT, Source
from cli.together import read_together
from pairing import errors
from pairing.edgevpn import nettoken, session
from pairing.edgevpn.gossip import KairosNetwork
from pairing.edgevpn.nettoken import NetworkToken
from pairing.edgevpn.session import Progress
from pairing.errors import ExitCode
from pairing.events import State
from pairing.qr.read import PhotoReader, PhotoToken
from pairing.qr.reading import NATIVE_PREFIX, Kind
from pairing.report import Report, Verdict, report_for

AT_ONCE = 32
"""Nodes that are paired side by side; each costs a libp2p host of its own."""
ACK_SECONDS = 60.0
"""A stock node looks every 10 s, and its answer takes as long again."""
SECURITY = "bearer"
"""In JSON: whoever bears the photo has all that it gives."""
PROGRESS = {
    Progress.LOOKING: "looking for it; a stock node takes 10 s or more",
    Progress.MET: "one machine is there",
    Progress.SENT: "the config is on its way",
    Progress.DELIVERED: "it has arrived; waiting for the machine to say so",
}

KEPT = {
    "acknowledged": "acknowledged",
    errors.KairosNotAcknowledged.slug: "delivered",
    "": "sent; nothing shows whether it arrived",
}
"""What the journal says of a config that has left, by how that ended."""


@dataclass(slots=True)
class KairosNode:
    """One node of the run, from its photo to its verdict."""

    source: Source
    name: str = ""
    offered: bool = False
    """The audit log says that it is sent to."""
    released: bool = False
    """The config has left this machine."""
    peer: str = ""
    verdict: Verdict | None = None
    done: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True, kw_only=True)
class KairosRun:
    """Everything that is the same for all sources. `timeout` in seconds, for finding the node."""

    order: KairosOrder
    sources: Sequence[Source]
    timeout: float
    network: KairosNetwork
    notes: KairosNotes
    output: str = "human"
    loopback: bool = False
    dry_run: bool = False
    warm: WarmUp = field(default_factory=WarmUp)
    reader: PhotoReader = field(default_factory=PhotoReader)
    clock: Callable[[], float] = time.time
    report: Report = field(init=False)
    _nodes: dict[str, KairosNode] = field(default_factory=dict)
    """By name: two photos of one screen are one node."""

    def __post_init__(self) -> None:
        self.report = report_for(self.output, sys.stderr, sys.stdout)

    def __enter__(self) -> Self:
        if not self.dry_run:
            self.warm.start()
        for problem in self.order.warnings:
            self.report.warn(str(problem))
        name = self.order.hostname
        if len(self.sources) > 1 and name and "{{" not in name:
            self.report.warn(
                f"every machine gets the host name {name}, and a cluster tells nodes by theirs:"
                f" Kairos fills in {name}-{{{{ trunc 4 .MachineID }}}}"
            )
        self.report.say("config", f"valid{f', hostname {name}' if name else ''}")
        if self.dry_run:
            shown = self.order.shown
            self.report.block("would-send", shown, {"config": "\n".join(shown)})
        self.report.block("security", SAID, {"security": SECURITY, "text": " ".join(SAID)})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.report.quiet()
        self.reader.close()

    def close(self, exit_code: int) -> int:
        """The end of the report; gives back the exit code."""
        self.report.close(exit_code)
        return exit_code

    def all(self) -> list[int]:
        """Register all of them, side by side; returns their exit codes. Ctrl-C ends it."""
        return trio.run(self.register)

    async def register(self) -> list[int]:
        """The same within a running event loop."""
        nodes: list[KairosNode] = []
        readings = read_together(self.sources, self.reader)

        async def work() -> bool:
            async with trio.open_nursery() as nursery:
                limit = trio.CapacityLimiter(AT_ONCE)
                while source := await trio.to_thread.run_sync(next, readings, None):
                    nodes.append(node := KairosNode(source))
                    text = await self._read(node)
                    if text is not None:
                        nursery.start_soon(self._one, node, *text, limit)
            return True

        await interruptible(work)
        told = {name for node in nodes for name in node.source.name.split(JOINT)}
        nodes += [KairosNode(source) for source in self.sources if source.name not in told]
        for node in nodes:
            if node.verdict is None:
                await self._conclude(node, _interrupted(node.released))
        return [node.verdict.exit for node in nodes if node.verdict is not None]

    # --- one node -------------------------------------------------------------------------------

    async def _read(self, node: KairosNode) -> tuple[str, NetworkToken] | None:
        """Its token, with the text. None if there is none; then its verdict is told."""
        source = node.source
        if source.advice:
            self.report.warn(source.advice)
        try:
            code = await trio.to_thread.run_sync(source.code, self.reader)
            token = network_token(code, source.name, loopback=self.loopback)
        except errors.KnownError as error:
            self._end(node, error)
            return None
        node.name = name_of(code.text)
        self.report.say("photo", f"{source.name}: network token {node.name}")
        self._warn_of(token, source.name, node.name)
        return code.text, token

    def _warn_of(self, token: NetworkToken, source: str, name: str) -> None:
        if token.rotates:
            self.report.warn(
                f"{source}: this code holds the long-lived token of a mesh network, not one of a"
                " pairing: whoever has the photo is a member of that network. Give the network a"
                " new token (kairos-fleet token new --kairos)."
            )
        if token.native is not None:
            self.report.warn(
                f"{source}: this machine speaks our own protocol too, which protects more:"
                " leave --kairos out"
            )
        if at := self.notes.earlier(name):
            self.report.warn(f"{source}: the machine with this code was sent a config at {at}")

    async def _one(
        self, node: KairosNode, text: str, token: NetworkToken, limit: trio.CapacityLimiter
    ) -> None:
        """From the token to the verdict; never raises a known error."""
        first = self._nodes.setdefault(node.name, node)
        if first is not node:
            await first.done.wait()
            assert first.verdict is not None
            self._tell(node, _again(first.verdict, node.source.name))
            return
        try:
            async with limit:
                await self._send(node, token)
        except errors.KnownError as error:
            await self._conclude(node, error)
        except ExceptionGroup as group:  # a network may group what passes it
            known, others = group.split(errors.KnownError)
            if known is None or others is not None:
                raise
            await self._conclude(node, errors.first_known(known))
        finally:
            node.done.set()

    async def _send(self, node: KairosNode, token: NetworkToken) -> None:
        if self.dry_run:
            self.report.say("dry-run", f"{node.source.name}: nothing is sent")
            self._end(node, None)
            return
        await trio.to_thread.run_sync(self.warm.wait)
        device = self.order.payload.device
        await trio.to_thread.run_sync(partial(self.notes.sending, node.name, device))
        node.offered = True
        sent = await session.send(
            self.network,
            token,
            self.order.payload,
            wait_seconds=self.timeout,
            ack_seconds=ACK_SECONDS,
            clock=self.clock,
            on_event=partial(self._heard, node),
        )
        node.released, node.peer = True, sent.receiver
        error = None if sent.acknowledged else errors.KairosNotAcknowledged()
        await self._conclude(node, error)

    def _heard(self, node: KairosNode, progress: Progress) -> None:
        """Once any of the config has left, an end without an answer means: it may be there."""
        if progress is Progress.SENT:
            node.released = True
        if text := PROGRESS.get(progress):
            self.report.say(progress.value, f"{node.source.name}: {text}")

    async def _conclude(self, node: KairosNode, error: errors.KnownError | None) -> None:
        """Note how it ended, whatever the end, and tell it."""
        if node.offered:
            await self._keep(node, error)
        self._end(node, error)

    async def _keep(self, node: KairosNode, error: errors.KnownError | None) -> None:
        """Notes that cannot be written stop nothing: the config has left by now, or never will."""
        outcome = error.slug if error else "acknowledged"
        event = None
        if node.released:
            text = f"{node.source.name}: {KEPT.get(outcome, KEPT[''])}"
            text += f" (Kairos peer {node.peer})" if node.peer else ""
            code = error.slug if error else ""
            event = self.notes.event(node.name, text, code, has_it=_has_it(error))
        try:
            await trio.to_thread.run_sync(self.notes.ended, node.name, event, outcome, node.peer)
        except errors.KnownError as wrong:
            self.report.warn(f"not in the journal: {wrong.sentence}")
        if event is not None and _has_it(error):
            self.report.event(event, now(), "")

    def _end(self, node: KairosNode, error: errors.KnownError | None) -> None:
        if error is not None and not error.element and len(self.sources) > 1:
            error.element = node.source.name  # of many, side by side, this one
        rehearsed = self.dry_run and error is None
        state = State.APPROVED.value if _has_it(error) else ""
        verdict = Verdict(
            source=node.source.name,
            exit=int(error.exit_code) if error else int(ExitCode.DONE),
            state=State.WAITING.value if rehearsed else state,
            node=node.name,
            peer=node.peer,
            dry_run=rehearsed,
            released=node.released,
            security=SECURITY,
            error=error,
        )
        self._tell(node, verdict)

    def _tell(self, node: KairosNode, verdict: Verdict) -> None:
        node.verdict = verdict
        self.report.verdict(verdict)


def network_token(code: PhotoToken, source: str, *, loopback: bool) -> NetworkToken:
    """The network token of a code. Raises errors.NativeCode, errors.NetworkTokenInvalid."""
    if code.kind is not Kind.KAIROS:
        if code.text.startswith(NATIVE_PREFIX):
            raise errors.NativeCode(element=source)
        raise errors.NetworkTokenInvalid(element=source)  # piped, and half of it, say
    try:
        return nettoken.parse(code.text, loopback=loopback)
    except errors.NetworkTokenInvalid as wrong:
        wrong.element = source
        raise


def _again(verdict: Verdict, source: str) -> Verdict:
    """The verdict of another photo of the same screen."""
    return replace(verdict, source=source, already=True, duplicate_of=verdict.source)


def _has_it(error: errors.KnownError | None) -> bool:
    """The machine has the config for certain."""
    return error is None or isinstance(error, errors.KairosNotAcknowledged)


def _interrupted(released: bool) -> errors.Interrupted:
    if released:
        return errors.Interrupted("The config had been sent: the machine may go on by itself.")
    return errors.Interrupted("Nothing was sent to this machine.")
