"""Changes the keys of an installed machine's volumes, as its operator ordered.

Whatever stops it, one recovery key that the operator holds opens both volumes:

    the new key is acknowledged -> added to both -> proved on both -> kept on the boot partition
    -> the number of an approval made from it -> every other recovery key is removed

A run that was stopped leaves a key slot too many; the next one removes it.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from node.execute import ProvedVolume
from node.plan.encrypt import LITERAL_PCRS, SIGNED_PCRS
from node.plan.repart import tpm_options
from node.recoverykey import RecoveryKey
from node.system import binding
from node.system.booted import booted
from node.system.install.bind import enroll
from node.system.install.check_machine import try_tpm
from node.system.install.doors import Doors
from node.system.install.keep_config import INSTALLED
from node.system.install.prove_key import metadata, opening_slot, proved_volume
from node.system.keyfile import drop
from node.system.keyslots import add_key, remove_all_but
from node.system.medium import PUBLIC_KEY
from node.system.protected import VOLUMES
from node.system.reading import read
from pairing import approval, errors, keys
from pairing.durable import write_durably
from pairing.protocol import handshake
from pairing.protocol.effects import CarryOut
from pairing.protocol.frames import canonical
from pairing.protocol.messages import EscrowRecord, SealedKey, Volume, VolumeProof
from pairing.protocol.requests import Task
from pairing.serving import Reporter

LOG = logging.getLogger("kairos.node")
SECONDS = 120.0
"""Argon2 takes its time on a small machine."""
RECORD = "boot/kairos/escrow.json"
HOW = f"oem/{INSTALLED}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose machine it is: what goes into the record of a new key."""

    node: bytes
    lease: bytes
    serial: str
    ek_hash: str


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One order, carried out on the volumes of the disk that this system runs from."""

    doors: Doors
    owner: Owner

    async def carry_out(self, order: CarryOut, reporter: Reporter) -> None:
        """Raises errors.UnlockFailed if the order's key does not open them, errors.NodeError."""
        devices = await self._volumes()
        with self._file("present", _key(order.recovery)) as present:
            await self._must_open(devices, present)
            try:
                if order.task is Task.ROTATE:
                    await self._rotate(devices, present, order.escrow, reporter)
                else:
                    await self._reenroll(devices, present, _key(order.recovery))
            except (errors.MissingError, errors.KeyNotProved, OSError) as wrong:
                raise errors.KeysUnchanged(str(wrong)) from None

    # --- a new recovery key -------------------------------------------------------------------

    async def _rotate(
        self, devices: Sequence[Path], present: Path, to: Sequence[bytes], reporter: Reporter
    ) -> None:
        if not to:
            raise errors.NoSuchKeys("The order names nobody who would hold the new key.")
        by_approval = self._how().get("unlock") == "approval"
        if by_approval:
            await self._require_tpm()
        new = RecoveryKey.new()
        record = self._sealed(new, to)
        await reporter.escrow(record)
        with trio.CancelScope(shield=True), self._file("new", new) as file:
            for device in devices:
                await add_key(self.doors, None, device, present, file)
            slots = await self._open(devices, file)
            self._keep_record(record)
            if by_approval:
                await self._enroll(devices, file, approval.pin(new.passphrase))
            proved = [
                await proved_volume(self.doors, None, *found)
                for found in zip(devices, slots, VOLUMES, strict=True)
            ]
            reporter.proved(self._proof(record, proved))
            for device, slot in zip(devices, slots, strict=True):
                await remove_all_but(self.doors, None, device, slot, new.passphrase)
        new.wipe()
        LOG.info("the volumes have a new recovery key")

    def _keep_record(self, record: EscrowRecord) -> None:
        """For whoever holds the disk and the escrow key, but not the operator's records."""
        path = self.doors.at(RECORD)
        try:
            write_durably(path, canonical(record.to_json()))
        except OSError as wrong:
            LOG.warning("%s: %s", path, wrong.strerror)

    def _sealed(self, key: RecoveryKey, to: Sequence[bytes]) -> EscrowRecord:
        owner = self.owner
        context = handshake.escrow_context(owner.node, owner.lease)
        sealed = tuple(
            SealedKey(recipient=one, sealed=keys.seal(key.passphrase, one, context)) for one in to
        )
        return EscrowRecord(node=owner.node, lease=owner.lease, serial=owner.serial, keys=sealed)

    def _proof(self, record: EscrowRecord, proved: Sequence[ProvedVolume]) -> VolumeProof:
        volumes = tuple(
            Volume(name=volume.name, uuid=volume.uuid, slot=bytes.fromhex(volume.slot))
            for volume in proved
        )
        digest = handshake.record_digest(record)
        return VolumeProof(
            digest=digest, volumes=volumes, ek_hash=self.owner.ek_hash, dry_run=False
        )

    # --- the TPM ------------------------------------------------------------------------------

    async def _reenroll(self, devices: Sequence[Path], present: Path, key: RecoveryKey) -> None:
        how = self._how()
        if how.get("encryption") not in ("tpm2", "tpm2+tang"):
            raise errors.NoSuchKeys("No TPM opens them.")
        tang = how["encryption"] == "tpm2+tang"
        await self._require_tpm(seals=not tang)
        with trio.CancelScope(shield=True):
            if tang:
                for device in devices:
                    await binding.bind_with_tang(self.doors, device, present, how.get("tang"))
            else:
                by_approval = how.get("unlock") == "approval"
                pin = approval.pin(key.passphrase) if by_approval else b""
                await self._enroll(devices, present, pin)
        LOG.info("the volumes are bound to the TPM as it is now")

    async def _require_tpm(self, *, seals: bool = True) -> None:
        """Before anything is changed. Raises errors.TpmMissing, errors.StartNotPure,
        errors.TpmUnusable."""
        await trio.to_thread.run_sync(binding.require_pure, self.doors.root)
        if seals:
            await try_tpm(self.doors, None, LITERAL_PCRS)

    async def _enroll(self, devices: Sequence[Path], key: Path, pin: bytes) -> None:
        options = tpm_options(LITERAL_PCRS, SIGNED_PCRS, PUBLIC_KEY)
        for device in devices:
            if not pin:
                # systemd-cryptenroll looks at registers only: with a slot of the TPM that was
                # here before, it would say that these are enrolled already, and do nothing.
                argv = ("systemd-cryptenroll", "--wipe-slot=tpm2", device)
                await self.doors.tool(argv, None, seconds=SECONDS)
            await enroll(self.doors, None, device, key, options, pin)
            said = await metadata(self.doors, None, device)
            await trio.to_thread.run_sync(
                binding.prove, said.encode(), bool(pin), self.doors.root, self.doors.run
            )

    # --- the volumes --------------------------------------------------------------------------

    async def _volumes(self) -> list[Path]:
        """The devices of both. Raises errors.NoSuchKeys unless both are encrypted."""
        started = booted(self.doors.root)
        if started is None:
            raise errors.NoSuchKeys("It does not run from a disk of ours.")
        devices = [self.doors.partition(f"/dev/{started.disk}", one).device for one in VOLUMES]
        for device in devices:
            asked = ("cryptsetup", "isLuks", device)
            if (await self.doors.tool(asked, None, seconds=SECONDS, check=False)).status:
                raise errors.NoSuchKeys("They are not encrypted.")
        return devices

    async def _must_open(self, devices: Sequence[Path], key: Path) -> None:
        try:
            await self._open(devices, key)
        except errors.KeyNotProved as wrong:
            raise errors.UnlockFailed(element=wrong.element) from None

    async def _open(self, devices: Sequence[Path], key: Path) -> list[str]:
        """The slots that the key opens, of both. Raises errors.KeyNotProved."""
        return [
            await opening_slot(self.doors, None, device, key, volume)
            for device, volume in zip(devices, VOLUMES, strict=True)
        ]

    def _how(self) -> dict[str, object]:
        """How it was installed, from the volume that only it opens."""
        try:
            body = json.loads(read(self.doors.at(HOW)))
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise errors.NoSuchKeys(f"It is not known how they open: {INSTALLED} cannot be read.")
        return body

    @contextlib.contextmanager
    def _file(self, name: str, key: RecoveryKey) -> Iterator[Path]:
        """The key as a file in memory, for as long as programs need it.

        Raises errors.KeyNotInMemory.
        """
        try:
            yield self.doors.hold_key(name, key)
        finally:
            drop(self.doors.own, name)


def _key(text: bytes) -> RecoveryKey:
    try:
        return RecoveryKey.from_passphrase(text)
    except ValueError:
        raise errors.UnlockFailed("The order holds no recovery key.") from None
