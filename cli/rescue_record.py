"""Where a repair session is recorded, and what the audit log says of it."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trio

from cli import folders
from cli.audit import Audit
from cli.records import Records
from cli.rescue_front import TerminalFront, window
from pairing import errors
from pairing.asciicast import Asciicast
from pairing.protocol.terms import Identity


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """`node` is what the machine is called in the audit log; `path` is where the operator wants it.

    Without `path` it lies in the data folder. Both methods raise errors.StoreUnwritable.
    """

    identity: Identity
    records: Records
    node: str
    path: Path | None = None

    def begin(self) -> Asciicast:
        """The record of a session that begins now, which the audit log notes first."""
        columns, rows = window()
        name = f"{self.node}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        path = self.path or self.records.folder / "rescue" / f"{name}.cast"
        try:
            if self.path is None:
                folders.make_private(path.parent)
            self._audit("rescue-opened", record=str(path))
            return Asciicast(
                path,
                columns=columns,
                rows=rows,
                began=int(time.time()),
                now=trio.current_time(),
            )
        except OSError as wrong:
            raise errors.StoreUnwritable(wrong.strerror or "", element=str(path)) from None

    @contextlib.contextmanager
    def noted(self, front: TerminalFront) -> Iterator[None]:
        """The end of a session that began, with the record's digest, in the audit log."""
        how = "cut off"
        try:
            yield
            how = "ended"
        finally:
            if front.record is not None:
                digest = hashlib.sha256(front.record.path.read_bytes()).hexdigest()
                path = str(front.record.path)
                self._audit("rescue-ended", how=how, record=path, sha256=digest)

    def _audit(self, action: str, **about: str) -> None:
        Audit(self.records.folder, self.identity.key).note(action, self.node, **about)
