"""The private keys of images: four kinds, each for one purpose, in one folder.

    pcr.key, pcr.pub            what a TPM opens volumes for: kernels whose PCR 11 policy it signed
    update.key, update.pub      OpenPGP: updates that machines accept
    PK.*, KEK.*, db.*           Secure Boot: platform, key exchange, and what may start

A machine keeps the public halves of the first two for its life: losing them means installing again.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable
from pathlib import Path

from node.image.rooms import KEYS, Room

SECONDS = 60.0
BITS = 2048
"""What every firmware and TPM 2.0 can check (UEFI 2.10, 32.4.1; TPM profiles)."""
YEARS = 30
SECURE_BOOT = ("PK", "KEK", "db")


def make_keys(folder: Path, tools: Room, name: str) -> tuple[Path, ...]:
    """Make the keys that are not there yet; gives the files that were made.

    `name` is in the certificates. Raises OSError and what Room.run raises.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = [*_pcr(folder), *_update(folder, tools, name)]
    for role in SECURE_BOOT:
        made += _certificate(folder, role, f"{name} {role}")
    return tuple(made)


def sign_sums(tools: Room, work: Path, keys: Path) -> None:
    """Write `SHA256SUMS.gpg` beside `SHA256SUMS` in `work`. Raises what Room.run raises."""
    argv = ["sqop", "sign", "--no-armor", "--as=binary", f"{KEYS}/update.key"]
    sums = (work / "SHA256SUMS").read_bytes()
    signed = tools.run(argv, work, seconds=SECONDS, keys=keys, stdin=sums).stdout
    (work / "SHA256SUMS.gpg").write_bytes(signed)


def _pcr(folder: Path) -> Iterable[Path]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    if (folder / "pcr.key").exists():
        return ()
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _keep(folder / "pcr.pub", public), _keep(folder / "pcr.key", _pem(key))


def _update(folder: Path, tools: Room, name: str) -> Iterable[Path]:
    """RSA as RFC 4880 has it: what gpg in the image understands."""
    if (folder / "update.key").exists():
        return ()
    argv = ["sqop", "generate-key", "--no-armor", "--profile=rfc4880", f"{name} updates"]
    key = tools.run(argv, folder, seconds=SECONDS).stdout
    extract = ["sqop", "extract-cert", "--no-armor"]
    public = tools.run(extract, folder, seconds=SECONDS, stdin=key).stdout
    return _keep(folder / "update.pub", public), _keep(folder / "update.key", key)


def _certificate(folder: Path, role: str, name: str) -> Iterable[Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    if (folder / f"{role}.key").exists():
        return ()
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    # Firmware does not look at the dates; a machine's clock may be anything.
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=begin.year + YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    return _keep(folder / f"{role}.crt", public), _keep(folder / f"{role}.key", _pem(key))


def _pem(key: object) -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    assert isinstance(key, rsa.RSAPrivateKey)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _keep(path: Path, data: bytes) -> Path:
    """Never over another one; readable by nobody else."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    return path
