"""`kairos-fleet nodes`: the machines that this station has registered."""

from __future__ import annotations

import json

import click

from cli import options
from cli.commands.recover import finding, named

HELP = """The machines that this station has registered.

\b
Examples:
  kairos-fleet nodes list
  kairos-fleet nodes show shop-17
  kairos-fleet nodes approve shop-17     let it start (unlock: approval)

NODE is a fingerprint, a host name or a serial number.
"""


@click.group(help=HELP)
def nodes() -> None:
    """See HELP."""


_output = click.option(
    "--output", type=click.Choice(["human", "jsonl"]), default="human", show_default=True,
    help="Lines for people, or one JSON object a line.",
)  # fmt: skip


@nodes.command("list")
@_output
def list_nodes(output: str) -> None:
    """List them, with what was heard of each last.

    \b
    Examples:
      kairos-fleet nodes list
      kairos-fleet nodes list --output jsonl
    """
    from cli import nodes as registered
    from cli.records import Records
    from pairing.report import safe

    for node in registered.all_nodes(Records()):
        if output == "jsonl":
            click.echo(json.dumps(node.to_json()))
            continue
        state = f"{node.state} ({node.code})" if node.code else node.state or "nothing heard"
        line = f"{node.node}  {node.hostname or '-':<20}  {node.serial or '-':<20}  {state}"
        click.echo(safe(f"{line}  {node.at}").rstrip())


@nodes.command()
@click.argument("node", metavar="NODE")
def show(node: str) -> None:
    """Show one: its keys, its state, its sealed recovery keys. No secrets.

    \b
    Examples:
      kairos-fleet nodes show shop-17
      kairos-fleet nodes show ABCD-EFGH-IJKL-MNOP
    """
    from cli import nodes as registered
    from cli.records import Records
    from pairing import keys
    from pairing.report import safe

    records = Records()
    found = registered.find(records, node)
    lines = [
        f"key       {found.node}",
        f"locked    {keys.fingerprint(found.report.key)} (its key while it is locked)",
        f"hostname  {found.hostname or 'not known'}",
        f"serial    {found.serial or 'not known'}",
        f"state     {found.state or 'nothing heard'} {found.code} {found.at}".rstrip(),
    ]
    for stored in registered.escrow_of(records, found):
        proved = "opens its volumes" if stored.proof else "never tried"
        to = ", ".join(keys.fingerprint(sealed.recipient) for sealed in stored.record.keys)
        lines.append(f"escrow    {stored.path.name}, {stored.kept}, {proved}, sealed to {to}")
    for line in lines:
        click.echo(safe(line))


@nodes.command()
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
