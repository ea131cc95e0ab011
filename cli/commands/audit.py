"""`kairos-fleet audit`: who did what to which machine, from this station."""

from __future__ import annotations

import json

import click

HELP = """Show the audit log of this station, checked.

\b
Examples:
  kairos-fleet audit
  kairos-fleet audit --node ABCD-EFGH-IJKL-MNOP
  kairos-fleet audit --output jsonl > copy.jsonl

Each line holds the hash of the one before and its operator's signature. Lines cut off at the end
are noticed only against a copy: keep one elsewhere, or the last hash.

Exit codes: 0 shown and unbroken, 6 the log was changed.
"""


@click.command(help=HELP)
@click.option("--node", default="", metavar="FINGERPRINT", help="Only what concerns this machine.")
@click.option(
    "--output", type=click.Choice(["human", "jsonl"]), default="human", show_default=True,
    help="Lines for people, or one JSON object a line.",
)  # fmt: skip
def audit(node: str, output: str) -> None:
    """See HELP."""
    from cli import audit as log
    from cli import folders
    from pairing import keys
    from pairing.report import safe

    entries = log.read(folders.data_folder())
    if not entries:
        click.echo("nothing yet: no recovery key was used, no machine changed", err=True)
    for entry in entries:
        if node and entry.node != node:
            continue
        who = keys.fingerprint(entry.operator)
        if output == "jsonl":
            said = {"number": entry.number, "at": entry.at, "action": entry.action}
            body = {**said, "node": entry.node, "operator": who, "about": dict(entry.about)}
            click.echo(json.dumps({"schema": log.SCHEMA, **body}))
            continue
        about = " ".join(f"{name}={value}" for name, value in entry.about.items())
        click.echo(safe(f"{entry.at} {entry.action:<16} {entry.node} by {who} {about}").rstrip())
