"""What a pairing carries: Kairos' map of four texts.

Stock nodes read `cc` only; what the others ask for must also stand in the config.
Source: `kairosctl register` and the agent's install command, read in 2026.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from pairing import errors
from pairing.edgevpn.limits import MAX_PAYLOAD


@dataclass(frozen=True, slots=True)
class Payload:
    """`config`: the text of a config. `device`: a disk, or empty."""

    config: str = field(repr=False)
    device: str = ""
    reboot: bool = False
    poweroff: bool = False


def to_json(payload: Payload) -> str:
    """As `kairosctl register` says it. Raises errors.KairosConfigTooLarge beyond 256 KiB."""
    body = {"cc": payload.config, "device": payload.device}
    body |= {"reboot": ""} if payload.reboot else {}
    body |= {"poweroff": ""} if payload.poweroff else {}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_PAYLOAD:
        raise errors.KairosConfigTooLarge(f"(It would be {size:,} bytes on the wire.)")
    return text


def from_json(text: str) -> Payload:
    """What somebody sent. Unknown keys are ignored. Raises errors.KairosPayloadInvalid."""
    if len(text) > MAX_PAYLOAD or len(text.encode("utf-8", "replace")) > MAX_PAYLOAD:
        raise errors.KairosPayloadInvalid("(It is larger than 256 KiB.)")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise errors.KairosPayloadInvalid("(It is not JSON.)") from None
    if not isinstance(body, dict) or not isinstance(body.get("cc"), str) or not body["cc"]:
        raise errors.KairosPayloadInvalid("(There is no text `cc` in it.)")
    device = body.get("device", "")
    if not isinstance(device, str) or len(device) > 4096 or not device.isprintable():
        raise errors.KairosPayloadInvalid("(Its `device` is no path.)")
    if not _is_text(body["cc"]) or not _is_text(device):
        raise errors.KairosPayloadInvalid("(It is not UTF-8.)")
    return Payload(body["cc"], device, "reboot" in body, "poweroff" in body)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
