"""`kairos-node boot`."""

from __future__ import annotations

from pathlib import Path

import click

from pairing import errors

ROOT = Path("/")


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def boot(dry_run: bool) -> None:
    """Open the volumes, mount them and apply the config's early stages. A unit runs it.

    \b
    kairos-node boot --dry-run
    """
    from node.boot import Starter, apply_stage, planned
    from pairing import process

    if dry_run:
        for line in planned(ROOT, process.run):
            click.echo(line)
        return
    starter = Starter(root=ROOT, run=process.run, stage=apply_stage, say=click.echo)
    report = starter.boot()
    if report.state != "open":
        raise errors.from_slug(report.code)
