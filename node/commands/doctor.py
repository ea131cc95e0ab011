"""`kairos-node doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from pairing import errors

ROOT = Path("/")


@click.command()
@click.option("--output", type=click.Choice(["human", "json"]), default="human")
def doctor(output: str) -> None:
    """Find out what is wrong with this machine, and what to do. Changes nothing.

    On every machine of ours: started from a stick, installed, in recovery. What is wrong comes
    first. Nothing secret is shown. Exit code 7 if something is wrong, 0 otherwise.

    \b
    kairos-node doctor
    kairos-node doctor --output json
    """
    import json

    from node import settings
    from node.checkup.look import Look
    from node.doctor import examine, summary
    from pairing import process
    from pairing.findings import is_healthy, to_json
    from pairing.report import safe

    found = examine(Look(ROOT, process.run, settings.read()))
    if output == "json":
        click.echo(json.dumps(to_json(found), indent=2))
    else:
        for finding in found:
            for line in finding.lines:
                click.echo(safe(line))
        click.echo(summary(found))
    if not is_healthy(found):
        raise errors.NodeUnwell
