"""This machine's half of credential activation: the TPM shows its keys, then unwraps a secret.

Nothing stays in the TPM: the endorsement key is made anew from its seed, the attestation key lives
in context files in a private folder. The other half is `pairing/tpmcredential.py`.
Tools: tpm2_createek(1), tpm2_createak(1), tpm2_activatecredential(1), tpm2_nvread(1).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.system.reading import Run, read
from node.system.tpm import TPM_SECONDS
from pairing import errors, process
from pairing.tpmkeys import CERTIFICATE_LIMIT

EK_CERTIFICATE = "0x01c00002"
"""Where makers keep the certificate of the RSA 2048 key (TCG EK Credential Profile, 2.2.1.4)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the TPM shows of itself: public areas (TPMT_PUBLIC), a DER certificate or nothing."""

    endorsement: bytes
    attestation: bytes
    certificate: bytes


@dataclass(slots=True)
class Endorsement:
    """One exchange with the TPM. `close` removes what it left in memory."""

    run: Run = process.run
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kairos-tpm-"))

    def show(self) -> Shown:
        """Make both keys and read the certificate. Raises errors.MissingError."""
        self._tool("tpm2_createek", "-G", "rsa", "-f", "tss", "-c", "ek.ctx", "-u", "ek.pub")
        signing = ("-G", "ecc", "-g", "sha256", "-s", "ecdsa", "-f", "tss")
        self._tool("tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", *signing, "-u", "ak.pub")
        return Shown(self._area("ek.pub"), self._area("ak.pub"), self._certificate())

    def activate(self, credential: bytes) -> bytes:
        """The secret in a credential file. Raises errors.MissingError if it is not for this TPM."""
        (self.folder / "credential").write_bytes(credential)
        session = str(self.folder / "session")
        self._tool("tpm2_startauthsession", "--policy-session", "-S", "session")
        try:
            self._tool("tpm2_policysecret", "-S", "session", "-c", "endorsement")
            keys = ("-c", "ak.ctx", "-C", "ek.ctx", "-P", f"session:{session}")
            self._tool("tpm2_activatecredential", *keys, "-i", "credential", "-o", "secret")
        finally:
            self.run(["tpm2_flushcontext", session], seconds=TPM_SECONDS, check=False)
        return read(self.folder / "secret")

    def close(self) -> None:
        """Remove every file."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _certificate(self) -> bytes:
        try:
            self._tool("tpm2_nvread", "-C", EK_CERTIFICATE, "-o", "ek.der", EK_CERTIFICATE)
        except errors.MissingError:
            return b""  # many TPMs have none
        found = read(self.folder / "ek.der")
        return found if len(found) <= CERTIFICATE_LIMIT else b""

    def _area(self, name: str) -> bytes:
        """The public area in a TPM2B_PUBLIC: a 16-bit length comes first."""
        data = read(self.folder / name)
        if len(data) < 3 or int.from_bytes(data[:2], "big") != len(data) - 2:
            raise errors.CommandFailed("It wrote no public area.", element="tpm2-tools")
        return data[2:]

    def _tool(self, program: str, *arguments: str) -> None:
        self.run([program, *self._in_folder(arguments)], seconds=TPM_SECONDS)

    def _in_folder(self, arguments: Sequence[str]) -> list[str]:
        """File names are meant within our folder."""
        files = {"-c", "-u", "-i", "-o", "-S", "-C"}
        return [
            str(self.folder / word) if before in files and _is_file(word) else word
            for before, word in zip(("", *arguments), arguments, strict=False)
        ]


def _is_file(word: str) -> bool:
    return word != "endorsement" and not word.startswith("0x")
