"""The code that a Kairos machine shows in recovery mode: a network, a service in it, a password.

Pure. Source: provider-kairos (internal/provider/recovery.go), Kairos' sdk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pairing import errors
from pairing.edgevpn import nettoken
from pairing.edgevpn.nettoken import NetworkToken

SEPARATOR = "_CREDENTIALS_"
SERVICE_PROTOCOL = "/edgevpn/service/0.1"
"""The libp2p protocol on which edgevpn carries a service's TCP connection, bytes as they are."""
_LENGTH_LIMIT = 4400
_SERVICE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PASSWORD = re.compile(r"[!-~]{1,64}")
"""Printable: it is typed at a prompt, where a control character would be a key of its own."""


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """All that is needed for a shell on the machine that shows it."""

    token: NetworkToken = field(repr=False)
    service: str = field(repr=False)
    password: str = field(repr=False)


def looks_like(text: str) -> bool:
    """Whether it has the shape; says nothing of its parts."""
    return len(text) <= _LENGTH_LIMIT and text.count(SEPARATOR) == 2


def parse(text: str) -> RecoveryCode:
    """Raises errors.RecoveryCodeInvalid, which quotes nothing of it."""
    if not looks_like(text):
        raise errors.RecoveryCodeInvalid
    token, service, password = text.split(SEPARATOR)
    if not (_SERVICE.fullmatch(service) and _PASSWORD.fullmatch(password)):
        raise errors.RecoveryCodeInvalid("(its service or its password)")
    try:
        return RecoveryCode(nettoken.parse(token), service, password)
    except errors.NetworkTokenInvalid:
        raise errors.RecoveryCodeInvalid("(its network token)") from None


def to_text(code: RecoveryCode) -> str:
    """As a machine shows it."""
    token = nettoken.to_full_text(code.token)
    return SEPARATOR.join((token, code.service, code.password))
