"""Programs that come from elsewhere, such as k3s: fetched once, believed by their digest only."""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path
from typing import IO

from node.image.recipe import ProviderFile, Recipe
from node.image.store import Store
from pairing import errors

SECONDS = 60.0
"""Without a byte from the server."""
LIMIT = 1 << 30
CHUNK = 1 << 20


def fetch(recipe: Recipe, wanted: ProviderFile, store: Store) -> Path:
    """The program's file in the cache.

    Raises errors.DigestWrong and errors.SourceUnreadable.
    """
    inputs = [wanted.sha256]
    return store.part("program", inputs, lambda draft: _take(recipe, wanted, draft)) / "program"


def _take(recipe: Recipe, wanted: ProviderFile, draft: Path) -> None:
    try:
        with _open(recipe, wanted.source) as source, (draft / "program").open("wb") as target:
            digest = _copy(source, target)
    except (OSError, ValueError) as wrong:
        why = str(getattr(wrong, "reason", "") or getattr(wrong, "strerror", "") or wrong)
        raise errors.SourceUnreadable(f"({why})", element=wanted.source) from None
    if digest != wanted.sha256:
        raise errors.DigestWrong(f"It is {digest}.", element=wanted.source)


def _open(recipe: Recipe, source: str) -> IO[bytes]:
    if "://" not in source:
        return recipe.place(source).open("rb")
    if not source.startswith("https://"):
        raise ValueError("only https:// is fetched")
    opened: IO[bytes] = urllib.request.urlopen(source, timeout=SECONDS)
    return opened


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > LIMIT:
            raise ValueError(f"larger than {LIMIT >> 20} MiB")
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()
