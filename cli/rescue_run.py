"""One run of `kairos-fleet rescue`: photo, token, network, session, record."""

from __future__ import annotations

import os
import secrets
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import trio

from cli.pairing_run import Network, WarmUp, libp2p
from cli.records import Records
from cli.rescue_front import TerminalFront, window
from cli.rescue_record import SessionRecord
from cli.rescue_way import Way, by_record, by_token
from cli.sources import Source
from pairing import errors, repairing
from pairing.errors import ExitCode
from pairing.protocol.repair import Ended, RepairMachine, Wanted
from pairing.protocol.terms import Identity
from pairing.qr.read import PhotoReader
from pairing.report import Lines


@dataclass(slots=True, kw_only=True)
class RescueRun:
    """`seconds`: of the session at most, 0 for what the node grants; `timeout` for finding it."""

    source: Source | str
    """Where its code is, or the fingerprint of a locked node."""
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
        way = self.way()
        if way.unnamed_relay:
            self.talk.warn("the machine waits at a relay that you did not name (--relay)")
        self.warm.wait()
        ended = trio.run(self.repair, way)
        self.talk.say("rescue", f"ended; the shell's exit status was {ended.status}")
        return int(ExitCode.DONE)

    def way(self) -> Way:
        """How the machine is found. Raises errors.PhotoError, errors.NoSuchSource."""
        if isinstance(self.source, str):
            return by_record(self.source, self.relays, self.records)
        reader = PhotoReader()
        try:
            token = self.source.token(reader, loopback=self.loopback)
        except errors.KairosCode:
            # One that waits for its config: there is nothing to repair, with --kairos neither.
            raise errors.RecoveryCodeInvalid(element=self.source.name) from None
        finally:
            reader.close()
        self.talk.say("photo", f"{self.source.name}: code {token.name}")
        return by_token(token, self.relays, self.records)

    async def repair(self, way: Way) -> Ended:
        """One session. Raises errors.KnownError."""
        record = SessionRecord(self.identity, self.records, way.node, self.record)
        front = self.front(way, record)
        machine, find = self.machine(way), self.timeout
        try:
            async with self.network() as dialer:
                with record.noted(front):
                    async with front.running():
                        return await repairing.repair(machine, dialer, way.target, front, find=find)
        except* errors.KnownError as group:
            raise errors.first_known(group) from None
        except* KeyboardInterrupt:
            raise errors.Interrupted("The node ends the session.") from None

    def front(self, way: Way, record: SessionRecord) -> TerminalFront:
        """The operator's terminal."""
        return TerminalFront(
            record_to=record.begin,
            say=self.talk.say,
            remember=lambda known: self.records.keep_lease(way.name, known, released=False),
            unfiltered=self.unfiltered,
        )

    def machine(self, way: Way) -> RepairMachine:
        """The session's state machine."""
        columns, rows = window()
        return RepairMachine(
            key=way.key,
            subject=way.subject,
            secret=way.secret,
            lease=way.lease,
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
