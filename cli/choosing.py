"""Which machines a command means: by name, by label, by a table; all are found before any is
changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from cli import prompt
from cli.labels import Row, Selector, selector
from cli.nodes import NodeRecord, pick
from pairing import errors
from pairing.report import safe

_Command = Callable[..., Any]


def selecting(command: _Command) -> _Command:
    """`--selector`."""
    return click.option(
        "--selector", "-l", "selected", metavar="LABELS", default="",
        help="Only machines with these labels: region=north,role!=till,!spare.",
    )(command)  # fmt: skip


def chosen(nodes: Sequence[NodeRecord], names: Sequence[str], selected: str) -> list[NodeRecord]:
    """Each machine once. Raises errors.NodeUnknown, errors.UsageError."""
    if bool(names) is bool(selected):
        raise errors.UsageError("Name machines, or select them by their labels (-l).")
    found = [pick(nodes, name) for name in names] if names else by_labels(nodes, selected)
    if not found:
        raise errors.NodeUnknown("(none has these labels)", element=selected)
    return list({node.node: node for node in found}.values())


def by_labels(nodes: Sequence[NodeRecord], selected: str) -> list[NodeRecord]:
    """Those in use that a selector means. Raises errors.LabelInvalid."""
    rule: Selector = selector(selected)
    return [node for node in nodes if node.current and rule.selects(node.labels)]


def by_table(nodes: Sequence[NodeRecord], rows: Sequence[Row]) -> list[tuple[NodeRecord, Row]]:
    """The machine of each row. Raises errors.TableInvalid naming the row."""
    found: list[tuple[NodeRecord, Row]] = []
    places: dict[str, str] = {}
    for row in rows:
        try:
            node = pick(nodes, row.node)
        except errors.NodeUnknown as wrong:
            raise errors.TableInvalid(wrong.sentence, element=row.place) from None
        if (first := places.setdefault(node.node, row.place)) != row.place:
            raise errors.TableInvalid(f"The same machine as {first}.", element=row.place)
        found.append((node, row))
    return found


def agree(question: str, lines: Sequence[str], *, sure: bool) -> None:
    """Show what would be done, and ask unless `--yes` was said. Raises errors.MustBeAsked,
    errors.Interrupted."""
    import trio

    if sure:
        return
    if not prompt.can_ask():
        raise errors.MustBeAsked("Say --yes, or run it on a terminal.")
    for line in lines:
        click.echo(safe(line), file=sys.stderr)
    if not trio.run(prompt.agrees, question):
        raise errors.Interrupted("Nothing was changed.")
