"""`kairos-node upgrade` and `kairos-node rollback`."""

from __future__ import annotations

from pathlib import Path

import click

ROOT = Path("/")


@click.command()
@click.argument("source")
@click.option("--version", metavar="VERSION", default="", help="Default: the newest there is.")
@click.option("--reboot", is_flag=True, help="Restart into the new version at the end.")
@click.option("--dry-run", is_flag=True, help="Check the source and print the plan; do nothing.")
def upgrade(source: str, version: str, reboot: bool, dry_run: bool) -> None:
    """Install a newer version beside the running one. The next start tries it.

    A version that is not good on trial falls back by itself to the one before. In the recovery
    system it is written beside the last good version, if there is one. SOURCE is a folder,
    a web address, or an OCI image; its list of files must be signed with a key of this image.

    \b
    kairos-node upgrade https://updates.example/shop --dry-run
    kairos-node upgrade /mnt/stick/updates --reboot
    kairos-node upgrade oci:/mnt/stick/image
    kairos-node upgrade docker://registry.example/shop:1.1.0
    """
    from node.system.onechange import one_change
    from node.upgrade import carry_out, prepare
    from pairing import errors, process
    from pairing.report import safe

    with one_change(ROOT, errors.UpgradeRefused):
        made = prepare(source, version, ROOT, process.run)
        for line in made.plan.text:
            click.echo(safe(line))
        if dry_run:
            return
        carry_out(made, lambda line: click.echo(safe(line)))
    click.echo(f"Version {made.plan.version} is tried at the next start.")
    if reboot:
        _restart()


@click.command()
@click.option("--reboot", is_flag=True, help="Restart into it at once.")
@click.option("--dry-run", is_flag=True, help="Say which version it would be; do nothing.")
def rollback(reboot: bool, dry_run: bool) -> None:
    """Go back to the version before, which was proved good, from the next start on.

    \b
    kairos-node rollback --dry-run
    kairos-node rollback --reboot
    """
    from node.system.onechange import one_change
    from node.upgrade import roll_back
    from pairing import errors, process

    with one_change(ROOT, errors.UpgradeRefused):
        given_up, version = roll_back(ROOT, process.run, rehearsed=dry_run)
    if dry_run:
        click.echo(f"{given_up} would be given up, {version} would run.")
        return
    click.echo(f"Version {version} runs from the next start on.")
    if reboot:
        _restart()


def _restart() -> None:
    from pairing import process

    process.run(("systemctl", "--no-block", "reboot"), seconds=30)
