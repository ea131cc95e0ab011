"""`kairos-fleet decode`: what the photos show."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli import screen
from pairing import errors

HELP = """Read the codes in photos: a dry run for kairos-register, or for any QR code.

\b
Examples:
  kairos-fleet decode photo.jpg                 can it be read?
  kairos-fleet decode photo.jpg | kairos-fleet token -
  kairos-fleet decode --explain bad.jpg         what was tried
  kairos-fleet decode --lang es bad.jpg         and what to answer the shop
  kairos-fleet decode --output jsonl photos/    a line for each photo
  kairos-fleet decode --any poster.jpg          the text of every QR code
  kairos-fleet decode - < photo.jpg

A token holds a secret, so it is printed to a pipe or file only; a terminal shows its name.
Exit codes: 0 read, 4 not (the reason is said), 8 some of several not.
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be shown of a photo."""

    any_text: bool
    explain: bool
    output: str
    language: str
    several: bool


@click.command(help=HELP)
@click.argument("photo", nargs=-1, type=click.Path(), required=True, metavar="PHOTO...")
@click.option("--any", "any_text", is_flag=True, help="Every QR code's text, not only tokens.")
@click.option("--explain", is_flag=True, help="Say what was tried and where codes were seen.")
@click.option("--try-hard", is_flag=True, help="Take more time for bad photos.")
@click.option(
    "--lang", metavar="LANG",
    help="Also say what to send back to the photographer: en, es, fr, de, pt.",
)  # fmt: skip
@click.option(
    "--output", type=click.Choice(["human", "jsonl"]), default="human", show_default=True,
    help="Texts, or a JSON line for each photo.",
)  # fmt: skip
def decode(
    photo: tuple[str, ...],
    any_text: bool,
    explain: bool,
    try_hard: bool,
    lang: str | None,
    output: str,
) -> int:
    """See HELP."""
    if lang is not None:
        from pairing.language import LANGUAGES

        if lang not in LANGUAGES:
            raise errors.UsageError(f"The languages are {', '.join(LANGUAGES)}.", element=lang)
    from cli.sources import sources
    from pairing.qr.read import PhotoReader

    given = sources(photo)
    wanted = Wanted(any_text, explain, output, lang or "", several=len(given) > 1)
    with PhotoReader(any_text=any_text, hard=try_hard) as reader:
        return screen.exit_code(
            [_one(reader, source.name, source.photo, wanted) for source in given]
        )


def _one(reader: Any, name: str, photo: Path | bytes | None, wanted: Wanted) -> int:
    from pairing.qr.reading import Reading, token_from

    seen = Reading(photo=name)
    wrong: errors.KnownError | None = None
    try:
        if photo is None:
            raise errors.NotAPicture("It is the text of a token.", element=name)
        seen = reader.read(photo, name=name)
        if not (wanted.any_text and seen.texts):
            token_from(seen)
    except errors.KnownError as error:
        wrong = error
    if wanted.output == "jsonl":
        click.echo(json.dumps(_body(name, seen, wrong, wanted), ensure_ascii=True))
    else:
        _show(name, seen, wrong, wanted)
    return int(wrong.exit_code) if wrong else 0


def _body(name: str, seen: Any, wrong: errors.KnownError | None, wanted: Wanted) -> dict[str, Any]:
    from pairing.report import error_json

    body: dict[str, Any] = {"schema": 1, "photo": name, "tokens": list(seen.tokens)}
    if wanted.any_text:
        body["texts"] = list(seen.texts)
    body["ms"] = seen.cpu_ms
    if wanted.explain:
        body |= {
            "format": seen.format,
            "size": [seen.width, seen.height],
            "steps": list(seen.steps),
            "codes": [{"corners": code.corners, "step": code.step} for code in seen.codes],
            "unreadable": list(seen.unreadable),
        }
    if wrong is not None:
        body |= {"reason": wrong.slug, "error": error_json(wrong)}
        if wanted.language:
            body["advice"] = _advice(wrong, wanted)
    return body


def _show(name: str, seen: Any, wrong: errors.KnownError | None, wanted: Wanted) -> None:
    from pairing.report import error_lines, safe

    if wanted.explain and seen.format:
        for line in _explained(seen):
            click.echo(safe(f"{name}: {line}"), err=True)
    if wrong is not None:
        for line in error_lines(wrong):
            click.echo(line, err=True)
        if wanted.language:
            click.echo(f"send back: {_advice(wrong, wanted)}", err=True)
        return
    for text in _texts(seen, wanted):
        click.echo(safe(f"{name}\t{text}" if wanted.several else text))


def _advice(wrong: errors.KnownError, wanted: Wanted) -> str:
    from pairing.qr.advice import advice

    return advice(wrong, wanted.language)


def _texts(seen: Any, wanted: Wanted) -> Sequence[str]:
    tokens = set(seen.tokens)
    texts = seen.texts if wanted.any_text else seen.tokens
    if not sys.stdout.isatty():
        return list(texts)
    return [_named(text) if text in tokens else text for text in texts]


def _named(text: str) -> str:
    """A token without its secret."""
    from pairing import peertoken

    try:
        return f"a token, code {peertoken.parse(text, loopback=True).name} (pipe this to see it)"
    except errors.TokenInvalid:
        return "a token of Kairos (pipe this to see it)"


def _explained(seen: Any) -> list[str]:
    lines = [f"{seen.format}, {seen.width} x {seen.height}, {seen.cpu_ms} ms of CPU"]
    lines.append(f"tried: {', '.join(seen.steps) or 'nothing'}")
    lines += [f"read by {code.step!r} at {_box(code.corners)}" for code in seen.codes]
    lines += [f"a code that cannot be read at {_box(corners)}" for corners in seen.unreadable]
    return lines


def _box(corners: Sequence[tuple[int, int]]) -> str:
    across, down = [x for x, _ in corners] or [0], [y for _, y in corners] or [0]
    return f"({min(across)}, {min(down)}) to ({max(across)}, {max(down)})"
