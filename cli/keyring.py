"""The operator's key folder: operator key, escrow key, certificate of a fleet, other recipients.

    operator.pem        Ed25519, made on first use: claims nodes, signs what they get
    escrow.pem          X25519, made on first use: opens the recovery keys that nodes seal to it
    fleet.pem           Ed25519, only where a fleet is run: signs stations' certificates
    fleet.sequence      the last number that the fleet key signed
    station.json        a fleet's certificate for the operator key
    recipients          more escrow keys, one a line: public key, name

Files are PEM (PKCS #8, unencrypted) or text, mode 0600, in a folder of mode 0700.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cli import folders
from pairing import errors

if TYPE_CHECKING:
    from pairing.keys import Certificate, EscrowKey, SigningKey
    from pairing.protocol.terms import Identity

FILE_LIMIT = 64 * 1024
RECIPIENTS_LIMIT = 8
"""Keys that one manifest can name."""


class Keyring:
    """The keys in one folder, each made or read when it is first needed."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or folders.config_folder() / "keys"

    @classmethod
    def at(cls, folder: str | None) -> Keyring:
        """The keys in the folder that `--keys` names, or in the usual one."""
        return cls(Path(folder) if folder else None)

    def identity(self) -> Identity:
        """The operator key, made on first use, with its fleet's certificate if there is one."""
        from pairing.protocol.terms import Identity

        return Identity(self.operator(), self.certificate())

    def operator(self) -> SigningKey:
        """The operator key, made on first use."""
        from pairing import keys

        return self._signing("operator.pem", keys.generate)

    def escrow(self) -> EscrowKey:
        """The escrow key, made on first use."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        from pairing import keys

        made = self._pem("escrow.pem", lambda: _pkcs8_x25519(keys.generate_escrow()))
        if not isinstance(made, X25519PrivateKey):
            raise errors.KeyFileInvalid(
                "It is no X25519 key.", element=str(self._path("escrow.pem"))
            )
        return keys.EscrowKey(made.private_bytes_raw())

    def fleet(self) -> SigningKey:
        """The fleet key. Raises errors.KeyMissing; `make_fleet` makes one."""
        return self._signing("fleet.pem", None)

    def make_fleet(self) -> SigningKey:
        """A new fleet key. Raises errors.UsageError if there is one already."""
        from pairing import keys

        if self._path("fleet.pem").exists():
            raise errors.UsageError("There is a fleet key already.", element=str(self.folder))
        return self._signing("fleet.pem", keys.generate)

    def certify(self, station: bytes, name: str) -> Certificate:
        """A certificate for a station's public key, with the fleet key's next number."""
        from pairing import keys

        fleet = self.fleet()
        path = self._path("fleet.sequence")
        try:
            last = int(path.read_text("ascii")) if path.exists() else 0
        except ValueError:
            raise errors.KeyFileInvalid("It is no number.", element=str(path)) from None
        folders.write_private(path, f"{last + 1}\n".encode())
        return keys.certify(fleet, station, last + 1, name)

    def certificate(self) -> Certificate | None:
        """The fleet's certificate for the operator key, if there is one."""
        path = self._path("station.json")
        if not path.exists():
            return None
        return certificate_from(self._read(path), self.operator().public, element=str(path))

    def keep_certificate(self, text: bytes, *, element: str) -> Certificate:
        """Check and store a certificate that a fleet gave us."""
        found = certificate_from(text, self.operator().public, element=element)
        self._private_folder()
        folders.write_private(self._path("station.json"), certificate_text(found).encode())
        return found

    def recipients(self) -> tuple[bytes, ...]:
        """Public escrow keys that recovery keys are sealed to: our own first, then the others."""
        return tuple(dict.fromkeys((self.escrow().public, *self.others())))

    def others(self) -> dict[bytes, str]:
        """Other people's public escrow keys, with their names. Raises errors.KeyFileInvalid."""
        path = self._path("recipients")
        if not path.exists():
            return {}
        found: dict[bytes, str] = {}
        for number, line in enumerate(self._read(path).decode("utf-8", "replace").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            text, _, name = line.strip().partition(" ")
            try:
                found[public_from(text)] = name.strip()
            except errors.KeyFileInvalid:
                raise errors.KeyFileInvalid(
                    f"Line {number} holds no public key.", element=str(path)
                ) from None
        return found

    def add_recipient(self, public: bytes, name: str) -> None:
        """Seal recovery keys to this public escrow key too. Raises errors.UsageError if full."""
        from pairing import keys
        from pairing.protocol.wire import to_base64

        try:
            keys.seal(b"trial", public, b"")
        except ValueError:
            raise errors.KeyFileInvalid("It is no X25519 public key.") from None
        others = {**self.others(), public: name}
        if len(others) + 1 > RECIPIENTS_LIMIT:
            raise errors.UsageError(f"There are {RECIPIENTS_LIMIT} escrow keys already.")
        lines = [f"{to_base64(key)} {said}".rstrip() for key, said in others.items()]
        self._private_folder()
        folders.write_private(self._path("recipients"), ("\n".join(lines) + "\n").encode())

    # --- files ----------------------------------------------------------------------------------

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _private_folder(self) -> None:
        folders.make_private(self.folder)
        folders.check_private(self.folder)

    def _read(self, path: Path) -> bytes:
        try:
            self._private_folder()
            folders.check_private(path)
            with path.open("rb") as file:
                return file.read(FILE_LIMIT)
        except OSError as wrong:
            raise errors.KeyFileInvalid(f"({wrong.strerror})", element=str(path)) from None

    def _signing(self, name: str, make: Callable[[], SigningKey] | None) -> SigningKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        from pairing import keys

        found = self._pem(name, (lambda: _pkcs8_ed25519(make())) if make else None)
        if not isinstance(found, Ed25519PrivateKey):
            raise errors.KeyFileInvalid("It is no Ed25519 key.", element=str(self._path(name)))
        return keys.SigningKey(found.private_bytes_raw())

    def _pem(self, name: str, make: Callable[[], bytes] | None) -> object:
        """The key in a file; a missing one is made. Two processes at once get the same one."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = self._path(name)
        self._private_folder()
        if not path.exists():
            if make is None:
                raise errors.KeyMissing(element=str(path))
            # Another process may be a moment faster: then its key counts.
            with contextlib.suppress(FileExistsError):
                folders.write_private(path, make(), replace=False)
        try:
            return load_pem_private_key(self._read(path), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise errors.KeyFileInvalid(
                "It is no unencrypted PEM private key.", element=str(path)
            ) from None


def _pkcs8_ed25519(key: SigningKey) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return _pem_bytes(Ed25519PrivateKey.from_private_bytes(key.seed))


def _pkcs8_x25519(key: EscrowKey) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return _pem_bytes(X25519PrivateKey.from_private_bytes(key.private))


def _pem_bytes(key: object) -> bytes:
    from cryptography.hazmat.primitives import serialization as s

    encode = key.private_bytes  # type: ignore[attr-defined]
    pem: bytes = encode(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    return pem


def public_from(text: str) -> bytes:
    """The 32 bytes of a public key as `keys show` prints it. Raises errors.KeyFileInvalid."""
    from pairing.protocol.wire import unbase64

    try:
        key = unbase64(text.strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise errors.KeyFileInvalid("A public key is 43 characters of base64url.")
    return key


def certificate_text(certificate: Certificate) -> str:
    """A certificate as the JSON that `keys accept` reads."""
    from pairing.protocol.wire import to_base64

    body = {
        "fleet": to_base64(certificate.fleet),
        "station": to_base64(certificate.station),
        "sequence": certificate.sequence,
        "name": certificate.name,
        "signature": to_base64(certificate.signature),
    }
    return json.dumps(body, indent=2) + "\n"


def certificate_from(text: bytes, station: bytes, *, element: str) -> Certificate:
    """Read a certificate for the public key `station`. Raises errors.KeyFileInvalid."""
    from pairing import keys
    from pairing.protocol.certificate import StationCertificate

    try:
        read = StationCertificate.from_json(json.loads(text))
    except (ValueError, RecursionError, errors.KnownError):
        raise errors.KeyFileInvalid("It is no certificate.", element=element) from None
    found = keys.Certificate(read.fleet, read.station, read.sequence, read.name, read.signature)
    if found.station != station:
        raise errors.KeyFileInvalid("It certifies another operator's key.", element=element)
    try:
        keys.PinnedFleet(found.fleet).check(found, station)
    except errors.KnownError:
        raise errors.KeyFileInvalid("Its signature is wrong.", element=element) from None
    return found
