"""What `kairos-register --kairos` sends, and everything about it that can be wrong beforehand.

Stock nodes read the config and nothing else, so disk, restart and `auto` are written into it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cli import configs
from pairing import errors
from pairing.config import (
    Document,
    Problem,
    dump,
    hash_passwords,
    load_file,
    merge,
    redact,
    set_value,
)
from pairing.config.exposed import exposed
from pairing.config.kairos import our_placeholders, unheeded
from pairing.config.validate import require_valid
from pairing.edgevpn.payload import Payload, to_json

if TYPE_CHECKING:
    from cli.register import Asked

SAID = (
    (
        "Kairos' own protocol: anyone who has the photo can read this config, send another one, and"
        " take this node's place."
    ),
    "Who receives the config is not verified, and nothing is heard of the machine afterwards.",
)
"""What is said once, before anything is sent (research: no sender or receiver is authenticated)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KairosOrder:
    """The same for every node of a run."""

    payload: Payload
    hostname: str = ""
    warnings: Sequence[Problem] = field(default=())
    shown: Sequence[str] = field(default=())
    """The config as it is sent, line by line, without anything that may be a secret."""


def read(asked: Asked) -> KairosOrder:
    """Raises errors.UsageError for options that this protocol has no answer to, and
    errors.ConfigError with its children for a config that must not or cannot be sent."""
    refuse_options(asked)
    document = merge([load_file(Path(path)) for path in asked.config_files])
    for assignment in asked.assignments:
        document = set_value(document, assignment)
    if asked.device:
        document = set_value(document, f"install.device={_quoted(asked.device)}")
    reboot = asked.reboot or configs.flag(document, "reboot")
    poweroff = asked.poweroff or configs.flag(document, "poweroff")
    configs.refuse_contradiction(reboot, poweroff)
    document = hash_passwords(completed(document, reboot=reboot, poweroff=poweroff))
    warnings = require_valid(document, "kairos")
    if lost := [*our_placeholders(document), *unheeded(document)]:
        raise errors.ConfigError(problems=lost)
    if not asked.allow_secrets:
        refuse_secrets(document)
    payload = Payload(
        config=dump(document).decode(),
        device=require_disk(document),
        reboot=reboot,
        poweroff=poweroff,
    )
    to_json(payload)  # too large is said before a photo is even read
    return KairosOrder(
        payload=payload,
        hostname=configs.hostname(document),
        warnings=warnings,
        shown=tuple(dump(redact(document)).decode().splitlines()),
    )


def _quoted(text: str) -> str:
    """As text, whatever YAML would make of it."""
    return f"'{text}'" if "'" not in text else text


def completed(document: Document, *, reboot: bool, poweroff: bool) -> Document:
    """With what stock nodes ignore when it is said beside the config."""
    document = set_value(document, "install.auto=true")
    for name, asked in (("reboot", reboot), ("poweroff", poweroff)):
        if asked:
            document = set_value(document, f"install.{name}=true")
    return document


def require_disk(document: Document) -> str:
    """The disk that the config names. Raises errors.KairosDiskNotNamed."""
    device = document.get("install", "device")
    if not isinstance(device, str) or not device.strip():
        raise errors.KairosDiskNotNamed("With none, Kairos takes the largest disk.")
    return device


def refuse_secrets(document: Document) -> None:
    """Raises errors.KairosSecretsRefused naming each secret's place, never its value."""
    if found := exposed(document):
        raise errors.KairosSecretsRefused(problems=found)


_MULTIADDR = re.compile(r"public|/[a-z0-9]+/[!-~]+/p2p/[A-Za-z0-9]+")
"""By its shape; libp2p, which knows better, is not loaded yet."""
_NOTHING = "Kairos' protocol has no"


def refuse_options(asked: Asked) -> None:
    """Raises errors.UsageError naming the first option that means nothing with `--kairos`."""
    told = "it ends when the node has the config; nothing is heard of the machine afterwards"
    wrong = (
        ("--wait", asked.wait is not None, f"{_NOTHING} states to wait for: {told}."),
        ("--approve", asked.approve != "auto", f"{_NOTHING} hardware to approve: it shows none."),
        ("--confirm-words", asked.confirm_words, f"{_NOTHING} words to compare."),
        ("--relay", bool(asked.relay), f"{_NOTHING} relays; --bootstrap names peers of a DHT."),
        ("--relay-ca", asked.relay_ca is not None, f"{_NOTHING} relays."),
        ("--relay-token-file", asked.relay_token_file is not None, f"{_NOTHING} relays."),
        ("--ek-ca", asked.ek_ca is not None, f"{_NOTHING} proof of a TPM."),
        ("--label", bool(asked.label), "A Kairos node is none of `kairos-fleet nodes`."),
    )
    for option, given, why in wrong:
        if given:
            raise errors.UsageError(why, element=f"{option} with --kairos")
    for text in asked.bootstrap:
        if not _MULTIADDR.fullmatch(text):
            raise errors.BootstrapInvalid(element=text)
