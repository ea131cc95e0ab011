"""`kairos-fleet render`: a config as one machine would get it."""

from __future__ import annotations

from pathlib import Path

import click

from cli import configs, options
from pairing import errors

HELP = """Show a config as one machine would get it: merged, filled in, checked.

\b
Examples:
  kairos-fleet render -c base.yaml -c shop-17.yaml --machine till.json
  kairos-fleet render -c shop.yaml --machine till.json --set hostname=shop-17
  kairos-fleet render -c shop.yaml                 merged only, not filled in

Secrets are shown as (secret). Nothing is fetched and no password is hashed.
"""


@click.command(help=HELP)
@options.config
@options.assignments
@options.machine
def render(
    config_files: tuple[str, ...], assignments: tuple[str, ...], machine: str | None
) -> None:
    """See HELP."""
    from node.facts import recorded
    from pairing.config.dump import dump
    from pairing.config.redact import redact
    from pairing.config.template import node_values
    from pairing.config.template import render as filled_in
    from pairing.config.validate import require_valid

    if not config_files:
        raise errors.UsageError("Name the config: --config FILE.")
    document, warnings = configs.read(config_files, assignments)
    if machine is not None:
        document = filled_in(document, node_values(recorded(Path(machine))))
        warnings = require_valid(document, rendered=True)
    for warning in warnings:
        click.echo(str(warning), err=True)
    click.echo(dump(redact(document)).decode(), nl=False)
