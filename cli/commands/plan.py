"""`kairos-fleet plan`: what an installation would do, on a recorded machine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cli import configs, options
from pairing import errors

HELP = """Show what an installation would do to a machine, step by step. Nothing is contacted.

\b
Examples:
  kairos-fleet plan --machine till.json -c shop.yaml
  kairos-fleet plan --machine till.json -c shop.yaml --device /dev/sdb
  kairos-fleet plan --machine till.json -c shop.yaml --output json

It is made by the same code as the node's own plan.
"""


@click.command(help=HELP)
@options.config
@options.assignments
@options.machine
@click.option("--device", default="", metavar="DISK", help="The disk to use.")
@click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", show_default=True,
    help="Lines for people, or one JSON object.",
)  # fmt: skip
def plan(
    config_files: tuple[str, ...],
    assignments: tuple[str, ...],
    machine: str | None,
    device: str,
    output: str,
) -> None:
    """See HELP."""
    from node.facts import recorded
    from node.plan.install import InstallOptions, plan_install
    from pairing.report import safe

    if not config_files or machine is None:
        raise errors.UsageError("Name both the config (--config) and the machine (--machine).")
    document, warnings = configs.read(config_files, assignments)
    for warning in warnings:
        click.echo(str(warning), err=True)
    facts = recorded(Path(machine))
    fitted = configs.fit(document, facts, device)
    made = plan_install(facts, fitted.document, InstallOptions(device=fitted.disk.path))
    if output == "json":
        click.echo(json.dumps(made.to_json(), indent=2))
        return
    for line in made.text:
        click.echo(safe(line))
