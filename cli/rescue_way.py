"""How a machine that needs repair is found and recognised: by a code, or by our record of it.

A code is that of its recovery system or its stick, whose key is new in every boot. By the record it
is found while locked: then it has its report key only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cli.records import Records
from pairing import errors, keys
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.transport.base import Target
from pairing.transport.relay import find_relay

FINGERPRINT = re.compile(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """`key` is what the node proves; `subject` and `secret` are what we prove; `lease` if resumed.

    `name` names it in our records, `node` is the fingerprint that it is known by.
    """

    key: bytes
    subject: bytes
    secret: bytes = field(repr=False)
    lease: bytes
    target: Target
    node: str
    name: str = ""
    """The token's name, where there is a token."""
    unnamed_relay: bool = False
    """The machine waits at a relay that was not named."""


def by_token(token: Token, relays: Sequence[str], records: Records) -> Way:
    """By its code; the lease is resumed that an earlier run got with it."""
    stored = records.lease(token.name)
    known = stored.known if stored else None
    named = find_relay(token.relay, relays) if token.relay else None
    return Way(
        key=token.key,
        subject=known.lease if known else token.id,
        secret=known.secret if known else token.secret,
        lease=known.lease if known else b"",
        target=Target(
            key=token.key,
            label=handshake.label(token.secret, token.key),
            addresses=token.addresses,
            relays=tuple(dict.fromkeys((named, *relays))) if named else tuple(relays),
        ),
        node=keys.fingerprint(token.key),
        name=token.name,
        unnamed_relay=bool(token.relay) and named is None,
    )


def by_record(node: str, relays: Sequence[str], records: Records) -> Way:
    """A locked node, by its fingerprint. Raises errors.NoSuchSource."""
    stored = records.lease_of(node)
    if stored is None or stored.known.report is None:
        raise errors.NoSuchSource("There is no record of this machine here.", element=node)
    report = stored.known.report
    secret = handshake.report_secret(stored.known.secret, report.node)
    label = handshake.label(secret, report.key)
    return Way(
        key=report.key,
        subject=report.lease,
        secret=secret,
        lease=report.lease,
        target=Target(key=report.key, label=label, relays=tuple(relays)),
        node=node,
    )
