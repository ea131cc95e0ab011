"""Labels of machines: their syntax, what selects by them, and a table of them.

Keys and values are those of Kubernetes (a value is at most 63 of letters, digits, `-`, `_`, `.`),
so that they can be given to a cluster as they are.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairing import errors

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME}")
_VALUE = re.compile(f"(?:{_NAME})?")
COLUMN = "label."
"""In a table, a column of this name and a key holds the label's values."""
TABLE_LIMIT = 16 * 1024 * 1024
Labels = Mapping[str, str]


def check_key(key: str) -> str:
    """Raises errors.LabelInvalid."""
    if not _KEY.fullmatch(key):
        raise errors.LabelInvalid("(its key)", element=key[:80])
    return key


def check_value(key: str, value: str) -> str:
    """Raises errors.LabelInvalid."""
    if not _VALUE.fullmatch(value):
        raise errors.LabelInvalid("(its value)", element=f"{key}={value[:80]}")
    return value


def parse(text: str) -> tuple[str, str]:
    """`KEY=VALUE`. Raises errors.LabelInvalid."""
    key, separator, value = text.partition("=")
    if not separator:
        raise errors.LabelInvalid("There is no `=` in it.", element=text[:80])
    return check_key(key), check_value(key, value)


def parse_all(texts: Sequence[str]) -> dict[str, str]:
    """Several. Raises errors.LabelInvalid, also for a key that is there twice."""
    found: dict[str, str] = {}
    for text in texts:
        key, value = parse(text)
        if found.setdefault(key, value) != value:
            raise errors.LabelInvalid("It is given twice.", element=key)
    return found


def text_of(labels: Labels) -> str:
    """For people: `region=north role=till`, in the order of the keys."""
    return " ".join(f"{key}={value}" for key, value in sorted(labels.items()))


@dataclass(frozen=True, slots=True)
class _Term:
    key: str
    value: str | None
    wanted: bool

    def holds(self, labels: Labels) -> bool:
        found = labels.get(self.key)
        return (found is not None if self.value is None else found == self.value) is self.wanted


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its terms must hold; without any it selects everything."""

    terms: tuple[_Term, ...] = ()

    def selects(self, labels: Labels) -> bool:
        """Whether a machine with these labels is meant."""
        return all(term.holds(labels) for term in self.terms)


def selector(text: str) -> Selector:
    """`region=north,role!=till,site,!spare`, as kubectl reads it. Raises errors.LabelInvalid."""
    return Selector(tuple(_term(part.strip()) for part in text.split(",") if part.strip()))


def _term(text: str) -> _Term:
    for operator, wanted in (("!=", False), ("==", True), ("=", True)):
        key, separator, value = text.partition(operator)
        if separator:
            return _Term(check_key(key), check_value(key, value), wanted)
    return _Term(check_key(text.removeprefix("!")), None, not text.startswith("!"))


# --- tables -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: the machine's name there, its labels, and those that it shall not have.

    `place` is file and line.
    """

    place: str
    node: str
    labels: Labels
    absent: frozenset[str]


def read_table(path: Path) -> list[Row]:
    """A CSV file with the column `node` and columns `label.KEY`; an empty cell takes a label away.

    The other columns of `kairos-fleet nodes list --output csv` are passed over. Raises
    errors.TableInvalid naming file and line, errors.LabelInvalid.
    """
    try:
        with path.open("rb") as file:
            data = file.read(TABLE_LIMIT + 1)
        text = data.decode("utf-8-sig")
    except OSError as wrong:
        raise errors.TableInvalid(f"({wrong.strerror})", element=str(path)) from None
    except UnicodeDecodeError:
        raise errors.TableInvalid("It is not UTF-8.", element=str(path)) from None
    if len(data) > TABLE_LIMIT:
        raise errors.TableInvalid("It is larger than 16 MiB.", element=str(path))
    try:
        return list(_rows(csv.reader(io.StringIO(text), strict=True), path))
    except csv.Error as wrong:
        raise errors.TableInvalid(f"({wrong})", element=str(path)) from None


def _rows(lines: Iterator[list[str]], path: Path) -> Iterator[Row]:
    head = [name.strip() for name in next(lines, [])]
    _check_head(head, path)
    seen: dict[str, int] = {}
    for number, cells in enumerate(lines, start=2):
        place = f"{path}:{number}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            said = f"It has {len(cells)} cells, the first line {len(head)}."
            raise errors.TableInvalid(said, element=place)
        row = dict(zip(head, (cell.strip() for cell in cells), strict=True))
        if not row["node"]:
            raise errors.TableInvalid("The machine is not named.", element=place)
        if (first := seen.setdefault(row["node"], number)) != number:
            said = f"{row['node']} is in line {first} already."
            raise errors.TableInvalid(said, element=place)
        yield _row(row, place)


def _row(row: Mapping[str, str], place: str) -> Row:
    given = {name.removeprefix(COLUMN): row[name] for name in row if name.startswith(COLUMN)}
    try:
        kept = {key: check_value(key, value) for key, value in given.items() if value}
    except errors.LabelInvalid as wrong:
        raise errors.TableInvalid(wrong.sentence, element=place) from None
    return Row(place, row["node"], kept, frozenset(key for key in given if not given[key]))


def _check_head(head: Sequence[str], path: Path) -> None:
    wrong = ""
    if "node" not in head:
        wrong = "There is no column `node`."
    elif not any(name.startswith(COLUMN) for name in head):
        wrong = "There is no column of labels, such as `label.region`."
    elif len(set(head)) != len(head):
        wrong = "A column is there twice."
    if wrong:
        raise errors.TableInvalid(wrong, element=f"{path}:1")
    for name in head:
        if name.startswith(COLUMN):
            check_key(name.removeprefix(COLUMN))
        elif name not in COLUMNS:
            close = difflib.get_close_matches(name, [*COLUMNS, f"{COLUMN}{name}"], n=1)
            more = f" Did you mean {close[0]}?" if close else ""
            raise errors.TableInvalid(
                f"The column {name!r} is not known.{more}", element=f"{path}:1"
            )


COLUMNS = (
    "node", "hostname", "serial", "condition", "state", "code", "at", "step", "retired", "replaces"
)  # fmt: skip
"""Of a table of machines, before their labels."""


def table(rows: Sequence[Mapping[str, str]], labels: Sequence[Labels]) -> str:
    """A table of machines as CSV, with a column for each label that one of them has.

    Machines' own words that a spreadsheet would take for a formula get a `'` in front.
    """
    keys = sorted({key for found in labels for key in found})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, *(COLUMN + key for key in keys)])
    for row, found in zip(rows, labels, strict=True):
        cells = [row.get(name, "") for name in COLUMNS] + [found.get(key, "") for key in keys]
        writer.writerow([_cell(cell) for cell in cells])
    return out.getvalue()


def _cell(text: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
