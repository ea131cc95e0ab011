"""`kairos-node reset`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pairing import errors

ROOT = Path("/")
RESTART_SECONDS = 10
"""Between the end of the command and the restart: for whoever is connected to read it."""


@click.command()
@click.option("--keep-data", "keep", is_flag=True, help="Leave the data volume as it is.")
@click.option("--wipe", is_flag=True, help="Destroy the data, and every key that opens it.")
@click.option("--yes", is_flag=True, help="Do not ask for the serial number first.")
@click.option("--dry-run", is_flag=True, help="Check the recovery system and print the plan.")
def reset(keep: bool, wipe: bool, yes: bool, dry_run: bool) -> None:
    """Bring this machine back to pairing: it restarts and shows a new code.

    Its config, its keys and its versions go; what stays is the recovery system, which installs it
    again. Asks for the machine's serial number before anything is changed.

    \b
    kairos-node reset --wipe --dry-run
    kairos-node reset --wipe                everything goes: no key opens the data again
    kairos-node reset --keep-data           the data stays, for whoever has its recovery key
    """
    from node import reset as back
    from node.plan.reset import Data
    from node.system.onechange import one_change
    from pairing import process
    from pairing.report import safe

    def say(line: str) -> None:
        click.echo(safe(line))

    if keep == wipe:
        raise errors.UsageError("Say what becomes of the data: --keep-data or --wipe.")
    with one_change(ROOT, errors.ResetRefused):
        plan = back.prepare(Data.WIPE if wipe else Data.KEEP, ROOT, process.run)
        for line in plan.text:
            say(line)
        if dry_run:
            back.rehearse(plan, ROOT, process.run, say)
            return
        if not yes:
            _ask()
        back.reset(plan, ROOT, process.run, say)
    say(f"Reset. The machine restarts in {RESTART_SECONDS} seconds and shows a new code.")
    later = ("systemd-run", "--quiet", f"--on-active={RESTART_SECONDS}")
    process.run((*later, "systemctl", "--no-block", "reboot"), seconds=30)


def _ask() -> None:
    """Raises errors.UsageError, or click.Abort."""
    from node.system.board import identity

    if not sys.stdin.isatty():
        raise errors.UsageError("Nobody can be asked here: say --yes.")
    serial = identity(ROOT).serial or "reset"
    question = f"To go on, type the machine's serial number ({serial})"
    typed = click.prompt(question, default="", show_default=False)
    if typed.strip() != serial:
        raise errors.ResetRefused("That is not its serial number.")
