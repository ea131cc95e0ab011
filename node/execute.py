"""One loop that carries out a plan: run, journal, resume, rehearse (`dry_run`), report.

Each step is journalled when it begins and when it is done, so a run that was killed goes on where
it was. The recovery key is never stored: if it is lost while a step still needs it, the run starts
again with the escrow of a new key. Nothing is written to the disk before an acknowledgement of
the very key that is used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import trio

from node.journal import Journal
from node.recoverykey import RecoveryKey
from node.steps import EscrowKey, Plan, ProveKey, Step
from pairing import errors

TAIL_LINES = 20


class Emit(Protocol):
    """Reports a step: it began (`done` 0), advanced, or ended (`done` equals `total`)."""

    def __call__(self, step: str, of: str, done: int, total: int, text: str, /) -> None:
        """`of` is the step's number and the number of all ("3/9"); `text` is for people."""


Escrow = Callable[[EscrowKey, RecoveryKey], Awaitable[str]]
"""Seals and sends the key; returns once it is acknowledged, with a text for the journal that names
the acknowledgement (no secret). Given `EscrowKey.seconds`; after them it is cancelled."""


@dataclass(frozen=True, slots=True)
class ProvedVolume:
    """A volume that the recovery key opened: its name, LUKS UUID, hex SHA-256 of the key's slot."""

    name: str
    uuid: str
    slot: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run leaves: the volumes that complete the operator's escrow record.

    None after a dry run, which makes no volume, and without encryption.
    """

    volumes: Sequence[ProvedVolume] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """What a step's handler may use.

    `progress(done, total)` reports in the step's own unit; `log` keeps a line for the report of
    a failure (no secrets). `proved` hands over a volume that the key opened.
    """

    plan: Plan
    progress: Callable[[int, int], None]
    log: Callable[[str], None]
    proved: Callable[[ProvedVolume], None]
    key: RecoveryKey = field(repr=False)


Handler = Callable[[Any, Work], Awaitable[None]]
"""Carries out one type of step. Running it again after an interruption must be safe."""

NO_HANDLERS: Mapping[type[Step], Handler] = MappingProxyType({})


async def execute(
    plan: Plan,
    *,
    journal: Journal,
    emit: Emit,
    escrow: Escrow,
    dry_run: bool,
    handlers: Mapping[type[Step], Handler] = NO_HANDLERS,
    key: RecoveryKey | None = None,
) -> Outcome:
    """Run `plan` from where `journal` says that it stands.

    `dry_run` reports the same steps and escrows a real key, but calls handlers of steps that are
    `rehearsed` only. `key` is one that an earlier attempt escrowed; without it a new one is made
    and wiped at the end. Raises errors.StepFailed, or another errors.NodeError where a step knows
    one (`element` is the step; the detail ends with the tail of its log),
    errors.EscrowNotAcknowledged, errors.StepUnsupported, or the journal's errors.
    """
    if not dry_run:
        _refuse_unsupported(plan, handlers)
    held = RecoveryKey.new() if key is None else key
    try:
        return await _Run(plan, journal, emit, escrow, dry_run, handlers, held).all()
    finally:
        if key is None:
            held.wipe()


class _Run:
    """One call of `execute`."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        emit: Emit,
        escrow: Escrow,
        dry_run: bool,
        handlers: Mapping[type[Step], Handler],
        key: RecoveryKey,
    ) -> None:
        self._plan, self._journal, self._emit, self._escrow = plan, journal, emit, escrow
        self._dry_run, self._handlers, self._key = dry_run, handlers, key
        self._digest = plan.digest
        self._volumes: list[ProvedVolume] = []
        self._log: deque[str] = deque(maxlen=TAIL_LINES)

    async def all(self) -> Outcome:
        records = own_records(self._plan, self._journal, dry_run=self._dry_run)
        start = resume_at(self._plan, records, self._key.fingerprint)
        if start == len(self._plan.steps):
            return Outcome(_recorded_volumes(records))
        for index in range(start, len(self._plan.steps)):
            await self._step(index)
        return Outcome(tuple(self._volumes) or _recorded_volumes(records))

    async def _step(self, index: int) -> None:
        step, of = self._plan.steps[index], f"{index + 1}/{len(self._plan.steps)}"
        self._log.clear()
        self._note(index, "begun")
        self._emit(step.name, of, 0, 1, step.text)
        total = 1

        def progress(done: int, now_total: int) -> None:
            nonlocal total
            total = max(now_total, 1)
            # The end is said below, once, when it is journalled.
            if done < total:
                self._emit(step.name, of, done, total, step.text)

        try:
            noted = await self._carry_out(step, progress)
        except errors.KnownError as failure:
            self._note(index, "failed", code=failure.slug)
            raise
        self._note(index, "done", **noted)
        self._emit(step.name, of, total, total, step.text)

    async def _carry_out(self, step: Step, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Run the step; returns what its journal record is to hold."""
        if isinstance(step, EscrowKey):
            return await self._escrow_key(step)
        handler = self._handlers.get(type(step))
        if handler is not None and (step.rehearsed or not self._dry_run):
            work = Work(self._plan, progress, self._log.append, self._volumes.append, self._key)
            await self._call(step, handler, work)
        if isinstance(step, ProveKey):
            return {"volumes": [asdict(volume) for volume in self._volumes]}
        return {}

    async def _escrow_key(self, step: EscrowKey) -> dict[str, Any]:
        try:
            with trio.fail_after(step.seconds):
                receipt = await self._escrow(step, self._key)
        except trio.TooSlowError:
            waited = f"It was waited for {step.seconds / 60:g} minutes."
            raise errors.EscrowNotAcknowledged(waited) from None
        return {"key": self._key.fingerprint, "receipt": receipt}

    async def _call(self, step: Step, handler: Handler, work: Work) -> None:
        try:
            with trio.fail_after(step.seconds):
                await handler(step, work)
        except trio.TooSlowError:
            reason = f"It did not end within {step.seconds / 60:g} minutes."
        except errors.NodeError as wrong:
            where = f"{wrong.element}: " if wrong.element else ""
            told = f"{where}{wrong.detail} (step {step.name})".strip()
            raise type(wrong)("\n".join((told, *self._log)), element=step.name) from None
        except errors.KnownError as wrong:
            reason = str(wrong)
        except OSError as wrong:
            reason = f"{wrong.strerror or wrong}."
        else:
            return
        raise errors.StepFailed("\n".join((reason, *self._log)), element=step.name) from None

    def _note(self, index: int, what: str, **more: Any) -> None:
        self._journal.append(
            {
                "plan": self._digest,
                "dry_run": self._dry_run,
                "index": index,
                "step": self._plan.steps[index].name,
                "what": what,
                **more,
            }
        )


def own_records(plan: Plan, journal: Journal, *, dry_run: bool) -> Sequence[Mapping[str, Any]]:
    """What the journal holds of this very plan, rehearsed or not."""
    mine = {"plan": plan.digest, "dry_run": dry_run}
    return [
        record for record in journal.records if {name: record.get(name) for name in mine} == mine
    ]


def resume_at(plan: Plan, records: Sequence[Mapping[str, Any]], key: str) -> int:
    """The index of the step to go on with, from this plan's own journal records.

    A step that was interrupted is run again (from its `again_from`); one that needs the recovery
    key is only run if `key` is the fingerprint of the one that was last acknowledged.
    """
    names = [step.name for step in plan.steps]
    at, acknowledged = 0, ""
    for record in records:
        at = int(record["index"])
        if record["what"] == "done":
            at += 1
            acknowledged = str(record.get("key", acknowledged))
        elif plan.steps[at].again_from in names:
            at = names.index(plan.steps[at].again_from)
    key_needed = any(step.needs_key for step in plan.steps[at:])
    if key_needed and key != acknowledged and EscrowKey.name in names:
        at = min(at, names.index(EscrowKey.name))
    return at


def _refuse_unsupported(plan: Plan, handlers: Mapping[type[Step], Handler]) -> None:
    for step in plan.steps:
        if type(step) not in handlers and not isinstance(step, EscrowKey):
            raise errors.StepUnsupported(element=step.name)


def _recorded_volumes(records: Sequence[Mapping[str, Any]]) -> tuple[ProvedVolume, ...]:
    for record in reversed(records):
        if "volumes" in record:
            return tuple(ProvedVolume(**volume) for volume in record["volumes"])
    return ()
