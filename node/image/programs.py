"""Programs that come from elsewhere, such as k3s: fetched once, believed by their digest only."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
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
WRONG = (OSError, ValueError, http.client.HTTPException)


def fetch(recipe: Recipe, wanted: ProviderFile, store: Store) -> Path:
    """The program's file in the cache.

    Raises errors.DigestWrong, errors.SourceUnreadable for a file, errors.ProgramNotFetched for
    an address.
    """
    inputs = [wanted.sha256]
    return store.part("program", inputs, lambda draft: _take(recipe, wanted, draft)) / "program"


def _take(recipe: Recipe, wanted: ProviderFile, draft: Path) -> None:
    try:
        with _open(recipe, wanted.source) as source, (draft / "program").open("wb") as target:
            digest = _copy(source, target)
    except WRONG as wrong:
        raise _named(wrong, wanted.source) from None
    if digest != wanted.sha256:
        raise errors.DigestWrong(f"It is {digest}.", element=wanted.source)


def _named(wrong: Exception, source: str) -> errors.MissingError:
    if isinstance(wrong, urllib.error.HTTPError):
        wrong.close()  # it is the answer as well
    why = str(getattr(wrong, "reason", "") or getattr(wrong, "strerror", "") or wrong)
    if source.startswith("https://"):
        return errors.ProgramNotFetched(f"({why})", element=source)
    return errors.SourceUnreadable(f"({why})", element=source)


def _open(recipe: Recipe, source: str) -> IO[bytes]:
    if "://" not in source:
        return recipe.place(source).open("rb")
    if not source.startswith("https://"):
        raise ValueError("only https:// is fetched")
    opened: IO[bytes] = urllib.request.build_opener(_OnlyHttps).open(source, timeout=SECONDS)
    return opened


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows a server elsewhere, but not out of TLS: a digest may be a mistake as well."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            fp.close()
            raise ValueError(f"it leads to {newurl}, and only https:// is fetched")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > LIMIT:
            raise ValueError(f"larger than {LIMIT >> 20} MiB")
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()
