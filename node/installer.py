"""Turns a released config into a plan and carries it out. Loaded when a config comes, not before:
the code has to be on the screen first.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from node.execute import Emit, Handler, Outcome, execute, own_records, resume_at
from node.journal import Journal
from node.plan.install import InstallOptions, plan_install
from node.plan.protection import protection
from node.providers.found import require_programs
from node.recoverykey import RecoveryKey
from node.steps import EscrowKey, KeepConfig, Plan, Step, WriteDisk
from node.system.install.doors import Doors
from node.system.install.handover import Handover
from node.system.install.keep_config import oem_folder
from node.system.keyfile import drop, held
from node.system.protected import VOLUMES, locks
from pairing import errors, keys
from pairing.config.load import load
from pairing.config.validate import require_valid
from pairing.durable import write_durably
from pairing.facts import Facts
from pairing.protection import Protection
from pairing.protocol import handshake
from pairing.protocol.frames import canonical
from pairing.protocol.messages import EscrowRecord, Manifest, SealedKey, Volume, VolumeProof
from pairing.serving import Reporter

NO_CONFIG = Handover(config=b"")


@dataclass(slots=True)
class Installer:
    """What a boot knows of its installation: the plan, and the recovery key over all attempts.

    `state` is the journal's folder. `handlers` makes the table of steps for what is handed over;
    `handover` is what the conversation adds to it (`config` is filled in here).
    """

    facts: Facts
    state: Path
    dry_run: bool
    handlers: Callable[[Handover], Mapping[type[Step], Handler]]
    handover: Handover = NO_CONFIG
    doors: Doors = field(default_factory=Doors)
    plan: Plan | None = None
    protection: Protection | None = None
    """What was found on the disk at the end."""
    _config: bytes = field(default=b"", repr=False)
    _recovery: RecoveryKey = field(default_factory=RecoveryKey.new)

    def make_plan(self, manifest: Manifest, config: bytes) -> Plan:
        """The plan for this config on this machine, by the same rules as the operator's.

        Raises errors.ConfigError, errors.ConfigNotForThisMachine, errors.DiskNotChosen,
        errors.ImageMissing, errors.JoinProgramMissing.
        """
        document = load(config, "config")
        require_valid(document, rendered=True)
        if self.facts.image is None and not self.dry_run:
            raise errors.ImageMissing
        if not self.dry_run:
            require_programs(document, self.doors.root)
        recipients = tuple(keys.fingerprint(key) for key in manifest.escrow)
        options = InstallOptions(
            device=manifest.device,
            recipients=recipients,
            release=(manifest.lease + manifest.digest).hex(),
        )
        made = plan_install(self.facts, document, options)
        self._take_key(made)
        self.plan, self._config = made, config
        return made

    def _take_key(self, plan: Plan) -> None:
        """One key for each release: what one operator holds is never used for another's lease."""
        if self.plan is not None and self.plan.release == plan.release:
            return
        self._recovery = RecoveryKey.new()
        if not self.dry_run:
            self._recovery = held(self.doors.own, plan.release) or self._recovery

    async def carry_out(self, manifest: Manifest, emit: Emit, reporter: Reporter) -> None:
        """Run the plan from where the journal says it stands. Raises errors.KnownError."""
        assert self.plan is not None
        encrypted = self.plan.encryption != "none"
        if encrypted and not self.dry_run:
            self.doors.hold_key(self.plan.release, self._recovery)
        handover = replace(self.handover, config=self._config, escrow=self._kept_record)
        with Journal(self.state / "journal.jsonl") as journal:
            self._keep_again(journal, handover)
            outcome = await execute(
                self.plan,
                journal=journal,
                emit=emit,
                escrow=self._escrow(manifest, reporter),
                dry_run=self.dry_run,
                handlers=self.handlers(handover),
                key=self._recovery,
            )
        if encrypted:
            reporter.proved(self._proof(outcome))
        if not self.dry_run:
            self.protection = await trio.to_thread.run_sync(self._protected, manifest, outcome)

    def _keep_again(self, journal: Journal, handover: Handover) -> None:
        """An earlier attempt got past `keep-config`: its volume is open, the lease goes there."""
        assert self.plan is not None
        records = own_records(self.plan, journal, dry_run=self.dry_run)
        at = resume_at(self.plan, records, self._recovery.fingerprint)
        past = any(isinstance(step, KeepConfig) for step in self.plan.steps[:at])
        if past and not self.dry_run:
            handover.keep(oem_folder(self.doors))

    def _protected(self, manifest: Manifest, outcome: Outcome) -> Protection:
        """What is on the disk now, whatever was asked for. Raises errors.ProtectionMissing."""
        assert self.plan is not None
        disk = next(step.disk for step in self.plan.steps if isinstance(step, WriteDisk))
        found = protection(
            locks(disk, self.doors.root, self.doors.run),
            mode=self.plan.encryption,
            recovery={volume.name for volume in outcome.volumes} >= set(VOLUMES),
            recipients=len(manifest.escrow),
            secure_boot=self.facts.secure_boot,
        )
        if found.lacks:
            raise errors.ProtectionMissing(f"It lacks {', '.join(found.lacks)}.")
        return found

    def forget(self) -> None:
        """All is written and told: nothing of the key stays in memory."""
        if self.plan is not None and not self.dry_run:
            drop(self.doors.own, self.plan.release)
        self._recovery.wipe()

    # --- the operator's copy of the key -------------------------------------------------------

    def _escrow(
        self, manifest: Manifest, reporter: Reporter
    ) -> Callable[[EscrowKey, RecoveryKey], Awaitable[str]]:
        async def escrow(step: EscrowKey, key: RecoveryKey) -> str:
            record = self._sealed(manifest, key)
            await reporter.escrow(record)
            write_durably(self._record_file, canonical(record.to_json()))
            return handshake.record_digest(record).hex()

        return escrow

    def _sealed(self, manifest: Manifest, key: RecoveryKey) -> EscrowRecord:
        context = handshake.escrow_context(manifest.node, manifest.lease)
        sealed = tuple(
            SealedKey(recipient=to, sealed=keys.seal(key.passphrase, to, context))
            for to in manifest.escrow
        )
        return EscrowRecord(
            node=manifest.node, lease=manifest.lease, serial=self.facts.serial, keys=sealed
        )

    @property
    def _record_file(self) -> Path:
        """The record that the operator acknowledged, sealed: for the ESP, and after a restart."""
        return self.state / "escrow.json"

    def _kept_record(self) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            return self._record_file.read_bytes()
        return b""

    def _proof(self, outcome: Outcome) -> VolumeProof:
        volumes = tuple(
            Volume(name=volume.name, uuid=volume.uuid, slot=bytes.fromhex(volume.slot))
            for volume in outcome.volumes
        )
        record = EscrowRecord.from_json(json.loads(self._kept_record()))
        return VolumeProof(
            digest=handshake.record_digest(record),
            volumes=volumes,
            ek_hash=self.facts.tpm.ek_hash if self.facts.tpm else "",
            dry_run=self.dry_run,
        )
