"""bind-tang and bind-approval: further ways to open the volumes, beside the recovery key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node.execute import Handler, Work
from node.plan.repart import tpm_options
from node.steps import BindApproval, BindTang
from node.system.install.doors import Doors
from node.system.medium import PUBLIC_KEY
from pairing import approval

SECONDS, CLEVIS_SECONDS = 120.0, 300.0
"""Clevis is some thirty programs in a row for one volume: minutes on a slow machine."""
PIN_CREDENTIAL = "cryptenroll.new-tpm2-pin"
"""systemd-cryptenroll(1), CREDENTIALS."""


def bind_tang(doors: Doors) -> Handler:
    """The handler of `BindTang`. A binding of an interrupted run is replaced, not doubled."""

    async def handler(step: BindTang, work: Work) -> None:
        pin, config = clevis_pin(step)
        for number, volume in enumerate(step.volumes):
            device = doors.partition(step.disk, volume).device
            await bind(doors, work, device, doors.key_file(work), pin, config)
            work.progress(number + 1, len(step.volumes))

    return handler


async def bind(
    doors: Doors, work: Work | None, device: Path, key: Path, pin: str, config: str
) -> None:
    """Have clevis open this volume, in place of what it had for it. Raises errors.MissingError."""
    await unbind(doors, work, device)
    argv = ("clevis", "luks", "bind", "-y", "-d", device, "-k", key, pin, config)
    await doors.tool(argv, work, seconds=CLEVIS_SECONDS)


async def unbind(doors: Doors, work: Work | None, device: Path) -> None:
    """Whatever clevis opens this volume with, no longer does. Raises errors.MissingError."""
    for slot in await _bound(doors, work, device):
        argv = ("clevis", "luks", "unbind", "-f", "-d", device, "-s", slot)
        await doors.tool(argv, work, seconds=SECONDS)


def clevis_pin(step: BindTang, digest: str = "") -> tuple[str, str]:
    """The pin and its config (clevis-encrypt-sss(1)): all of TPM and servers together.

    `digest`: what the registers will hold (clevis-encrypt-tpm2(1)); empty, if as they are now.
    """
    servers = [{"url": server} for server in step.servers]
    if not step.with_tpm and len(servers) == 1:
        return "tang", json.dumps(servers[0])
    pins: dict[str, Any] = {"tang": servers}
    if step.with_tpm:
        pins["tpm2"] = {"pcr_bank": "sha256", "pcr_ids": ",".join(map(str, step.pcrs))}
        pins["tpm2"] |= {"pcr_digest": digest} if digest else {}
    parts = len(servers) + step.with_tpm
    return "sss", json.dumps({"t": parts, "pins": pins})


async def _bound(doors: Doors, work: Work | None, device: Path) -> list[str]:
    """Slots that clevis already has on this volume: `SLOT: PIN 'CONFIG'` each."""
    listing = ("clevis", "luks", "list", "-d", device)
    said = await doors.tool(listing, work, seconds=SECONDS, check=False)
    slots = [line.partition(":")[0].strip() for line in said.text().splitlines()]
    return [slot for slot in slots if slot.isdigit()]


def bind_approval(doors: Doors) -> Handler:
    """The handler of `BindApproval`. A slot of an interrupted run is replaced, not doubled."""

    async def handler(step: BindApproval, work: Work) -> None:
        options = tpm_options(step.pcrs, step.signed_pcrs, PUBLIC_KEY)
        pin = approval.pin(work.key.passphrase)
        for number, volume in enumerate(step.volumes):
            device = doors.partition(step.disk, volume).device
            await enroll(doors, work, device, doors.key_file(work), options, pin)
            work.progress(number + 1, len(step.volumes))

    return handler


async def enroll(
    doors: Doors,
    work: Work | None,
    device: Path,
    key: Path,
    options: Sequence[str],
    pin: bytes = b"",
) -> None:
    """Bind this volume to the TPM, with a PIN if given; the slot that it had is wiped afterwards.

    `options` as `node.plan.repart.tpm_options`. Raises errors.MissingError.
    """
    argv: Sequence[str] = ("--wipe-slot=tpm2", *options, str(device))
    argv = ("systemd-cryptenroll", f"--unlock-key-file={key}", *argv)
    if not pin:
        await doors.tool(argv, work, seconds=SECONDS)
        return
    with credential(doors.own, PIN_CREDENTIAL, pin) as folder:
        where = {"CREDENTIALS_DIRECTORY": str(folder)}
        argv = (*argv, "--tpm2-with-pin=yes")
        await doors.tool(argv, work, seconds=SECONDS, environment=where)


@contextmanager
def credential(own: Path, name: str, secret: bytes) -> Iterator[Path]:
    """A folder in memory that holds one credential (systemd.exec(5)); gone at the end."""
    folder = own / "credentials"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    path = folder / name
    path.touch(mode=0o600)
    path.write_bytes(secret)
    try:
        yield folder
    finally:
        path.write_bytes(bytes(len(secret)))
        shutil.rmtree(folder)
