"""An installation by whoever sits at the machine: no operator, so no lease and no report.

The recovery key goes into a file that this person names. It must outlive the machine's memory, so
it has to lie on a stick or another disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from node.execute import Outcome, execute
from node.journal import Journal
from node.plan.install import InstallOptions, plan_install
from node.recoverykey import RecoveryKey
from node.steps import EscrowKey, Plan
from node.system.install.doors import Doors
from node.system.install.handover import Handover
from node.system.install.table import handlers
from node.system.keyfile import IN_MEMORY, drop, filesystem, held
from pairing import errors
from pairing.config import (
    Document,
    dump,
    hash_passwords,
    load_file,
    node_values,
    render,
    require_valid,
)
from pairing.durable import flush_folder
from pairing.facts import Facts

Say = Callable[[str], None]
LOST_AT_RESTART = IN_MEMORY | {"overlay"}
"""File systems of the booted stick itself: what is written there is gone with the power."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A config filled in for this machine, and the plan that it gives."""

    config: bytes = field(repr=False)
    plan: Plan


def planned(config: Path, facts: Facts) -> Alone:
    """Check a config file against the machine.

    Raises errors.ConfigError, errors.ConfigNotForThisMachine, errors.DiskNotChosen.
    """
    return fitted(load_file(config), facts)


def fitted(document: Document, facts: Facts, device: str = "") -> Alone:
    """Fill a config in for this machine and plan it; `device`, if given, must be the disk meant.

    Raises errors.ConfigError, errors.ConfigNotForThisMachine, errors.DiskNotChosen.
    """
    require_valid(document)
    document = render(document, node_values(facts), {})
    require_valid(document, rendered=True)
    body = dump(hash_passwords(document))
    release = hashlib.sha256(body).hexdigest()
    plan = plan_install(facts, document, InstallOptions(device=device, release=release))
    return Alone(config=body, plan=plan)


def require_installable(facts: Facts, plan: Plan, key_file: Path | None, doors: Doors) -> None:
    """Raises errors.ImageMissing, or errors.UsageError if the recovery key would be lost."""
    if facts.image is None:
        raise errors.ImageMissing
    if plan.encryption == "none":
        return
    if key_file is None:
        raise errors.UsageError(
            "Without an operator nobody keeps the recovery key: say --recovery-key-to FILE."
        )
    if key_file.exists():
        raise errors.UsageError("It exists already.", element=str(key_file))
    folder = key_file.absolute().parent
    if not folder.is_dir():
        raise errors.UsageError("There is no such folder.", element=str(folder))
    if filesystem(doors.root, folder) in LOST_AT_RESTART:
        raise errors.UsageError("What lies there is lost at a restart.", element=str(folder))


def install(alone: Alone, *, key_file: Path | None, say: Say, doors: Doors) -> Outcome:
    """Carry the plan out, saying each step. Raises errors.KnownError."""
    key = held(doors.own, alone.plan.release) or RecoveryKey.new()
    table = handlers(doors, Handover(config=alone.config))
    if alone.plan.encryption != "none":
        doors.hold_key(alone.plan.release, key)

    last = ""

    def emit(step: str, of: str, done: int, total: int, text: str, /) -> None:
        nonlocal last
        line = f"{of} {text}" if done < total or not total else f"{of} done"
        if line != last:
            last = line
            say(line)

    async def run() -> Outcome:
        with Journal(doors.own / "alone.jsonl") as journal:
            return await execute(
                alone.plan,
                journal=journal,
                emit=emit,
                escrow=_kept_in(key_file),
                dry_run=False,
                handlers=table,
                key=key,
            )

    outcome = trio.run(run)
    drop(doors.own, alone.plan.release)
    return outcome


def _kept_in(path: Path | None) -> Callable[[EscrowKey, RecoveryKey], Awaitable[str]]:
    async def keep(step: EscrowKey, key: RecoveryKey) -> str:
        assert path is not None
        await trio.to_thread.run_sync(_write_key, path, key)
        return key.fingerprint

    return keep


def _write_key(path: Path, key: RecoveryKey) -> None:
    """The passphrase and nothing else, as `cryptsetup --key-file` wants it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        os.write(handle, key.passphrase)
        os.fsync(handle)
    finally:
        os.close(handle)
    flush_folder(path.absolute().parent)
