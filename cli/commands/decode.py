"""`kairos-fleet decode`: what the photos show."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import screen
from pairing import errors

if TYPE_CHECKING:
    from cli.annotating import Annotated
    from cli.sources import Source
    from pairing.qr.read import PhotoReader
    from pairing.qr.reading import Reading, Sum

HELP = """Read the codes in photos: a dry run for kairos-register, or for any QR code.

\b
Examples:
  kairos-fleet decode photo.jpg                 can it be read?
  kairos-fleet decode photo.jpg | kairos-fleet token -
  kairos-fleet decode --explain bad.jpg         what was tried
  kairos-fleet decode --lang es bad.jpg         and what to answer the shop
  kairos-fleet decode --annotate out.png bad.jpg    draw what was seen
  kairos-fleet decode --output jsonl photos/    a line for each photo
  kairos-fleet decode export.zip scan.pdf       the pictures inside
  kairos-fleet decode bad1.jpg bad2.jpg         of one screen: read together
  kairos-fleet decode --any poster.jpg          the text of every QR code
  kairos-fleet decode - < photo.jpg

A token holds a secret, so it is printed to a pipe or file only; a terminal shows its name. The
picture of --annotate shows the code as the photo does; it is written for its owner alone.
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
    annotated: Annotated | None = None


@click.command(help=HELP)
@click.argument("photo", nargs=-1, type=click.Path(), required=True, metavar="PHOTO...")
@click.option("--any", "any_text", is_flag=True, help="Every QR code's text, not only tokens.")
@click.option("--explain", is_flag=True, help="Say what was tried and where codes were seen.")
@click.option("--try-hard", is_flag=True, help="Take more time for bad photos.")
@click.option(
    "--annotate", metavar="OUT.png", type=click.Path(path_type=Path),
    help="Draw what was seen into the photo: a new file; for several photos a folder.",
)  # fmt: skip
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
    annotate: Path | None,
    lang: str | None,
    output: str,
) -> int:
    """See HELP."""
    if lang is not None:
        from pairing.language import LANGUAGES

        if lang not in LANGUAGES:
            raise errors.UsageError(f"The languages are {', '.join(LANGUAGES)}.", element=lang)
    from cli.annotating import SIDE, Annotated
    from cli.sources import sources
    from pairing.qr.read import PhotoReader

    given = sources(photo)
    annotated = Annotated(annotate, lang or "") if annotate else None
    if annotated:
        annotated.check(len(given))
    wanted = Wanted(any_text, explain, output, lang or "", len(given) > 1, annotated)
    side = SIDE if annotated else 0
    with PhotoReader(any_text=any_text, hard=try_hard, picture=side) as reader:
        return screen.exit_code(_all(reader, given, wanted))


def _all(reader: PhotoReader, given: Sequence[Source], wanted: Wanted) -> list[int]:
    """Read and show all; what several photos may tell together comes last. Their exit codes."""
    from cli.together import sums

    codes: dict[str, int] = {}
    later: dict[str, tuple[Reading, errors.KnownError]] = {}
    for source in given:
        name, (seen, wrong) = source.name, _read(reader, source, wanted)
        codes[name] = int(wrong.exit_code) if wrong else 0
        if wanted.output == "jsonl":
            click.echo(json.dumps(_body(name, seen, wrong, wanted), ensure_ascii=True))
            continue
        _explain(name, seen, wanted)
        if wrong is not None and wanted.several and reader.keeps(name):
            later[name] = seen, wrong
        else:
            _show(name, seen, wrong, wanted)
    for found in sums(reader):
        _show_sum(found, wanted)
        codes |= dict.fromkeys(found.photos, 0)
    for name, (seen, wrong) in later.items():
        if codes[name]:
            _show(name, seen, wrong, wanted)
    return list(codes.values())


def _read(
    reader: PhotoReader, source: Source, wanted: Wanted
) -> tuple[Reading, errors.KnownError | None]:
    from pairing.qr.reading import Reading, token_from

    name = source.name
    seen = Reading(photo=name)
    wrong: errors.KnownError | None = None
    try:
        seen = source.reading(reader)
        if not (wanted.any_text and seen.texts):
            token_from(seen)
    except errors.KnownError as error:
        wrong = error
    if wanted.annotated:
        wanted.annotated.write(seen, wrong)
    return seen, wrong


def _body(name: str, seen: Any, wrong: errors.KnownError | None, wanted: Wanted) -> dict[str, Any]:
    from pairing.report import error_json

    body: dict[str, Any] = {"schema": 1, "photo": name, "tokens": list(seen.tokens)}
    if wanted.any_text:
        body["texts"] = list(seen.texts)
    body["ms"] = seen.cpu_ms
    if wanted.explain:
        from cli import explaining

        body |= explaining.body(seen)
    if wrong is not None:
        body |= {"reason": wrong.slug, "error": error_json(wrong)}
        if wanted.language:
            body["advice"] = _advice(wrong, wanted)
    return body


def _show_sum(found: Sum, wanted: Wanted) -> None:
    """A code that several photos gave together, or that another photo gave."""
    from pairing.qr.reading import kind_of
    from pairing.report import safe

    name, tokens = " + ".join(found.photos), [found.text] if kind_of(found.text) else []
    if wanted.output == "jsonl":
        body: dict[str, Any] = {
            "schema": 1,
            "photo": name,
            "photos": list(found.photos),
            "tokens": tokens,
        }
        if wanted.any_text:
            body["texts"] = [found.text]
        if found.shown_by:
            body["shown_by"] = found.shown_by
        click.echo(json.dumps(body, ensure_ascii=True))
        return
    if found.shown_by:
        click.echo(safe(f"{name}: of the same screen as {found.shown_by}"), err=True)
        return
    click.echo(safe(f"{name}: these photos show one code; together they can be read"), err=True)
    for text in _hidden([found.text], set(tokens)):
        click.echo(f"{safe(name)}\t{safe(text)}")


def _explain(name: str, seen: Any, wanted: Wanted) -> None:
    from pairing.report import safe

    if wanted.explain and seen.format:
        from cli import explaining

        for line in explaining.lines(name, seen):
            click.echo(safe(line), err=True)


def _show(name: str, seen: Any, wrong: errors.KnownError | None, wanted: Wanted) -> None:
    from pairing.report import error_lines, safe

    if wrong is not None:
        for line in error_lines(wrong):
            click.echo(line, err=True)
        if wanted.language:
            click.echo(f"send back: {_advice(wrong, wanted)}", err=True)
        return
    for text in _texts(seen, wanted):
        click.echo(f"{safe(name)}\t{safe(text)}" if wanted.several else safe(text))


def _advice(wrong: errors.KnownError, wanted: Wanted) -> str:
    from pairing.qr.advice import advice

    return advice(wrong, wanted.language)


def _texts(seen: Any, wanted: Wanted) -> Sequence[str]:
    tokens = set(seen.tokens)
    return _hidden(seen.texts if wanted.any_text else seen.tokens, tokens)


def _hidden(texts: Sequence[str], tokens: set[str]) -> list[str]:
    """On a terminal, tokens are named only."""
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
