"""Turns a released config into a plan and carries it out. Loaded when a config comes, not before:
the code has to be on the screen first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from node.execute import Emit, Handler, Outcome, execute
from node.journal import Journal
from node.plan.install import InstallOptions, plan_install
from node.recoverykey import RecoveryKey
from node.steps import EscrowKey, Plan, Step
from pairing import keys
from pairing.config.load import load
from pairing.config.validate import require_valid
from pairing.facts import Facts
from pairing.protocol import handshake
from pairing.protocol.messages import EscrowRecord, Manifest, SealedKey, Volume, VolumeProof
from pairing.serving import Reporter


@dataclass(slots=True)
class Installer:
    """What a boot knows of its installation: the plan, and the recovery key over all attempts.

    `state` is the journal's folder. The key is in memory only.
    """

    facts: Facts
    state: Path
    dry_run: bool
    handlers: Mapping[type[Step], Handler]
    plan: Plan | None = None
    _recovery: RecoveryKey = field(default_factory=RecoveryKey.new)

    def make_plan(self, manifest: Manifest, config: bytes) -> Plan:
        """The plan for this config on this machine, by the same rules as the operator's.

        Raises errors.ConfigError, errors.ConfigNotForThisMachine, errors.DiskNotChosen.
        """
        document = load(config, "config")
        require_valid(document, rendered=True)
        recipients = tuple(keys.fingerprint(key) for key in manifest.escrow)
        options = InstallOptions(
            device=manifest.device,
            recipients=recipients,
            release=(manifest.lease + manifest.digest).hex(),
        )
        self.plan = plan_install(self.facts, document, options)
        return self.plan

    async def carry_out(self, manifest: Manifest, emit: Emit, reporter: Reporter) -> None:
        """Run the plan from where the journal says it stands. Raises errors.KnownError."""
        assert self.plan is not None
        sent: list[EscrowRecord] = []
        with Journal(self.state / "journal.jsonl") as journal:
            outcome = await execute(
                self.plan,
                journal=journal,
                emit=emit,
                escrow=self._escrow(manifest, reporter, sent),
                dry_run=self.dry_run,
                handlers=self.handlers,
                key=self._recovery,
            )
        for record in sent:
            reporter.proved(self._proof(record, outcome))

    def _escrow(
        self, manifest: Manifest, reporter: Reporter, sent: list[EscrowRecord]
    ) -> Callable[[EscrowKey, RecoveryKey], Awaitable[str]]:
        async def escrow(step: EscrowKey, key: RecoveryKey) -> str:
            record = self._sealed(manifest, key)
            await reporter.escrow(record)
            sent[:] = [record]
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

    def _proof(self, record: EscrowRecord, outcome: Outcome) -> VolumeProof:
        volumes = tuple(
            Volume(name=volume.name, uuid=volume.uuid, slot=bytes.fromhex(volume.slot))
            for volume in outcome.volumes
        )
        return VolumeProof(
            digest=handshake.record_digest(record),
            volumes=volumes,
            ek_hash=self.facts.tpm.ek_hash if self.facts.tpm else "",
            dry_run=self.dry_run,
        )
