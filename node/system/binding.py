"""Binds the volumes of a running system to its TPM anew, and proves that they open by it.

In a running system register 15 is closed (`node.plan.boot.SealOff`), so that the new slot cannot be
tried before the next start. Its policy is computed instead, like a TPM computes it.
"""

from __future__ import annotations

import base64
from pathlib import Path

from node.plan.encrypt import LITERAL_PCRS, OPENED, SIGNED_PCRS
from node.plan.header import TpmToken, read_header
from node.plan.locked import BOOT_WORDS, why_locked
from node.plan.tpmpolicy import ZERO
from node.steps import BindTang
from node.system.door import Door
from node.system.install.bind import bind, clevis_pin
from node.system.install.doors import Doors
from node.system.medium import PUBLIC_KEY
from node.system.protected import VOLUMES
from node.system.reading import read
from node.system.tpmview import register, tpm_view
from pairing import errors


def require_pure(root: Path) -> None:
    """Raises errors.TpmMissing without a TPM; errors.StartNotPure where this start was given words
    from outside: a slot for it would open to whoever gives them again."""
    if not (root / "sys/class/tpm/tpm0").exists():
        raise errors.TpmMissing
    if register(root, BOOT_WORDS) != ZERO:
        raise errors.StartNotPure


def prove(metadata: bytes, by_pin: bool, root: Path, run: Door) -> None:
    """One slot of the TPM, for the registers of the next start. Raises errors.BindingNotProved."""
    try:
        tokens = read_header(metadata).tpm
    except ValueError as wrong:
        raise errors.BindingNotProved(str(wrong)) from None
    if len(tokens) != 1:
        raise errors.BindingNotProved(f"It has {len(tokens)} slots of a TPM.")
    if not _as_asked(tokens[0], by_pin, root):
        raise errors.BindingNotProved("Its slot is bound to something else.")
    # All is as the slot wants it, but for register 15: empty again after a restart.
    if (reason := why_locked(tokens[0], tpm_view(root, run))) is not errors.SealedOff:
        raise errors.BindingNotProved(reason().sentence)


def _as_asked(token: TpmToken, by_pin: bool, root: Path) -> bool:
    asked = (tuple(token.literal), tuple(token.signed), token.pin)
    key = read(root / str(PUBLIC_KEY).lstrip("/"))
    return asked == (LITERAL_PCRS, SIGNED_PCRS, by_pin) and token.public_key.strip() == key.strip()


async def bind_with_tang(doors: Doors, device: Path, key: Path, servers: object) -> None:
    """To TPM and Tang servers together. Raises errors.NoSuchKeys, errors.MissingError."""
    if not isinstance(servers, list) or not servers:
        raise errors.NoSuchKeys("It is not known which Tang servers they were bound to.")
    step = BindTang(disk="", volumes=VOLUMES, servers=servers, with_tpm=True, pcrs=LITERAL_PCRS)
    pin, config = clevis_pin(step, _digest(doors.root))
    await bind(doors, None, device, key, pin, config)


def _digest(root: Path) -> str:
    """The registers of the next start, as clevis-encrypt-tpm2(1) takes them."""
    values = (ZERO if pcr == OPENED else register(root, pcr) for pcr in LITERAL_PCRS)
    return base64.urlsafe_b64encode(b"".join(values)).decode().rstrip("=")
