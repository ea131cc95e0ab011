"""A recipe: what an image is made of. YAML in, frozen data out.

The schema is published (`recipe.schema.json`, `kairos-fleet image schema`); what it cannot say is
checked here. Paths in a recipe are meant from the recipe's folder.
"""

from __future__ import annotations

import functools
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from node import settings
from pairing import errors
from pairing.config import Document, Problem, load_file
from pairing.config.schema import Rules, check_against

HEADER = "#kairos-image"
CONSOLES = ("tty0", "ttyS0")
PROVIDERS = "/usr/lib/kairos-register/providers.d"
PROGRAMS = MappingProxyType({"k3s": "/usr/bin/k3s", "kubelet": "/usr/bin/kubelet"})
"""Providers that are programs of their own, not plug-ins of ours."""

NO_FLEET, NO_RELAY = "This is no public key of a fleet.", "This is not the address of a relay."
WEAK = (
    "whoever has a photo of the screen can install the machine, or read the config that is sent to"
    " it; its disk is not encrypted. What docs/ATTACKS.md promises of our own code does not hold."
)
"""Said when an image is built whose code is of Kairos' form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where the root tree comes from: a Debian suite, unless `oci` or `dockerfile` is there."""

    suite: str = "trixie"
    mirror: str = ""
    components: Sequence[str] = ("main",)
    oci: str = ""
    dockerfile: str = ""

    @property
    def is_debian(self) -> bool:
        """Whether its packages come from the suite: `kernel` and `packages` count then."""
        return not (self.oci or self.dockerfile)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """A file of the image: its content, or the file with it."""

    path: str
    content: str = ""
    source: str = ""
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFile:
    """A program that comes from elsewhere: `source` is a file or a URL, checked by digest."""

    name: str
    source: str
    sha256: str
    path: str = ""

    @property
    def target(self) -> str:
        """Where it lies in the image."""
        return self.path or PROGRAMS.get(self.name, f"{PROVIDERS}/{self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that goes into an image. `folder` is what its paths are meant from."""

    version: str
    id: str = "node"
    flavour: str = "core"
    kernel: str = "cloud"
    base: Base = field(default_factory=Base)
    packages: Sequence[str] = ()
    files: Sequence[ImageFile] = ()
    persistent: Sequence[str] = ()
    consoles: Sequence[str] = CONSOLES
    kernel_words: Sequence[str] = ()
    providers: Sequence[ProviderFile] = ()
    fleets: Sequence[str] = ()
    relays: Sequence[str] = ()
    token: str = "native"
    bootstrap: Sequence[str] = ()
    language: str = "en"
    secure_boot: str = "off"
    media: Sequence[str] = ("stick",)
    tries: int = 3
    folder: Path = Path()

    def place(self, path: str) -> Path:
        """A path of the recipe, as seen from here."""
        return self.folder / path


@functools.cache
def schema() -> Rules:
    """The published JSON Schema; do not change it."""
    text = pkgutil.get_data(__package__, "recipe.schema.json")
    assert text is not None
    loaded: Rules = json.loads(text)
    return loaded


def read(path: Path, *, allow_open: bool = False, sources: bool = False) -> Recipe:
    """Read and check a recipe. `allow_open`: it need not pin a fleet; `sources`: the files that it
    names must be there.

    Raises errors.RecipeInvalid with every problem, errors.RecipeMissing, errors.ConfigTooLarge.
    """
    try:
        document = load_file(path, (HEADER,))
    except errors.ConfigFileMissing as missing:
        raise errors.RecipeMissing(missing.detail, element=str(path)) from None
    except errors.ConfigTooLarge:
        raise
    except errors.ConfigError as wrong:
        raise errors.RecipeInvalid(problems=wrong.problems) from None
    found = check_against(document, schema())
    found = found or list(_across_keys(document, allow_open=allow_open))
    if sources and not found:
        found = list(_sources(document, path.parent))
    if found:
        raise errors.RecipeInvalid(problems=found)
    return from_plain(document.value, path.parent)


def with_version(recipe: Recipe, version: str) -> Recipe:
    """The same recipe with another version. Raises errors.UsageError."""
    rules = schema()["properties"]["version"]
    if not re.search(rules["pattern"], version):
        raise errors.UsageError(f"A version {rules['x-message']}.", element=version)
    return replace(recipe, version=version)


def from_plain(body: Mapping[str, Any], folder: Path) -> Recipe:
    """A recipe from what a checked file says."""
    same = ("version", "id", "flavour", "kernel", "language", "token", "secure_boot", "tries")
    pairing_lists = ("fleets", "relays", "bootstrap")
    lists = ("packages", "persistent", "consoles", "kernel_words", "media", *pairing_lists)
    simple = {key: body[key] for key in same if key in body}
    simple |= {key: tuple(body[key]) for key in lists if key in body}
    base = dict(body.get("base", {}))
    if "components" in base:
        base["components"] = tuple(base["components"])
    return Recipe(
        **simple,
        base=Base(**base),
        files=tuple(_file(item) for item in body.get("files", ())),
        providers=tuple(ProviderFile(**item) for item in body.get("providers", ())),
        folder=folder,
    )


def _file(item: Mapping[str, Any]) -> ImageFile:
    return ImageFile(**{**item, "mode": int(item.get("mode", "0644"), 8)})


def _at(document: Document, path: tuple[str | int, ...], message: str, hint: str = "") -> Problem:
    return Problem(path=path, mark=document.position(path), message=message, suggestion=hint)


def _across_keys(document: Document, *, allow_open: bool) -> Iterator[Problem]:
    """What the schema cannot say."""
    at = functools.partial(_at, document)
    body = document.value
    if not body.get("fleets") and not (body.get("open") or allow_open):
        hint = "Pin one (kairos-fleet keys export --fleet), or say `open: true` or --open."
        yield at(("fleets",), "No fleet is pinned: anybody's photo could claim it.", hint)
    if body.get("fleets") and body.get("open"):
        yield at(("open",), "An image is open or pins fleets, not both.")
    yield from _code_form(document)
    yield from _unusable(document)
    base = body.get("base", {})
    origins = [name for name in ("suite", "oci", "dockerfile") if name in base]
    if len(origins) > 1:
        yield at(("base",), f"Only one of {', '.join(origins)} can be the base.")
    if origins and origins != ["suite"]:
        if body.get("packages"):
            yield at(("packages",), "Packages come with the base image.", "Install them there.")
        if "kernel" in body:
            hint = "Remove it. A base of ours has it by `kairos-fleet image base --kernel`."
            yield at(("kernel",), "The kernel comes with the base image.", hint)
    for number, item in enumerate(body.get("files", ())):
        if ("content" in item) == ("source" in item):
            yield at(("files", number), "A file has either content or source.")


def _code_form(document: Document) -> Iterator[Problem]:
    """Kairos' form of the code, and what does not go with it or without it."""
    if (document.get("token") or "native") == "native":
        if document.get("bootstrap"):
            hint = "Remove it, or say token: kairos or both."
            yield _at(
                document, ("bootstrap",), "Only a code of Kairos' form is looked for there.", hint
            )
    elif document.get("fleets"):
        hint = "Pin no fleet and say open: true, or remove token."
        message = "Whoever has a photo of Kairos' code controls the machine."
        yield _at(document, ("token",), message, hint)


def _unusable(document: Document) -> Iterator[Problem]:
    """What each machine that was built with it would stop at (E707)."""
    for key, check, message, hint in (
        ("fleets", settings.fleet, NO_FLEET, "kairos-fleet keys export --fleet prints it."),
        ("relays", settings.relay, NO_RELAY, errors.RelayAddressInvalid.hint),
    ):
        for number, item in enumerate(document.get(key) or ()):
            try:
                check(item)
            except (ValueError, errors.KnownError):
                yield _at(document, (key, number), message, hint)


def _sources(document: Document, folder: Path) -> Iterator[Problem]:
    """Files that the recipe names: seen at once, not after minutes of building."""
    body = document.value
    named: list[tuple[tuple[str | int, ...], str]] = [
        ((key, number, "source"), item["source"])
        for key in ("files", "providers")
        for number, item in enumerate(body.get(key, ()))
        if "source" in item and "://" not in item["source"]
    ]
    if file := body.get("base", {}).get("dockerfile"):
        named.append((("base", "dockerfile"), file))
    for path, source in named:
        if not (folder / source).exists():
            hint = f"It is meant from {folder.absolute()}."
            yield _at(document, path, f"There is no {source}.", hint)
