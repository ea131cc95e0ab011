"""`kairos-fleet nodes`: the machines that this station has registered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.choosing import selecting
from cli.commands.recover import finding, named
from cli.register import registering
from pairing import errors

if TYPE_CHECKING:
    from cli.labels import Row
    from cli.nodes import NodeRecord

HELP = """The machines that this station has registered.

\b
Examples:
  kairos-fleet nodes list -l region=north
  kairos-fleet nodes show shop-17
  kairos-fleet nodes ask shop-17         what it has to tell
  kairos-fleet nodes approve shop-17     let it start (unlock: approval)
  kairos-fleet nodes label shop-17 region=north
  kairos-fleet nodes retire shop-17 --reason "sold"
  kairos-fleet nodes replace shop-17 photo.jpg

NODE is a fingerprint, a host name or a serial number.
"""


@click.group(help=HELP)
def nodes() -> None:
    """See HELP."""


_output = click.option(
    "--output", type=click.Choice(["human", "jsonl"]), default="human", show_default=True,
    help="Lines for people, or one JSON object a line.",
)  # fmt: skip
_dry_run = click.option("--dry-run", is_flag=True, help="Show what it would do; change nothing.")


@nodes.command("list")
@selecting
@click.option("--all", "everything", is_flag=True, help="Retired and replaced ones, too.")
@click.option(
    "--output", type=click.Choice(["human", "jsonl", "csv"]), default="human", show_default=True,
    help="Lines for people, one JSON object a line, or a table.",
)  # fmt: skip
def list_nodes(selected: str, everything: bool, output: str) -> None:
    """List them, with what was heard of each last.

    \b
    Examples:
      kairos-fleet nodes list
      kairos-fleet nodes list -l region=north,role!=till --output jsonl
      kairos-fleet nodes list --all --output csv > machines.csv
    """
    from cli import labels
    from cli import nodes as registered
    from cli.records import Records

    rule = labels.selector(selected)
    found = [
        node
        for node in registered.all_nodes(Records())
        if (everything or node.current) and rule.selects(node.labels)
    ]
    _show(found, output)
    if not found:
        click.echo("no machine: none is registered here, or none has these labels", err=True)


def _show(found: list[NodeRecord], output: str) -> None:
    from datetime import UTC, datetime

    from cli import labels
    from pairing.report import safe

    now = datetime.now(UTC)
    if output == "csv":
        cells = [node.cells(now) for node in found]
        click.echo(labels.table(cells, [node.labels for node in found]), nl=False)
        return
    for node in found:
        body = json.dumps(node.to_json(now)) if output == "jsonl" else safe(node.line())
        click.echo(body)


@nodes.command()
@click.argument("node", metavar="NODE")
@_output
def show(node: str, output: str) -> None:
    """Show one: its keys, its state, its sealed recovery keys. No secrets.

    \b
    Examples:
      kairos-fleet nodes show shop-17
      kairos-fleet nodes show ABCD-EFGH-IJKL-MNOP --output jsonl
    """
    from cli import nodes as registered
    from cli.labels import text_of
    from cli.records import Records
    from pairing import keys
    from pairing.report import safe

    records = Records()
    found = registered.find(records, node)
    if output == "jsonl":
        _show([found], output)
        return
    origin = found.entry.origin
    lines = [
        f"key       {found.node}",
        f"locked    {keys.fingerprint(found.report.key)} (its key while it is locked)",
        f"hostname  {found.hostname or 'not known'}",
        f"serial    {found.serial or 'not known'}",
        f"labels    {text_of(found.labels) or 'none'}",
        f"config    {' '.join(origin.files) or 'not known'}",
        f"state     {found.said} {found.at}".rstrip(),
    ]
    lines += [f"set       {' '.join(origin.assigned)}"] if origin.assigned else []
    lines += [f"retired   {found.retired.text}"] if found.retired else []
    lines += [f"replaces  {found.entry.replaces}"] if found.entry.replaces else []
    if found.told:
        lines.append(f"told      {found.told}")
    for stored in registered.escrow_of(records, found):
        proved = "opens its volumes" if stored.proof else "never tried"
        to = ", ".join(keys.fingerprint(sealed.recipient) for sealed in stored.record.keys)
        lines.append(f"escrow    {stored.path.name}, {stored.kept}, {proved}, sealed to {to}")
    for line in lines:
        click.echo(safe(line))


@nodes.command(short_help="Take what machines have to tell into their journals.")
@click.argument("names", metavar="PHOTO|NODE...", nargs=-1)
@selecting
@finding
@_output
@options.keys
def ask(
    names: tuple[str, ...], selected: str, output: str, key_folder: str | None, **where: object
) -> int:
    """Take what machines have to tell into their journals: `nodes show` and `status` show it then.

    \b
    Examples:
      kairos-fleet nodes ask shop-17
      kairos-fleet nodes ask --relay relay.example shop-17
      kairos-fleet nodes ask -l wave=2 --timeout 20    several at once

    A machine that was registered is quiet; it waits to be asked when an upgrade was not good and
    it went back to the version before. Exit codes: 0 all have told, 13 it is locked, 5 not reached,
    8 some of several.
    """
    from cli import asking, choosing, screen
    from cli import nodes as registered
    from cli.records import Records

    if len(names) == 1 and not selected:
        errand = named(names[0], key_folder, where)
        return 0 if errand.run(errand.ask) else int(errors.ExitCode.LOCKED)
    found = choosing.chosen(registered.all_nodes(Records()), names, selected)
    answers = asking.ask_all([named(node.node, key_folder, where) for node in found])
    for answer in answers:
        click.echo(json.dumps(answer.to_json()) if output == "jsonl" else answer.text)
    return screen.exit_code([answer.exit for answer in answers])


@nodes.command(short_help="Let a machine start that waits for approval.")
@click.argument("node", metavar="NODE|PHOTO")
@finding
@options.keys
def approve(node: str, key_folder: str | None, **where: object) -> int:
    """Let a machine start that waits for it at each start (`unlock: approval`).

    \b
    Examples:
      kairos-fleet nodes approve shop-17
      kairos-fleet nodes approve --relay relay.example shop-17
      kairos-fleet nodes approve photo.jpg      by the code on its screen
    """
    errand = named(node, key_folder, where)
    if errand.run(errand.approve):
        errand.note("start-approved")
        errand.talk.say("approved", "its volumes are open")
    else:
        errand.talk.say("approve", "there is nothing to approve: it is open already")
    return 0


@nodes.command()
@click.argument("words", metavar="NODE... KEY=VALUE...", nargs=-1)
@selecting
@click.option("--remove", multiple=True, metavar="KEY", help="Take this label away. Repeatable.")
@click.option(
    "--from", "table", metavar="FILE.csv", type=click.Path(),
    help="A table: column `node`, columns `label.KEY`; an empty cell takes the label away.",
)  # fmt: skip
@_dry_run
@_output
@options.keys
def label(
    words: tuple[str, ...],
    selected: str,
    remove: tuple[str, ...],
    table: str | None,
    dry_run: bool,
    output: str,
    key_folder: str | None,
) -> None:
    """Give labels to machines, or take them away.

    \b
    Examples:
      kairos-fleet nodes label shop-17 shop-18 region=north role=till
      kairos-fleet nodes label -l region=north wave=2 --remove spare
      kairos-fleet nodes list --output csv > machines.csv
      kairos-fleet nodes label --from machines.csv --dry-run

    Either everything is changed or, with a mistake in any name or label, nothing. Labels are
    this station's own: the machine is told nothing.
    """
    from pathlib import Path

    from cli import choosing, labelling, labels
    from cli import nodes as registered
    from cli.keyring import Keyring
    from cli.records import Records

    names = [word for word in words if "=" not in word]
    given = labels.parse_all([word for word in words if "=" in word])
    removed = frozenset(map(labels.check_key, remove))
    if table and (words or removed or selected):
        raise errors.UsageError("With --from, the table says it all.")
    if not table and not given and not removed:
        raise errors.UsageError("Which label? KEY=VALUE, or --remove KEY.")
    if both := removed & set(given):
        raise errors.UsageError("It is given and taken away.", element=min(both))
    records = Records()
    known = registered.all_nodes(records)
    todo: list[labelling.Change]
    if table:
        rows: list[Row] = labels.read_table(Path(table))
        pairs = choosing.by_table(known, rows)
        todo = [labelling.Change(node, row.labels, row.absent) for node, row in pairs]
    else:
        picked = choosing.chosen(known, names, selected)
        todo = [labelling.Change(node, given, removed) for node in picked]
    todo = [change for change in todo if change.needed]
    if not dry_run:
        labelling.carry_out(records, Keyring.at(key_folder), todo)
    for change in todo:
        click.echo(json.dumps(change.to_json()) if output == "jsonl" else change.text)
    if not todo and output == "human":
        click.echo("nothing to change: they have these labels already", err=True)


@nodes.command()
@click.argument("names", metavar="NODE...", nargs=-1)
@selecting
@click.option("--reason", default="", metavar="TEXT", help="Why: sold, stolen, broken.")
@click.option(
    "--archive-escrow", "archive", metavar="DIR", type=click.Path(),
    help="Move its sealed recovery keys there.",
)  # fmt: skip
@click.option("--destroy-escrow", "destroy", is_flag=True, help="Delete its sealed recovery keys.")
@click.option("--undo", is_flag=True, help="Take it back into use.")
@click.option("--yes", "sure", is_flag=True, help="Do not ask.")
@_dry_run
@_output
@options.keys
def retire(names: tuple[str, ...], selected: str, **how: Any) -> None:
    """Take machines out of use: sold, stolen, broken.

    \b
    Examples:
      kairos-fleet nodes retire shop-17 --reason "sold"
      kairos-fleet nodes retire -l region=north --dry-run
      kairos-fleet nodes retire shop-17 --archive-escrow /media/safe/2026
      kairos-fleet nodes retire shop-17 --destroy-escrow
      kairos-fleet nodes retire shop-17 --undo

    A retired machine is not counted any more, nothing is opened for it (recover, approve: E741),
    and its hardware is not registered again unasked (E745). The machine itself is told nothing:
    it goes on until somebody resets it, and a cluster keeps its Node until you delete that.

    Its sealed recovery keys stay, so that its disk can be read. Moved or deleted, they are so at
    this station only: not in your backups, nor at other stations.
    """
    from cli import choosing
    from cli import nodes as registered
    from cli.keyring import Keyring
    from cli.records import Records
    from cli.retiring import Retiring, check_archive, check_reason

    archive, destroy, undo = how["archive"], how["destroy"], how["undo"]
    if sum(map(bool, (archive, destroy, undo))) > 1 or (undo and how["reason"]):
        raise errors.UsageError("Archive, destroy or undo: one of them.")
    records = Records()
    picked = choosing.chosen(registered.all_nodes(records), names, selected)
    plan = Retiring(
        records=records,
        keyring=Keyring.at(how["key_folder"]),
        reason=check_reason(how["reason"]),
        archive=check_archive(archive, make=not how["dry_run"]),
        destroy=destroy,
    )
    leaving = plan.look(picked)
    lines = [f"{one.node.line()}  ({len(one.escrow)} sealed recovery keys)" for one in leaving]
    if not how["dry_run"]:
        question = "Take them back into use?" if undo else f"Retire? Escrow: {plan.fate.value}."
        choosing.agree(question, lines, sure=how["sure"] or not (destroy or selected))
        if undo:
            plan.undo(picked)
        else:
            plan.retire(leaving)
    _show_retired(records, picked, how["output"], lines if how["dry_run"] else [])


def _show_retired(
    records: Any, picked: list[NodeRecord], output: str, rehearsed: list[str]
) -> None:
    from cli import nodes as registered
    from pairing.report import safe

    if rehearsed and output == "human":
        for line in rehearsed:
            click.echo(safe(line))
        return
    names = {node.node for node in picked}
    _show([node for node in registered.all_nodes(records) if node.node in names], output)


@nodes.command()
@click.argument("old", metavar="OLD")
@click.argument("photo", metavar="PHOTO")
@registering
def replace(old: str, photo: str, **given: Any) -> int:
    """Register a new machine in the place of an old one.

    \b
    Examples:
      kairos-fleet nodes replace shop-17 photo.jpg
      kairos-fleet nodes replace shop-17 photo.jpg --dry-run
      kairos-fleet nodes replace shop-17 photo.jpg --config other.yaml

    The new one gets the host name and the labels of the old one, and the config from the files
    that the old one was registered with, as they are now (or those named here). Values of --set
    are not kept, as they may be secrets: give them again. When the new machine has come to its
    goal, the old one is retired; stopped before that, the same command goes on.

    Exit codes: those of kairos-register.
    """
    from cli import replacing, sources
    from cli.commands.recover import token_of
    from cli.records import Records
    from cli.register import Asked
    from pairing import errors, keys

    found = sources.sources([photo])
    if len(found) != 1:
        raise errors.UsageError("One machine takes one place: name one photo.", element=photo)
    new = keys.fingerprint(token_of(found[0], bool(given["loopback"])).key)
    machine = replacing.find_old(Records(), old, new)
    return replacing.replace(machine, Asked(source=(), **given), found[0], new)
