"""What Kairos makes of a config, where that is not what its writer meant: mostly warnings.

Its own check takes any key and many of its mistakes end in silence: a cluster that does not start,
a disk that nobody chose. Source: Kairos' reference of its config, its provider's sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pairing.config.document import Document, Node, walk
from pairing.config.passwords import is_hash, is_password
from pairing.config.problem import Path, Problem, Severity
from pairing.config.rules import decimal_mode, users
from pairing.config.template import PLACEHOLDER

DISTRIBUTIONS = ("k3s", "k3s-agent", "k0s", "k0s-worker")
AUTO = "auto"
_HASHED = "kairos-register sends its hash; for others make one with: openssl passwd -6"
_OURS = re.compile(r"\s*(node|values)\.")
ADMINS = "admin"
"""The group of which Kairos wants at least one user."""


def kairos_problems(document: Document) -> Iterator[Problem]:
    """Everything of this kind. Values of a wrong type are passed over: the schema reports those."""
    yield from _distributions(document)
    yield from _users(document)
    yield from _disk(document)
    yield from _endings(document)
    for path, node in walk(document.root):
        if hint := decimal_mode(path, node):
            yield _warning(document, path, "A decimal number, not an octal mode.", hint)


def _distributions(document: Document) -> Iterator[Problem]:
    """Without `enabled: true` none of them is started, except by the mesh's own automatism."""
    meshed = bool(document.get("p2p", "network_token"))
    started: list[str] = []
    for name in DISTRIBUTIONS:
        asked = document.get(name)
        if not isinstance(asked, dict):
            continue
        if asked.get("enabled") is True:
            started.append(name)
        elif "enabled" not in asked and not meshed:
            message = f"Kairos does not start {name} with this."
            yield _warning(document, (name,), message, "Add `enabled: true`.")
    for name in started[1:]:
        message = f"{started[0]} is enabled too; Kairos starts only one of them."
        yield _warning(document, (name,), message)


def _users(document: Document) -> Iterator[Problem]:
    people = [user for _, user in users(document)]
    groups = [user.get("groups") for user in people]
    admin = any(isinstance(listed, list) and ADMINS in listed for listed in groups)
    in_stages = any(path[0] == "stages" and path[-1] == "users" for path, _ in _below(document))
    if not (admin or in_stages or document.get("install", "nousers") is True):
        message = f"No user is in the group {ADMINS}: recent Kairos refuses to install."
        hint = f"Add groups: [{ADMINS}] to one, or say install.nousers: true."
        yield _warning(document, ("users",), message, hint)
    for path, node in _below(document):
        text = node.content
        if is_password(path) and isinstance(text, str) and text and not is_hash(text):
            message = "A plain password: Kairos' own tools send and store it as it is."
            yield _warning(document, path, message, _HASHED)


def _below(document: Document) -> Iterator[tuple[Path, Node]]:
    return ((path, node) for path, node in walk(document.root) if path)


def _disk(document: Document) -> Iterator[Problem]:
    path: Path = ("install", "device")
    device = document.get(*path)
    if device in (None, "", AUTO):
        message = "No disk is named: Kairos erases the largest one."
        if device == AUTO:
            message = "Kairos chooses the disk, and erases the largest one."
        hint = "Write install.device: /dev/disk/by-id/..., or say --device when it is registered."
        yield _warning(document, path, message, hint)
    elif isinstance(device, str) and not device.startswith(("/dev/", "script://")):
        message = "Kairos takes /dev/..., script://... or auto."
        yield Problem(path=path, mark=document.position(path), message=message)


def our_placeholders(document: Document) -> Iterator[Problem]:
    """Errors in what goes to a Kairos node: its own templates (`{{ .X }}`) it fills in itself, ours
    nobody would."""
    for path, node in _below(document):
        text = node.content
        if not isinstance(text, str) or str(path[0]).startswith("x-"):
            continue
        if any(_OURS.match(inner) for inner in PLACEHOLDER.findall(text)):
            message = "Kairos' protocol shows no hardware: this placeholder stays empty."
            hint = "Write the value, or a template of Kairos such as {{ .MachineID }}."
            yield Problem(path=path, mark=node.mark, message=message, suggestion=hint)


def unheeded(document: Document) -> Iterator[Problem]:
    """Errors in what goes to a Kairos node: protection that is asked for and would not be there."""
    asked = document.get("install", "encrypt")
    mode = asked.get("mode") if isinstance(asked, dict) else asked
    if asked is not None and mode != "none":
        path: Path = ("install", "encrypt")
        message = "Kairos ignores this: its disk would stay open."
        yield _error(document, path, message, "Write install.encrypted_partitions, or mode: none.")
    if document.get("expect"):
        message = "Kairos' protocol shows no hardware: nothing could be held against this."
        yield _error(document, ("expect",), message, "Remove it, and make sure of the photo.")


def _endings(document: Document) -> Iterator[Problem]:
    for name in ("install", "upgrade", "reset"):
        if document.get(name, "reboot") is True and document.get(name, "poweroff") is True:
            message = "reboot and poweroff cannot both be true."
            yield _warning(document, (name, "poweroff"), message)


def _error(document: Document, path: Path, message: str, hint: str) -> Problem:
    mark = document.key_position(path)
    return Problem(path=path, mark=mark, message=message, suggestion=hint)


def _warning(document: Document, path: Path, message: str, hint: str = "") -> Problem:
    mark = document.key_position(path)
    severity = Severity.WARNING
    return Problem(path=path, mark=mark, message=message, suggestion=hint, severity=severity)


MISTAKEN = {
    **dict.fromkeys(
        (f"{name}.enable" for name in DISTRIBUTIONS),
        "Write `enabled: true`: with `enable` Kairos starts no cluster.",
    ),
    "kubevip.enabled": "Write `enable: true` here.",
    "p2p.auto.enabled": "Write `enable: true` here.",
    "p2p.auto.ha.enabled": "Write `enable: true` here.",
    "p2p.vpn.enable": "Write `create` and `use`.",
    "kairos": "It is called `p2p` now; Kairos 2 and later ignore this.",
    "c3os": "It is called `p2p` now; Kairos 2 and later ignore this.",
    "network_token": "Write it below `p2p`.",
    "device": "Write it below `install`.",
    "auto": "Write it below `install`.",
    "reboot": "Write it below `install`.",
    "poweroff": "Write it below `install`.",
    "ssh_keys": "Write `ssh_authorized_keys`.",
    "users.password": "Write `passwd`.",
    "users.ssh_keys": "Write `ssh_authorized_keys`.",
    "stages.systctl": "Write `sysctl`; Kairos' own example has this typing error.",
    **dict.fromkeys(
        ("bootcmd", "chpasswd", "mounts", "ntp", "package_update", "package_upgrade", "packages")
        + ("disk_setup", "fs_setup", "timezone", "locale", "apt", "swap", "network"),
        "A key of cloud-init that Kairos does not execute; write it as a step below `stages`.",
    ),
}
"""Keys that people write in a config for Kairos, without list numbers and names of stages, and what
to write instead."""


def mistaken(path: Path) -> str:
    """What to write instead of the unknown key at `path`; empty if we do not know it."""
    named = [key for key in path if isinstance(key, str)]
    if named[0] == "stages" and len(named) > 2:
        named = ["stages", *named[2:]]
    return MISTAKEN.get(".".join(named), "")
