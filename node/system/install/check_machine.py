"""check-machine: try what the plan needs of this machine before anything is written."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence

from node.execute import Handler, Work
from node.plan.locked import BOOT_WORDS
from node.plan.tpmpolicy import ZERO
from node.steps import BindApproval, CheckMachine, KeepData, MakeVolumes
from node.system.install.boot_entries import listed
from node.system.install.doors import Doors
from node.system.medium import PUBLIC_KEY
from node.system.reading import read
from node.system.tpmview import ASK_PROPERTIES, locked_out, register
from pairing import errors, process

PROGRAMS = ("systemd-repart", "mkfs.ext4", "mkfs.vfat", "udevadm", "mount", "umount")
FOR_VOLUMES = ("cryptsetup",)
FOR_TPM = ("systemd-cryptenroll", "systemd-creds", "tpm2_pcrextend")
FOR_TANG = ("clevis",)
SECONDS, CLEVIS_SECONDS = 60.0, 120.0
EFIVARS = "/sys/firmware/efi/efivars"


def check_machine(doors: Doors) -> Handler:
    """The handler of `CheckMachine`."""

    async def handler(step: CheckMachine, work: Work) -> None:
        _programs(doors, step, work)
        if step.tpm:
            _pure(doors)
            await _tpm(doors, work)
        for server in step.tang:
            await _tang(doors, server, work)
        if step.boot_entries:
            await _boot_entries(doors, work)

    return handler


def _programs(doors: Doors, step: CheckMachine, work: Work) -> None:
    """Raises errors.CommandMissing naming the first that is not there.

    They are looked up, not started: the image is whole (`check-image`), and a start of each costs a
    small machine a second in all.
    """
    wanted = [*PROGRAMS]
    wanted += FOR_VOLUMES if work.plan.encryption != "none" else ()
    wanted += FOR_TPM if step.tpm else ()
    wanted += FOR_TANG if step.tang else ()
    for program in wanted:
        if not any(doors.at(f"{folder}/{program}").exists() for folder in process.PATH.split(":")):
            raise errors.CommandMissing(element=program)


async def try_tpm(doors: Doors, work: Work | None, pcrs: Sequence[int]) -> None:
    """Seal something to the TPM and read it back: by the same library that seals the key.

    Nothing stays in the TPM but its storage key, which systemd makes at every boot anyway.
    Raises errors.TpmUnusable.
    """
    secret = secrets.token_bytes(32)
    options = ("--with-key=tpm2", f"--tpm2-pcrs={'+'.join(map(str, pcrs))}", "--name=check")
    seal = ("systemd-creds", *options, "encrypt", "-", "-")
    unseal = ("systemd-creds", "--name=check", "decrypt", "-", "-")
    try:
        sealed = await doors.tool(seal, work, seconds=SECONDS, stdin=secret)
        opened = await doors.tool(unseal, work, seconds=SECONDS, stdin=sealed.stdout)
    except errors.MissingError as wrong:
        raise errors.TpmUnusable(str(wrong)) from None
    if opened.stdout != secret:
        raise errors.TpmUnusable("What it unsealed is not what was sealed.")


def _pure(doors: Doors) -> None:
    """The volumes are sealed to what this register holds now, and the disk's own start has it
    empty: sealed to more, it would never open. Raises errors.InstallStartNotPure."""
    if register(doors.root, BOOT_WORDS) != ZERO:
        raise errors.InstallStartNotPure


async def _tpm(doors: Doors, work: Work) -> None:
    """Raises errors.TpmUnusable, errors.PolicyKeyMissing."""
    sealing = [step for step in work.plan.steps if isinstance(step, (MakeVolumes, KeepData))]
    await try_tpm(doors, work, sealing[0].pcrs if sealing else ())
    approvals = [step for step in work.plan.steps if isinstance(step, BindApproval)]
    if any(step.signed_pcrs for step in (*sealing, *approvals)) and not read(doors.at(PUBLIC_KEY)):
        raise errors.PolicyKeyMissing(element=str(PUBLIC_KEY))
    if approvals:
        await _not_locked_out(doors, work)


async def _not_locked_out(doors: Doors, work: Work) -> None:
    """Raises errors.TpmUnusable."""
    if locked_out((await doors.tool(ASK_PROPERTIES, work, seconds=SECONDS)).text()):
        raise errors.TpmUnusable("It is locked out after too many wrong tries.")


async def _tang(doors: Doors, server: str, work: Work) -> None:
    """Encrypt something to the server and have it decrypted. Raises errors.TangUnusable."""
    secret = secrets.token_hex(16).encode()
    seal = ("clevis", "encrypt", "tang", json.dumps({"url": server}), "-y")
    try:
        sealed = await doors.tool(seal, work, seconds=CLEVIS_SECONDS, stdin=secret)
        unseal = ("clevis", "decrypt")
        opened = await doors.tool(unseal, work, seconds=CLEVIS_SECONDS, stdin=sealed.stdout)
    except errors.MissingError as wrong:
        raise errors.TangUnusable(str(wrong), element=server) from None
    if opened.stdout != secret:
        raise errors.TangUnusable("It answers, but not with its key.", element=server)


async def _boot_entries(doors: Doors, work: Work) -> None:
    """Raises errors.BootEntriesRefused."""
    await listed(doors, work)
    for line in read(doors.at("/proc/self/mountinfo")).decode("utf-8", "replace").splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[4] == EFIVARS and "ro" in fields[5].split(","):
            raise errors.BootEntriesRefused("They are read-only.", element=EFIVARS)
