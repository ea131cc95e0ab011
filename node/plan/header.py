"""What a LUKS2 header tells about how its volume is opened. Pure: read from its JSON metadata.

Sources: LUKS2 On-Disk Format Specification (tokens); systemd's `systemd-tpm2` tokens; the
`clevis` tokens of clevis-luks, and clevis-encrypt-tpm2 for a TPM's share of one; TPM 2.0 Library,
Part 2 (TPM2B_PUBLIC).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SERVER = re.compile(r"https?://[^/\s]+(/\S*)?")
"""As in a config. Whoever has the disk writes its headers, and the address goes to curl and clevis
as root: it must not be an option of theirs, nor a file."""
DEPTH = 8
"""Of clevis' shares within shares."""
REGISTERS = range(24)
"""Of a TPM (PC Client Platform TPM Profile)."""
POLICY = 10
"""Bytes before the length of the policy in a TPM2B_PUBLIC: size, type, algorithm, attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmToken:
    """A key slot that a TPM opens. Registers by number; `policy` is the digest it is sealed to."""

    literal: Sequence[int]
    signed: Sequence[int]
    public_key: bytes
    """PEM of the key that signs the policy of `signed`; empty without."""
    policy: bytes
    pin: bool
    parent: bytes
    """The storage root key that it belongs to, as systemd serialises it; empty if not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The tokens of one volume.

    `shares`: what clevis has sealed to a TPM; `tang`: the servers that it asks.
    """

    tpm: Sequence[TpmToken] = ()
    clevis: bool = False
    shares: Sequence[TpmToken] = ()
    tang: Sequence[str] = ()

    @property
    def by_pin(self) -> bool:
        """The TPM opens it only with a PIN, which an operator's approval brings."""
        return bool(self.tpm) and all(token.pin for token in self.tpm)


def read_header(dumped: bytes) -> Header:
    """From what `cryptsetup luksDump --dump-json-metadata` prints. Raises ValueError."""
    try:
        tokens = list(json.loads(dumped)["tokens"].values())
        clevis = [token["jwe"] for token in tokens if token["type"] == "clevis"]
        return Header(
            tpm=tuple(_tpm(token) for token in tokens if token["type"] == "systemd-tpm2"),
            clevis=bool(clevis),
            shares=tuple(_share(pin) for pin in _pins(clevis, "tpm2")),
            tang=tuple(map(_server, _pins(clevis, "tang"))),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as wrong:
        raise ValueError(f"the header's metadata cannot be read ({wrong!r})") from None


def _tpm(token: Mapping[str, Any]) -> TpmToken:
    return TpmToken(
        literal=_registers(token.get("tpm2-pcrs", ())),
        signed=_registers(token.get("tpm2_pubkey_pcrs", ())),
        public_key=base64.b64decode(token.get("tpm2_pubkey", ""), validate=True),
        policy=bytes.fromhex(token.get("tpm2-policy-hash", "")),
        pin=bool(token.get("tpm2-pin", False)),
        parent=base64.b64decode(token.get("tpm2_srk", ""), validate=True),
    )


def _share(pin: Mapping[str, Any]) -> TpmToken:
    """Clevis knows neither signed registers nor a number, and does not say of which TPM it is."""
    return TpmToken(
        literal=_registers(part for part in pin.get("pcr_ids", "").split(",") if part),
        signed=(),
        public_key=b"",
        policy=_sealed_to(pin),
        pin=False,
        parent=b"",
    )


def _registers(numbers: Iterable[Any]) -> tuple[int, ...]:
    found = tuple(map(int, numbers))
    if not set(found) <= set(REGISTERS):
        raise ValueError("there is no such register")
    return found


def _sealed_to(pin: Mapping[str, Any]) -> bytes:
    """The policy of a sealed object, from its public area; empty without one of SHA-256."""
    if not pin.get("hash") == pin.get("pcr_bank") == "sha256":
        return b""
    area = _decoded(pin.get("jwk_pub", ""))
    size = int.from_bytes(area[POLICY : POLICY + 2], "big")
    return area[POLICY + 2 :][:size]


def _server(pin: Mapping[str, Any]) -> str:
    if not SERVER.fullmatch(pin["url"]):
        raise ValueError("a Tang server's address is none")
    return str(pin["url"])


def _pins(jwes: Sequence[Any], name: str, depth: int = DEPTH) -> Iterator[Mapping[str, Any]]:
    """What the JWEs' headers say of each of these pins; they may lie within shares (sss)."""
    if jwes and not depth:
        raise ValueError("shares within too many shares")
    for jwe in jwes:
        pins = _protected(jwe).get("clevis", {})
        if name in pins:
            yield pins[name]
        yield from _pins(pins.get("sss", {}).get("jwe", ()), name, depth - 1)


def _protected(jwe: Any) -> Any:
    """The header, from the JSON or the compact form (RFC 7516).

    What we cannot read is damage: clevis might read it all the same.
    """
    return json.loads(_decoded(jwe.partition(".")[0] if isinstance(jwe, str) else jwe["protected"]))


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
