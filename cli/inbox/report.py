"""What an inbox says: a line or JSON event for each photo, and a small report of all of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from cli.inbox.intake import Intake, Result, Taken, age
from cli.inbox.ledger import Photo
from cli.inbox.machines import Machine, Standing, machines
from pairing import errors
from pairing.qr.advice import advice
from pairing.report import error_json, error_lines, safe

SCHEMA = 1
OUTPUTS = ("human", "json", "jsonl", "paths")


@dataclass(frozen=True, slots=True)
class Summary:
    """All that an inbox holds. `bad`: photos to answer, whose files are there; `unfinished`: files
    that are still being written."""

    photos: int
    machines: list[tuple[Machine, Standing, str]]
    bad: list[tuple[Photo, errors.KnownError]]
    unfinished: tuple[Path, ...] = ()

    def count(self, standing: Standing) -> int:
        """Machines that have come so far."""
        return sum(found is standing for _, found, _ in self.machines)

    @property
    def waiting(self) -> list[Machine]:
        """Machines that nothing was released to, the oldest photo first."""
        found = [machine for machine, how, _ in self.machines if how is Standing.WAITING]
        return sorted(found, key=lambda machine: machine.newest.taken)


def summary(intake: Intake, failed: dict[Path, Taken], unfinished: tuple[Path, ...]) -> Summary:
    """Of the whole inbox, earlier runs too. `failed`: pictures that were not remembered."""
    photos = {photo.digest: photo for photo in intake.ledger.photos}
    bad = [
        (photo, photo.error)
        for photo in photos.values()
        if photo.error and photo.digest in intake.paths
    ]
    bad += [(one.photo, one.error) for one in failed.values() if one.error]
    known = [(machine, *machine.standing(intake.records)) for machine in machines(photos.values())]
    return Summary(len(photos) + len(failed), known, bad, unfinished)


class Voice(Protocol):
    """How an inbox speaks."""

    def taken(self, one: Taken) -> None:
        """About one photo."""

    def end(self, all_of_it: Summary) -> None:
        """About all of them."""


@dataclass(frozen=True, slots=True)
class People:
    """Lines: events on standard error, the report on standard output."""

    language: str

    def taken(self, one: Taken) -> None:
        """See `Voice`."""
        for line in self._lines(one):
            click.echo(line, err=True)

    def _lines(self, one: Taken) -> list[str]:
        photo, old = one.photo, ago(one.photo.taken)
        if one.error is not None:
            again = " (a copy)" if one.result is Result.COPY else ""
            return [
                *error_lines(one.error),
                f"send back{again}: {advice(one.error, self.language)}",
            ]
        said = {
            Result.NEW: "a new machine",
            Result.NEWER: "a newer photo of a machine",
            Result.OLDER: "an older photo of a machine",
            Result.SAME: "a photo of a screen that others show",
            Result.COPY: "a copy of a photo",
            Result.KNOWN: "still waiting",
        }[one.result]
        return [safe(f"{shown(photo)}: {said}, {photo.node}, code {photo.code}, photo {old}")]

    def end(self, all_of_it: Summary) -> None:
        """See `Voice`."""
        click.echo(text_of(all_of_it, self.language), nl=False)


@dataclass(frozen=True, slots=True)
class Scripts:
    """JSON on standard output: a line for each photo and one at the end, or only the end."""

    language: str
    lines: bool

    def taken(self, one: Taken) -> None:
        """See `Voice`."""
        if self.lines:
            self._line({"type": "photo", **photo_json(one.photo), "result": one.result.value,
                        "wanted": one.wanted, **self._why(one.error)})  # fmt: skip

    def _why(self, error: errors.KnownError | None) -> dict[str, Any]:
        if error is None:
            return {}
        said = advice(error, self.language)
        return {"reason": error.slug, "error": error_json(error), "advice": said}

    def end(self, all_of_it: Summary) -> None:
        """See `Voice`."""
        self._line({
            "type": "inbox",
            "photos": all_of_it.photos,
            "machines": [
                {**photo_json(machine.newest), "standing": standing.value, "state": state,
                 "photos": len(machine.photos)}
                for machine, standing, state in all_of_it.machines
            ],
            "send_back": [
                {**photo_json(photo), **self._why(error)} for photo, error in all_of_it.bad
            ],
            "unfinished": [str(path) for path in all_of_it.unfinished],
        })  # fmt: skip

    def _line(self, body: dict[str, Any]) -> None:
        click.echo(json.dumps({"schema": SCHEMA, **body}, ensure_ascii=True))


@dataclass(frozen=True, slots=True)
class Paths:
    """The photo to register of each machine that waits, a path a line, at once; the rest as for
    people, all of it on standard error. `folder`: the inbox."""

    language: str
    folder: Path

    def taken(self, one: Taken) -> None:
        """See `Voice`."""
        if one.wanted:
            click.echo(one.source(self.folder))
        People(self.language).taken(one)

    def end(self, all_of_it: Summary) -> None:
        """See `Voice`."""
        click.echo(text_of(all_of_it, self.language), nl=False, err=True)


def voice(output: str, language: str, folder: Path) -> Voice:
    """The one for `--output`."""
    if output == "paths":
        return Paths(language, folder)
    if output == "human":
        return People(language)
    return Scripts(language, lines=output == "jsonl")


def photo_json(photo: Photo) -> dict[str, Any]:
    """A photo for scripts, without what it does not have."""
    body: dict[str, Any] = {"photo": photo.name, "at": photo.at, "taken": photo.taken,
                            "age_s": round(age(photo.taken))}  # fmt: skip
    if photo.node:
        body |= {"node": photo.node, "code": photo.code, "kind": photo.kind}
    if photo.sources:
        body["sources"] = list(photo.names)
    return body


def shown(photo: Photo) -> str:
    """How people call it, with the photos that it was read with."""
    others = [name for name in photo.names if name != photo.name]
    return f"{photo.name} (with {', '.join(others)})" if others else photo.name


def text_of(found: Summary, language: str) -> str:
    """The report for people."""
    counts = Counter(standing for _, standing, _ in found.machines)
    among = ", ".join(f"{counts[one]} {one.value}" for one in Standing if counts[one])
    first = f"{_many(found.photos, 'photo')}, {_many(len(found.machines), 'machine')}"
    lines = [f"{first}: {among}" if among else first]
    if found.waiting:
        lines += ["", "waiting to be registered, the oldest photo first:"]
    lines += [
        f"  {shown(machine.newest)}  {machine.node}, photo {ago(machine.newest.taken)}"
        for machine in found.waiting
    ]
    if found.bad:
        lines += ["", "to send back:"]
    for photo, error in found.bad:
        lines += [f"  {photo.name}  {error.code} {error.slug}, photo {ago(photo.taken)}"]
        lines += [f"    {advice(error, language)}"]
    if found.unfinished:
        lines += ["", f"still being written: {', '.join(path.name for path in found.unfinished)}"]
    return "".join(f"{safe(line)}\n" for line in lines)


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def ago(taken: str) -> str:
    """How old a photo is, for people: a code lasts until its machine is restarted."""
    minutes = int(age(taken) // 60)
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit} old"
    return f"{minutes} min old"
