"""What is sent back to whoever took a photo, one file per language: `Texts` filled in.

To add a language: a file here, its name in `pairing.language`. The tests say what is missing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from pairing.language import language


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """All that a photographer is told in one language.

    `sentences` by the slug of an error or of what it descends from: each says what to do, in one or
    two sentences of at most 200 characters. A `{where}` in one is filled in from `places`.
    """

    new_photo: str
    """Where an error has no sentence of its own."""
    sentences: Mapping[str, str]
    places: Mapping[str, str]
    """Names of `pairing.qr.diagnose.PLACES`, as an addition such as "at the top left"."""
    labels: Mapping[str, str]
    """Short words for `decode --annotate`, by slug; also `read` and `seen`."""


def load(wish: str) -> Texts:
    """The texts in the language of `wish` (see `pairing.language`)."""
    texts = importlib.import_module(f"pairing.qr.texts.{language(wish)}").TEXTS
    assert isinstance(texts, Texts)
    return texts
