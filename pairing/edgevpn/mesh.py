"""What a running network of Kairos keeps in its ledger: roles, machines, the kubeconfig. Pure.

Everything of Kairos lies in one bucket named by the network id (`kairos` unless configured), under
keys such as `UUID-role` or `control-plane-kubeconfig`; a value is the JSON text of a string that is
base64url of another JSON text, as edgevpn's client writes it. The buckets `machines`,
`healthcheck`, `services` and `users` are edgevpn's own, their values plain JSON texts.

Whoever has the network token can write all of it: nothing here is believed, least of all a
kubeconfig, in which a stranger could name a program for kubectl to run.
Source: edgevpn 0.35 (api/client, pkg/types, pkg/services), provider-kairos (internal/role/p2p).
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pairing import errors

NETWORK_ID = "kairos"
CONTROL_PLANES = ("control-plane", "master")
"""How Kairos calls a control plane, and how it did before 2023; the newer word counts first."""
ROLES = frozenset(
    {"worker", "auto"}
    | {f"{name}{kind}" for name in CONTROL_PLANES for kind in ("", "/ha", "/clusterinit")}
)
VALUE_LIMIT = 512 * 1024
"""Characters of a value that is looked at."""
MEMBERS_LIMIT = 10_000
UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_UUID_KEY, _ROLE_KEY, _ADDRESS_KEY = "-uuid", "-role", "-ip"

Storage = Mapping[str, Mapping[str, str]]
"""A ledger's content: bucket, key, JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node of Kubernetes, or of what will be: `role` and `address` may be empty.

    `seen` is when it said that it is there (Unix seconds), None if only a role waits for it.
    """

    uuid: str
    role: str = ""
    address: str = ""
    seen: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine in the network's VPN. `seen` as in `Member`; `peer` is its libp2p id."""

    peer: str
    hostname: str
    address: str
    system: str
    version: str
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One value to write: where, and the JSON text."""

    bucket: str
    key: str
    value: str


def members(storage: Storage, network: str = NETWORK_ID) -> tuple[Member, ...]:
    """Every node that said it is there or that has a role, in the order of their UUIDs."""
    bucket = storage.get(network, {})
    endings = (_UUID_KEY, _ROLE_KEY)
    found = {key[: -len(end)] for key in bucket for end in endings if key.endswith(end)}
    return tuple(
        Member(
            uuid=uuid,
            role=_text(bucket.get(uuid + _ROLE_KEY)),
            address=_text(bucket.get(uuid + _ADDRESS_KEY)),
            seen=_time(_field(_inner(bucket.get(uuid + _UUID_KEY)), "Time")),
        )
        for uuid in sorted(found)[:MEMBERS_LIMIT]
        if UUID.fullmatch(uuid)
    )


def machines(storage: Storage) -> tuple[Machine, ...]:
    """Every machine of the VPN, in the order of their addresses' texts."""
    alive = storage.get("healthcheck", {})
    found = []
    for value in list(storage.get("machines", {}).values())[:MEMBERS_LIMIT]:
        said = _json(value)
        peer = _field(said, "PeerID")
        system = "/".join(part for name in ("OS", "Arch") if (part := _field(said, name)))
        found.append(
            Machine(
                peer=peer,
                hostname=_field(said, "Hostname"),
                address=_field(said, "Address"),
                system=system,
                version=_field(said, "Version"),
                seen=_time(_json(alive.get(peer))),
            )
        )
    return tuple(sorted(found, key=lambda machine: (machine.address, machine.peer)))


def role_entry(uuid: str, role: str, network: str = NETWORK_ID) -> Setting:
    """What gives the node `uuid` this role. Raises errors.UsageError for what is none."""
    if not UUID.fullmatch(uuid):
        raise errors.UsageError("A node's UUID has letters, digits, `-`, `_` and `.` only.")
    unknown = sorted({part for part in role.split(",") if part not in ROLES})
    if unknown:
        known = ", ".join(sorted(ROLES))
        raise errors.UsageError(f"There is no role {unknown[0][:40]!r}. There are: {known}.")
    return Setting(network, uuid + _ROLE_KEY, _packed(role))


def holds(storage: Storage, entry: Setting) -> bool:
    """Whether the ledger has exactly this value."""
    return storage.get(entry.bucket, {}).get(entry.key) == entry.value


def kubeconfig(storage: Storage, network: str = NETWORK_ID) -> bytes | None:
    """The control plane's kubeconfig as it wrote it, None if there is none yet.

    It is a stranger's text: see `pairing.edgevpn.kubeconfig`. Raises errors.MeshValueBroken.
    """
    bucket = storage.get(network, {})
    value = next((v for name in CONTROL_PLANES if (v := bucket.get(f"{name}-kubeconfig"))), None)
    if value is None:
        return None
    try:
        data = _base64(_text(value))
    except ValueError:
        raise errors.MeshValueBroken("(the kubeconfig)") from None
    if not data:
        raise errors.MeshValueBroken("(the kubeconfig)")
    return data


def control_plane_address(storage: Storage, network: str = NETWORK_ID) -> str:
    """The control plane's address, empty if nobody said it."""
    bucket = storage.get(network, {})
    return next((text for name in CONTROL_PLANES if (text := _text(bucket.get(f"ip-{name}")))), "")


def offered_by(storage: Storage, service: str) -> str | None:
    """The peer id of who offers this service of edgevpn."""
    return _field(_json(storage.get("services", {}).get(service)), "PeerID") or None


def guest(peer: str, now: dt.datetime) -> Setting:
    """Says that `peer` may use services: who offers one hangs up on anybody else."""
    said = {"PeerID": peer, "Timestamp": f"{now:%Y-%m-%d %H:%M:%S} +0000 UTC"}
    return Setting("users", peer, json.dumps(said, separators=(",", ":")))


def _packed(value: str) -> str:
    inner = json.dumps(value).encode("ascii")
    return json.dumps(base64.urlsafe_b64encode(inner).decode("ascii"))


def _inner(value: str | None) -> object:
    """The opposite of `_packed`, None for anything that is not in this form."""
    outer = _json(value)
    if not isinstance(outer, str):
        return None
    try:
        return _json(_base64(outer).decode("utf-8"))
    except ValueError:
        return None


def _base64(text: str) -> bytes:
    """Base64url with or without padding. Raises ValueError."""
    try:
        return base64.b64decode(
            text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), b"-_", validate=True
        )
    except binascii.Error as wrong:
        raise ValueError(str(wrong)) from None


def _json(value: str | None) -> object:
    if value is None or len(value) > VALUE_LIMIT:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _text(value: str | None) -> str:
    inner = _inner(value)
    return inner if isinstance(inner, str) else ""


def _field(value: object, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _time(text: object) -> int | None:
    """Unix seconds of an RFC 3339 time (Go writes up to nine digits of a second)."""
    if not isinstance(text, str) or not text:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
        return int(found.timestamp()) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None
