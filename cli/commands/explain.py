"""`kairos-fleet explain`: what an error's number means, read aloud in a shop or out of a log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pairing.errors import KnownError

HELP = """Say what an error means, and what to do.

\b
Examples:
  kairos-fleet explain E612
  kairos-fleet explain e612 disk-busy
  kairos-fleet explain tpm              all whose name or sentence holds it
  kairos-fleet explain --output jsonl > errors.jsonl

A number is the same on the machine's screen and here. Without a word: all of them.

Exit codes: 0 shown, 2 there is none.
"""


@click.command(help=HELP)
@click.argument("words", metavar="NUMBER|NAME|WORD...", nargs=-1)
@click.option(
    "--output", type=click.Choice(["human", "jsonl"]), default="human", show_default=True,
    help="Lines for people, or one JSON object a line.",
)  # fmt: skip
def explain(words: tuple[str, ...], output: str) -> None:
    """See HELP."""
    from pairing import errors
    from pairing.report import error_json, safe

    every = list(errors.all_errors())
    found = every if not words else []
    for word in words:
        meant = _meant(every, word)
        if not meant:
            raise errors.UsageError("There is no error of this number or name.", element=word[:80])
        found += [error for error in meant if error not in found]
    for kind in found:
        error = kind()
        if output == "jsonl":
            click.echo(json.dumps({"schema": 1, **error_json(error)}))
            continue
        again = ", trying again may help" if error.retryable else ""
        click.echo(f"{error.code} {error.slug} (exit {int(error.exit_code)}{again})")
        click.echo(safe(f"  {error.sentence}"))
        click.echo(safe(f"  {error.hint}"))


def _meant(every: list[type[KnownError]], word: str) -> list[type[KnownError]]:
    """The one of this number or name; else those that speak of it."""
    sought = word.lower()
    exact = [one for one in every if sought in (f"e{one.number}", str(one.number), one.slug)]
    return exact or [one for one in every if sought in f"{one.slug} {one().sentence}".lower()]
