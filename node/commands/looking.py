"""`kairos-node health` and `kairos-node state`."""

from __future__ import annotations

from pathlib import Path

import click

from pairing import errors

ROOT = Path("/")


@click.command()
@click.option(
    "--trial-over", is_flag=True, help="Fail if this start is still on trial. For a unit."
)
def health(trial_over: bool) -> None:
    """Say whether this start is good; a unit runs it.

    On trial, after an upgrade, it fails for a bad one (exit 7): the unit then restarts the machine,
    and the loader goes back to the version before once the tries are used up.

    \b
    kairos-node health
    """
    from node.health import Health, judge, note_failure, trial_is_over
    from node.system import board
    from pairing import process
    from pairing.report import safe

    if trial_over:
        if trial_is_over(ROOT):
            late = "the start was not proved good in time"
            found = Health(version=board.medium(ROOT), trial=True, reasons=(late,))
            note_failure(ROOT, found, unless_told=True)
            raise errors.StartUnhealthy(late)
        return
    found = judge(ROOT, process.run, lambda line: click.echo(safe(line)))
    if found.trial and not found.good:
        raise errors.StartUnhealthy("; ".join(found.reasons))


@click.command()
@click.option("--output", type=click.Choice(["human", "json"]), default="human")
def state(output: str) -> None:
    """Show what this machine runs: versions, volumes, mounts, the last upgrade.

    \b
    kairos-node state
    kairos-node state --output json
    """
    import json

    from node.lookaround import machine_state
    from pairing import process
    from pairing.report import safe

    found = machine_state(ROOT, process.run)
    if output == "json":
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    for line in found.text():
        click.echo(safe(line))
