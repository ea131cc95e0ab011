"""What a node is told before anybody pairs it: by its image and by the kernel line.

The image has it in `/etc/kairos-register/node.yaml`, from its recipe; the kernel words
`kairos.relay=` (repeatable), `kairos.lang=` and `kairos.port=` win over it.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pairing import errors, keys, tokenbytes
from pairing.protocol.callers import NodePolicy
from pairing.protocol.wire import unbase64

FILE = Path("/etc/kairos-register/node.yaml")
LANGUAGES = ("en", "es", "fr", "de", "pt")
PORT = 4917
FILE_LIMIT = 64 * 1024
WINDOW_LIMIT = 7 * 24 * 3600
BOOTSTRAP = re.compile(
    r"public|/((ip4|ip6|dns|dns4|dns6)/[^/\s]+/tcp/[0-9]{1,5}|dnsaddr/[^/\s]+)/p2p/[A-Za-z0-9]{40,64}"
)
"""A libp2p address of a DHT server, reached by TCP; the recipe's schema has the same."""


class Form(enum.StrEnum):
    """What the code on the screen is: ours, Kairos' own, or Kairos' own that carries ours."""

    NATIVE = "native"
    KAIROS = "kairos"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a node pairs. `window` and `abort_delay` in seconds; `relays` in the order of use.

    Pinned `fleets` make it serve only their stations. `mdns`: be found on the LAN. `open_rescue`
    (in the file `rescue: open`): whoever has the photo may repair a machine that nobody owns.
    `form`: of the code on the screen (in the file `token`). `bootstrap`: libp2p addresses where a
    code of Kairos' form is also looked for, or the word `public` for the public network's.
    """

    fleets: tuple[keys.PinnedFleet, ...] = ()
    relays: tuple[str, ...] = ()
    language: str = "en"
    port: int = PORT
    window: int = 3600
    abort_delay: int = 30
    mdns: bool = True
    open_rescue: bool = False
    rescue_minutes: int = 30
    form: Form = Form.NATIVE
    bootstrap: tuple[str, ...] = ()

    def policy(self) -> NodePolicy:
        """The part that the protocol enforces."""
        return NodePolicy(
            fleets=self.fleets, window=float(self.window), abort_delay=float(self.abort_delay)
        )


def read(path: Path = FILE) -> Settings:
    """The settings in a file; the defaults if there is none.

    Raises errors.SettingsInvalid: a node that cannot read its pins must not pair with just anybody.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT)
    except FileNotFoundError:
        return Settings()
    except OSError as wrong:
        raise errors.SettingsInvalid(wrong.strerror or "", element=str(path)) from None
    try:
        return _from_yaml(_parsed(data) or {})
    except (ValueError, TypeError, errors.KnownError) as wrong:
        raise errors.SettingsInvalid(f"({str(wrong).splitlines()[0]})", element=str(path)) from None


def _parsed(data: bytes) -> Any:
    """Raises ValueError."""
    try:
        return json.loads(data)  # as images have it, without a parser that has to be loaded first
    except ValueError:
        import yaml

        try:
            return yaml.safe_load(data)
        except yaml.YAMLError as wrong:
            raise ValueError(str(wrong)) from None


def _from_yaml(body: Any) -> Settings:
    if not isinstance(body, Mapping):
        raise ValueError("not a map")
    known = {"fleets", "relays", "language", "port", "window", "abort_delay", "mdns"}
    known |= {"rescue", "rescue_minutes", "token", "bootstrap"}
    if unknown := {str(key) for key in body} - known:
        raise ValueError(f"unknown key {min(unknown)}")
    default = Settings()
    form = _form(body.get("token", default.form.value), fleets=bool(_list(body, "fleets")))
    return Settings(
        fleets=tuple(fleet(item) for item in _list(body, "fleets")),
        relays=tuple(relay(item) for item in _list(body, "relays")),
        language=_language(body.get("language", default.language)),
        port=_number(body, "port", default.port, 65535),
        window=_number(body, "window", default.window, WINDOW_LIMIT),
        abort_delay=_number(body, "abort_delay", default.abort_delay, 3600),
        mdns=_flag(body, "mdns", default.mdns),
        open_rescue=_open_rescue(body.get("rescue", "owner")),
        rescue_minutes=_number(body, "rescue_minutes", default.rescue_minutes, 24 * 60),
        form=form,
        bootstrap=tuple(_bootstrap(item) for item in _list(body, "bootstrap")),
    )


def with_kernel_words(settings: Settings, words: Iterable[str]) -> Settings:
    """Apply `kairos.relay=`, `kairos.lang=`, `kairos.port=`.

    A word that makes no sense is passed over: the kernel line must never keep a node from pairing.
    """
    relays: list[str] = []
    for word in words:
        name, _, value = word.partition("=")
        try:
            if name == "kairos.relay":
                relays.append(relay(value))
            elif name == "kairos.lang":
                settings = replace(settings, language=_language(value[:2]))
            elif name == "kairos.port":
                settings = replace(settings, port=_number({"port": int(value)}, "port", 0, 65535))
        except (ValueError, errors.KnownError):
            continue
    return replace(settings, relays=tuple(relays) or settings.relays)


def fleet(item: Any) -> keys.PinnedFleet:
    """A pinned fleet. Raises ValueError for what is no key, or more than a fleet has."""
    if isinstance(item, str):
        item = {"key": item}
    if not isinstance(item, Mapping) or set(item) - {"key", "minimum", "revoked"}:
        raise ValueError("a fleet has key, minimum and revoked")
    key = unbase64(str(item.get("key", "")))
    if not tokenbytes.is_point(key):
        raise ValueError("a fleet's key is no key")
    revoked = frozenset(int(sequence) for sequence in item.get("revoked", ()))
    return keys.PinnedFleet(key, int(item.get("minimum", 0)), revoked)


def relay(item: Any) -> str:
    """A relay's address. Raises errors.RelayAddressInvalid."""
    from pairing.transport.relay import relay_id  # TLS and all: only where a relay is named

    text = str(item)
    relay_id(text)
    return text


def _language(value: Any) -> str:
    if value not in LANGUAGES:
        raise ValueError(f"language is one of {', '.join(LANGUAGES)}")
    return str(value)


def _open_rescue(value: Any) -> bool:
    if value not in ("owner", "open"):
        raise ValueError("rescue is owner or open")
    return bool(value == "open")


def _form(value: Any, *, fleets: bool) -> Form:
    if value not in set(Form):
        raise ValueError(f"token is one of {', '.join(Form)}")
    if fleets and value != Form.NATIVE:
        raise ValueError("a code of Kairos' form obeys no fleet: pin none")
    return Form(value)


def _bootstrap(item: Any) -> str:
    if not isinstance(item, str) or not BOOTSTRAP.fullmatch(item):
        raise ValueError("bootstrap is an address such as /ip4/192.0.2.1/tcp/4001/p2p/12D3..")
    return item


def _list(body: Mapping[str, Any], key: str) -> list[Any]:
    value = body.get(key) or []
    if not isinstance(value, list) or len(value) > 16:
        raise ValueError(f"{key} is not a list of at most 16")
    return value


def _number(body: Mapping[str, Any], key: str, default: int, most: int) -> int:
    value = body.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{key} is not a whole number from 0 to {most}")
    return value


def _flag(body: Mapping[str, Any], key: str, default: bool) -> bool:
    value = body.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"{key} is not true or false")
    return value
