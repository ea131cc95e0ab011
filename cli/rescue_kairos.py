"""`kairos-fleet rescue --kairos`: the shell that a stock Kairos machine in recovery mode offers.

Its code holds everything: the network, the service in it, the password of its ssh. So nothing here
is proved but that the other end read the same code; the session itself is recorded and filtered as
ours are.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import trio

from cli.records import Records
from cli.rescue_front import TerminalFront
from cli.rescue_record import SessionRecord
from cli.rescue_ssh import SshSession
from cli.sources import Source
from pairing import errors
from pairing.edgevpn import mesh, recovery
from pairing.edgevpn.gossip import KairosNetwork, RawStream
from pairing.edgevpn.recovery import RecoveryCode
from pairing.edgevpn.visit import Visit, visiting
from pairing.errors import ExitCode
from pairing.protocol.terms import Identity
from pairing.qr.read import PhotoReader
from pairing.report import Lines

WARNING = (
    "whoever has this photo gets a root shell on the machine, until it is started again: the code "
    "holds the network, the service and the password, and tries are not limited"
)
DEFAULT_MINUTES = 30
CLOSE_SECONDS = 2.0
OPEN_ATTEMPTS, OPEN_PAUSE = 5, 2.0
"""The other end hangs up until it has read our name; its copy of the ledger may be a little old."""


@dataclass(slots=True, kw_only=True)
class KairosRescue:
    """One session. `minutes` at most, `timeout` (seconds) for finding the machine."""

    source: Source
    identity: Identity
    network: KairosNetwork
    minutes: int = DEFAULT_MINUTES
    timeout: float = 120.0
    record: Path | None = None
    unfiltered: bool = False
    records: Records = field(default_factory=Records)
    talk: Lines = field(default_factory=lambda: Lines(sys.stderr, sys.stdout))
    unix: Callable[[], float] = time.time

    def all(self) -> int:
        """The whole run; returns the exit code. Raises errors.KnownError."""
        code = self.code()
        self.talk.warn(WARNING)
        status = self._ran(code)
        self.talk.say("rescue", f"ended (status {status})")
        return int(ExitCode.DONE)

    def code(self) -> RecoveryCode:
        """What the photo or the text says. Raises errors.PhotoError."""
        if self.source.photo is None:
            return recovery.parse(self.source.text.strip())
        with PhotoReader(any_text=True) as reader:
            seen = reader.read(self.source.photo, name=self.source.name)
        found = [text for text in seen.texts if recovery.looks_like(text)]
        if len(found) > 1:
            raise errors.SeveralTokens(f"({len(found)} different ones)", element=seen.photo)
        if not found and seen.texts:
            raise errors.RecoveryCodeInvalid(element=seen.photo)
        if not found:
            kind = errors.CodeUnreadable if seen.unreadable else errors.NoCodeFound
            raise kind(element=seen.photo)
        return recovery.parse(found[0])

    def _ran(self, code: RecoveryCode) -> int:
        try:
            return trio.run(self.repair, code)
        except* errors.KnownError as group:
            raise errors.first_known(group) from None
        except* KeyboardInterrupt:
            raise errors.Interrupted("The machine ends the session.") from None

    async def repair(self, code: RecoveryCode) -> int:
        """Find the machine, then a session. Returns the shell's exit status."""
        async with visiting(self.network, code.token, unix=self.unix) as visit:
            self.talk.say("network", "looking for the machine")
            peer = await self._offering(visit, code.service)
            stream = await self._open(visit, peer)
            self.talk.say("network", "connected")
            try:
                return await self._session(stream, code)
            finally:
                with trio.move_on_after(CLOSE_SECONDS, shield=True):
                    await stream.aclose()

    async def _offering(self, visit: Visit, service: str) -> str:
        """Who offers it; and we are written down as one who may use it."""
        try:
            peer = await visit.find(lambda s: mesh.offered_by(s, service), self.timeout)
        except errors.MeshHoldsNone:
            raise errors.RecoveryMissing from None
        guest = mesh.guest(visit.gossip.own_id, datetime.fromtimestamp(self.unix(), UTC))
        try:
            await visit.write(guest, self.timeout)
        except errors.MeshNotConfirmed:
            raise errors.RecoveryMissing("(it does not take us into its network)") from None
        return peer

    async def _open(self, visit: Visit, peer: str) -> RawStream:
        last: errors.KnownError = errors.RecoveryMissing()
        for _ in range(OPEN_ATTEMPTS):
            try:
                return await visit.gossip.open(peer, recovery.SERVICE_PROTOCOL)
            except errors.UnreachableError as error:
                last = error
            await trio.sleep(OPEN_PAUSE)
        raise last

    async def _session(self, stream: RawStream, code: RecoveryCode) -> int:
        digest = hashlib.sha256(code.token.crypto_secret).hexdigest()
        record = SessionRecord(self.identity, self.records, f"kairos-{digest[:8]}", self.record)
        front = TerminalFront(
            record_to=record.begin,
            say=self.talk.say,
            remember=lambda _known: None,
            unfiltered=self.unfiltered,
        )
        session = SshSession(front, code.password, self.minutes * 60, self.timeout)
        with record.noted(front):
            async with front.running():
                return await session.run(stream)
