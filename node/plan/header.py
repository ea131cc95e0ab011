"""What a LUKS2 header tells about how its volume is opened. Pure: read from its JSON metadata.

Sources: LUKS2 On-Disk Format Specification (tokens); systemd's `systemd-tpm2` tokens; the
`clevis` tokens of clevis-luks.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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
    """The tokens of one volume. `tang`: the servers that clevis asks, as far as they are told."""

    tpm: Sequence[TpmToken] = ()
    clevis: bool = False
    tang: Sequence[str] = ()

    @property
    def by_pin(self) -> bool:
        """The TPM opens it only with a PIN, which an operator's approval brings."""
        return bool(self.tpm) and all(token.pin for token in self.tpm)


def read_header(dumped: bytes) -> Header:
    """From what `cryptsetup luksDump --dump-json-metadata` prints. Raises ValueError."""
    try:
        tokens = list(json.loads(dumped)["tokens"].values())
        clevis = [token for token in tokens if token["type"] == "clevis"]
        return Header(
            tpm=tuple(_tpm(token) for token in tokens if token["type"] == "systemd-tpm2"),
            clevis=bool(clevis),
            tang=tuple(url for token in clevis for url in _tang_servers(token)),
        )
    except (KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as wrong:
        raise ValueError(f"the header's metadata cannot be read ({wrong!r})") from None


def _tpm(token: Mapping[str, Any]) -> TpmToken:
    return TpmToken(
        literal=tuple(map(int, token.get("tpm2-pcrs", ()))),
        signed=tuple(map(int, token.get("tpm2_pubkey_pcrs", ()))),
        public_key=base64.b64decode(token.get("tpm2_pubkey", ""), validate=True),
        policy=bytes.fromhex(token.get("tpm2-policy-hash", "")),
        pin=bool(token.get("tpm2-pin", False)),
        parent=base64.b64decode(token.get("tpm2_srk", ""), validate=True),
    )


def _tang_servers(token: Mapping[str, Any]) -> list[str]:
    """The addresses in the protected header of clevis' JWE; they may lie within shares (sss)."""
    return list(_urls(_protected(token.get("jwe", {}).get("protected", ""))))


def _protected(text: str) -> Any:
    padded = text + "=" * (-len(text) % 4)
    try:
        return json.loads(base64.urlsafe_b64decode(padded))
    except ValueError:
        return {}


def _urls(node: Any, depth: int = 0) -> list[str]:
    found: list[str] = []
    if depth > 8 or not isinstance(node, dict):
        return found
    for name, value in node.items():
        if name == "tang" and isinstance(value, dict) and isinstance(value.get("url"), str):
            found.append(value["url"])
        elif name == "jwe" and isinstance(value, list):
            for share in value:
                inner = share.partition(".")[0] if isinstance(share, str) else ""
                found += _urls(_protected(inner), depth + 1)
        else:
            found += _urls(value, depth + 1)
    return found
