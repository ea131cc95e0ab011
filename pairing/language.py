"""The languages in which this project speaks to people in shops."""

from __future__ import annotations

LANGUAGES = ("en", "es", "fr", "de", "pt")
DEFAULT = "en"


def language(wish: str) -> str:
    """The language for a wish such as `de`, `de_DE.UTF-8` or `pt-BR`; English for others."""
    short = wish.strip().lower().replace("-", "_").split("_")[0].split(".")[0]
    return short if short in LANGUAGES else DEFAULT
