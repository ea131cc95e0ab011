"""A new machine in the place of an old one: its name, its labels, its config."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import nodes, screen
from cli.keyring import Keyring
from cli.nodes import Condition, NodeRecord
from cli.pairing_run import Run
from cli.records import Records
from cli.register import Asked, prepare
from cli.retiring import Retiring
from cli.sources import Source
from pairing import errors


@dataclass(frozen=True, slots=True)
class Place:
    """What the new machine is registered with."""

    config_files: tuple[str, ...]
    assignments: tuple[str, ...]


def place_of(old: NodeRecord, config_files: Sequence[str], assignments: Sequence[str]) -> Place:
    """The old machine's config, unless another is given; its host name in any case.

    Values of `--set` were never kept, as they may be secrets: only their keys are. Raises
    errors.ConfigForgotten naming the keys whose values must be given again.
    """
    origin, name = old.entry.origin, old.hostname or old.node
    if not config_files:
        if not origin.files:
            raise errors.ConfigForgotten(element=name)
        given = {assignment.partition("=")[0] for assignment in assignments}
        if missing := [key for key in origin.assigned if key not in {*given, "hostname"}]:
            raise errors.ConfigForgotten(f"Its --set {', '.join(missing)} is.", element=name)
        if gone := [path for path in origin.files if not Path(path).is_file()]:
            raise errors.ConfigForgotten(f"There is no {', '.join(gone)} now.", element=name)
    chosen = tuple(config_files) or origin.files
    named = any(assignment.startswith("hostname=") for assignment in assignments)
    keeps = (f"hostname={old.hostname}",) if old.hostname and not named else ()
    return Place(chosen, (*assignments, *keeps))


def require_free(old: NodeRecord, new: str) -> None:
    """Raises errors.ReplacedAlready if another machine than `new` is in its place."""
    by = old.retired.replaced_by if old.retired else ""
    if by and by != new:
        raise errors.ReplacedAlready(f"(by {by})", element=old.hostname or old.node)


def find_old(records: Records, name: str, new: str) -> NodeRecord:
    """The machine of this name, which is not `new` (a fingerprint): an earlier run may have given
    it the name already. Raises errors.NodeUnknown, errors.ReplacedAlready."""
    others = [node for node in nodes.all_nodes(records) if node.node != new]
    old = nodes.pick(others, name)
    require_free(old, new)
    return old


def replace(old: NodeRecord, asked: Asked, source: Source, new: str) -> int:
    """Register `new`, whose code is in `source`; once that has come to its goal, `old` is retired.

    Returns the exit code. Raises errors.KnownError before anything is sent.
    """
    run = prepared(old, asked)
    run.sources = [source]
    with run:
        code = screen.exit_code(run.all())
        if code == 0 and not asked.dry_run:
            hand_over(run, old, new, Keyring.at(asked.key_folder))
    return run.close(code)


def prepared(old: NodeRecord, asked: Asked) -> Run:
    """A registration with the place of `old`. Raises errors.KnownError."""
    place = place_of(old, asked.config_files, asked.assignments)
    run = prepare(
        dataclasses.replace(asked, config_files=place.config_files, assignments=place.assignments)
    )
    labels = {**old.labels, **run.order.labels}
    run.order = dataclasses.replace(run.order, labels=labels, replaces=old.node)
    return run


def hand_over(run: Run, old: NodeRecord, new: str, keyring: Keyring) -> None:
    """The old machine is retired, if the new one really stands in its place."""
    from datetime import UTC, datetime

    found = [node for node in nodes.all_nodes(run.records) if node.node == new]
    if not found or found[0].condition(datetime.now(UTC)) is Condition.REHEARSED:
        run.report.warn("this was a rehearsal: the old machine stays as it is")
        return
    plan = Retiring(records=run.records, keyring=keyring, replaced_by=new)
    plan.retire(plan.look([old]))
    run.report.say("replaced", f"{old.hostname or old.node} ({old.node}) by {new}")
    run.report.warn(
        "the old machine was told nothing: if it still runs, reset it, and delete its Node from"
        " its cluster"
    )
