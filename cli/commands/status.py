"""`kairos-fleet status`: how all machines are, from what this station has heard."""

from __future__ import annotations

import click

from cli.choosing import selecting

HELP = """How all machines are, and which need somebody.

\b
Examples:
  kairos-fleet status
  kairos-fleet status -l region=north --quiet-after 120
  kairos-fleet status --exit-code > /dev/null || mail-somebody
  kairos-fleet status --output html > status.html

It asks nobody: it counts what this station has heard. A machine reports until its verdict is known
(or for a day), then it is silent. So `quiet` means: it never came to its goal, and nothing was
heard of it for --quiet-after minutes. Registering its photo again asks it; one that is installed
is asked by `kairos-fleet nodes ask`, what it had to tell is shown here then.

Exit codes: 0 shown; with --exit-code also 8 if a machine needs somebody.
"""


@click.command(help=HELP)
@selecting
@click.option(
    "--quiet-after", type=click.IntRange(1, 525600), default=30, show_default=True,
    metavar="MINUTES", help="When a machine that is not done counts as quiet.",
)  # fmt: skip
@click.option("--exit-code", is_flag=True, help="Exit 8 if a machine needs somebody.")
@click.option(
    "--output",
    type=click.Choice(["human", "json", "jsonl", "csv", "prometheus", "html"]),
    default="human",
    show_default=True,
    help="Lines for people, JSON, a table, metrics, or a page.",
)
def status(selected: str, quiet_after: int, exit_code: bool, output: str) -> int:
    """See HELP."""
    from datetime import UTC, datetime, timedelta

    from cli import labels, nodes, summary
    from cli.records import Records
    from pairing.errors import ExitCode

    rule = labels.selector(selected)
    found = [node for node in nodes.all_nodes(Records()) if rule.selects(node.labels)]
    said = summary.Summary(datetime.now(UTC), found, timedelta(minutes=quiet_after))
    click.echo(summary.OUTPUTS[output](said), nl=False)
    return int(ExitCode.BATCH if exit_code and said.waiting else ExitCode.DONE)
