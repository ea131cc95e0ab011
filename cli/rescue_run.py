"""One run of `kairos-fleet rescue`: photo, token, network, session, record."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trio

from cli import folders
from cli.audit import Audit
from cli.pairing_run import Network, WarmUp, libp2p
from cli.records import Records
from cli.rescue_front import TerminalFront, window
from cli.sources import Source
from pairing import errors, keys, repairing
from pairing.asciicast import Asciicast
from pairing.errors import ExitCode
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.repair import Ended, RepairMachine, Wanted
from pairing.protocol.terms import Identity, KnownLease
from pairing.qr.read import PhotoReader
from pairing.report import Lines
from pairing.transport.base import Target
from pairing.transport.relay import find_relay


@dataclass(slots=True, kw_only=True)
class RescueRun:
    """`seconds`: of the session at most, 0 for what the node grants; `timeout` for finding it."""

    source: Source
    identity: Identity
    seconds: int = 0
    relays: tuple[str, ...] = ()
    timeout: float = 120.0
    record: Path | None = None
    unfiltered: bool = False
    loopback: bool = False
    network: Network = field(default_factory=libp2p)
    warm: WarmUp = field(default_factory=WarmUp)
    records: Records = field(default_factory=Records)
    talk: Lines = field(default_factory=lambda: Lines(sys.stderr, sys.stdout))

    def all(self) -> int:
        """The whole run; returns the exit code. Raises errors.KnownError."""
        self.warm.start()
        reader = PhotoReader()
        try:
            token = self.source.token(reader, loopback=self.loopback)
        finally:
            reader.close()
        self.talk.say("photo", f"{self.source.name}: code {token.name}")
        self.warm.wait()
        ended = trio.run(self.repair, token)
        self.talk.say("rescue", f"ended; the shell's exit status was {ended.status}")
        return int(ExitCode.DONE)

    async def repair(self, token: Token) -> Ended:
        """One session. Raises errors.KnownError."""
        front = self.front(token)
        try:
            async with self.network() as dialer:
                machine, target = self.machine(token), self._target(token)
                with self._noted(token, front):
                    async with front.running():
                        return await repairing.repair(
                            machine, dialer, target, front, find=self.timeout
                        )
        except* errors.KnownError as group:
            raise _first(group) from None
        except* KeyboardInterrupt:
            raise errors.Interrupted("The node ends the session.") from None

    def front(self, token: Token) -> TerminalFront:
        """The operator's terminal."""
        return TerminalFront(
            record_to=lambda: self._record(token),
            say=self.talk.say,
            remember=lambda known: self._remember(token, known),
            unfiltered=self.unfiltered,
        )

    def machine(self, token: Token) -> RepairMachine:
        """The session's state machine: resumes the lease that an earlier run got."""
        stored = self.records.lease(token.name)
        columns, rows = window()
        return RepairMachine(
            key=token.key,
            subject=stored.known.lease if stored else token.id,
            secret=stored.known.secret if stored else token.secret,
            lease=stored.known.lease if stored else b"",
            identity=self.identity,
            wanted=Wanted(
                columns=columns,
                rows=rows,
                kind=os.environ.get("TERM", "xterm")[:32],
                seconds=self.seconds,
                time=int(time.time()),
            ),
            random=secrets.token_bytes,
        )

    def _target(self, token: Token) -> Target:
        named = find_relay(token.relay, self.relays) if token.relay else None
        if token.relay and named is None:
            self.talk.warn("the machine waits at a relay that you did not name (--relay)")
        return Target(
            key=token.key,
            label=handshake.label(token.secret, token.key),
            addresses=token.addresses,
            relays=tuple(dict.fromkeys((named, *self.relays))) if named else self.relays,
        )

    def _remember(self, token: Token, known: KnownLease) -> None:
        self.records.keep_lease(token.name, known, released=False)

    @contextlib.contextmanager
    def _noted(self, token: Token, front: TerminalFront) -> Iterator[None]:
        """The end of a session that began, with the record's digest, in the audit log."""
        how = "cut off"
        try:
            yield
            how = "ended"
        finally:
            if front.record is not None:
                digest = hashlib.sha256(front.record.path.read_bytes()).hexdigest()
                path = str(front.record.path)
                self._audit("rescue-ended", token, how=how, record=path, sha256=digest)

    def _audit(self, action: str, token: Token, **about: str) -> None:
        log = Audit(self.records.folder, self.identity.key)
        log.note(action, keys.fingerprint(token.key), **about)

    def _record(self, token: Token) -> Asciicast:
        columns, rows = window()
        name = f"{keys.fingerprint(token.key)}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        path = self.record or self.records.folder / "rescue" / f"{name}.cast"
        try:
            if self.record is None:
                folders.make_private(path.parent)
            self._audit("rescue-opened", token, record=str(path))
            return Asciicast(
                path,
                columns=columns,
                rows=rows,
                began=int(time.time()),
                now=trio.current_time(),
            )
        except OSError as wrong:
            raise errors.StoreUnwritable(wrong.strerror or "", element=str(path)) from None


def _first(group: BaseExceptionGroup[errors.KnownError]) -> errors.KnownError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
