"""The machine's TPM: version, maker and the hash of its endorsement key. Writes nothing to it."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from pathlib import Path

from node.system.reading import Run, names, output, read, short, text
from pairing.facts import Tpm

TPM_SECONDS = 30.0
"""Some chips need seconds to make an RSA key."""


def tpm(root: Path, run: Run) -> Tpm | None:
    """The first TPM 2.0 that the kernel has, or None; what needs root or tpm2-tools may be empty.

    A TPM 1.2 cannot seal what we need, so it counts as none.
    """
    folder = root / "sys/class/tpm"
    chips = [name for name in names(folder) if name.startswith("tpm") and name[3:].isdigit()]
    if not any(text(folder / chip / "tpm_version_major") == "2" for chip in chips):
        return None
    return Tpm(version="2.0", vendor=_vendor(run), ek_hash=_ek_hash(run))


def _vendor(run: Run) -> str:
    """TPM2_PT_MANUFACTURER: four letters (TCG vendor ID registry)."""
    printed = output(run, ("tpm2_getcap", "properties-fixed"), seconds=TPM_SECONDS) or ""
    lines = [line.strip() for line in printed.splitlines()]
    for line, following in itertools.pairwise(lines):
        if line.startswith("TPM2_PT_MANUFACTURER"):
            digits = following.removeprefix("raw:").strip()
            try:
                letters = int(digits, 16).to_bytes(4, "big")
            except (ValueError, OverflowError):
                return ""
            return short(letters.decode("ascii", "replace"))
    return ""


def _ek_hash(run: Run) -> str:
    """Hex SHA-256 of the TPMT_PUBLIC of the RSA key that the TCG's EK template gives.

    The key is made anew from the endorsement seed and is the same every time; `--ek-context` with
    a file name keeps it out of the TPM's own storage.
    """
    with tempfile.TemporaryDirectory(prefix="kairos-ek-") as folder:
        public = Path(folder) / "ek.pub"
        argv = ("tpm2_createek", "--key-algorithm", "rsa", "--format", "tss")
        files = ("--ek-context", f"{folder}/ek.ctx", "--public", str(public))
        if output(run, argv + files, seconds=TPM_SECONDS) is None:
            return ""
        data = read(public)
    # TPM2B_PUBLIC: a 16-bit length, then the public area.
    if len(data) < 3 or int.from_bytes(data[:2], "big") != len(data) - 2:
        return ""
    return hashlib.sha256(data[2:]).hexdigest()
