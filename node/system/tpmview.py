"""What the TPM holds and what the started image says about itself; and the one thing that is ever
written: a measurement, which is gone after the next start.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from node.plan.header import REGISTERS
from node.plan.locked import VOLUMES, SignedPolicy, TpmView
from node.plan.tpmpolicy import ZERO
from node.system.door import Door
from node.system.reading import read, text
from pairing import errors

TPM_SECONDS = 60.0
ASK_PROPERTIES = ("tpm2_getcap", "properties-variable")
STORAGE_ROOT = "0x81000001"
"""Handle of the storage root key (TCG TPM v2.0 Provisioning Guidance, 7.5.1)."""
SIGNATURE = "run/systemd/tpm2-pcr-signature.json"
"""Where systemd puts what the boot stub brought (systemd-stub(7))."""


def tpm_view(root: Path, run: Door) -> TpmView:
    """Everything that tells why a volume does not open. Never raises."""
    folder = root / "sys/class/tpm/tpm0"
    if text(folder / "tpm_version_major") != "2":
        return TpmView(present=False)
    return TpmView(
        registers={number: register(root, number) for number in REGISTERS},
        parent=_storage_root(run),
        signed=_signed(root),
    )


def register(root: Path, number: int) -> bytes:
    """The value of a register's SHA-256 bank; zero if the kernel does not tell it."""
    try:
        value = bytes.fromhex(text(root / f"sys/class/tpm/tpm0/pcr-sha256/{number}"))
    except ValueError:
        return ZERO
    return value if len(value) == len(ZERO) else ZERO


def seal_off(root: Path, run: Door, volumes: Sequence[str] = ()) -> None:
    """Measure the volumes' UUIDs into register 15, once in a start.

    From then on the TPM gives their key to nobody, root included: it is sealed to an empty
    register. Whatever runs a stranger's commands has to call it first. Nothing happens without a
    TPM. Raises errors.TpmRefuses if the register is still empty afterwards.
    """
    if text(root / "sys/class/tpm/tpm0/tpm_version_major") != "2":
        return
    if register(root, VOLUMES) != ZERO:
        return
    digest = hashlib.sha256("\n".join(("kairos-register", *volumes)).encode()).hexdigest()
    run(("tpm2_pcrextend", f"{VOLUMES}:sha256={digest}"), seconds=TPM_SECONDS, check=False)
    if register(root, VOLUMES) == ZERO:
        raise errors.TpmRefuses("It does not measure.")


def locked_out(said: str) -> bool:
    """Whether it counted too many wrong numbers, and refuses right ones too (TPM2_PT_PERMANENT,
    inLockout). `said`: by `ASK_PROPERTIES`."""
    flags = dict(line.strip().partition(":")[::2] for line in said.splitlines())
    return flags.get("inLockout", "").strip() == "1"


def _storage_root(run: Door) -> bytes | None:
    """The key's public area; empty if the TPM has none (it was cleared); None if not to be told."""
    with tempfile.TemporaryDirectory(prefix="kairos-tpm-") as folder:
        public = Path(folder) / "srk.pub"
        argv = ("tpm2_readpublic", "-c", STORAGE_ROOT, "-f", "tss", "-o", str(public))
        try:
            result = run(argv, seconds=TPM_SECONDS, check=False)
        except errors.MissingError:
            return None
        # TPM2B_PUBLIC: a 16-bit length, then the public area.
        return read(public)[2:] if result.status == 0 else b""


def _signed(root: Path) -> tuple[SignedPolicy, ...]:
    try:
        lines = json.loads(read(root / SIGNATURE))["sha256"]
        return tuple(
            SignedPolicy(
                key=str(line["pkfp"]).lower(),
                registers=tuple(map(int, line["pcrs"])),
                policy=bytes.fromhex(line["pol"]),
            )
            for line in lines
            if base64.b64decode(line["sig"])
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
