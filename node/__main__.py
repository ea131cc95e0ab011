"""`kairos-node`: what runs on the machine itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from node.commands.boot import boot
from node.commands.doctor import doctor
from node.commands.listen import listen
from node.commands.looking import health, state
from node.commands.relay import relay
from node.commands.reset import reset
from node.commands.upgrade import rollback, upgrade
from node.stages.command import stage
from pairing import __version__, errors

MACHINE = click.option(
    "--machine",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Use recorded hardware (examples/machines) instead of this machine's. Implies --dry-run.",
)
DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Do everything but change the disk: same plan, same messages."
)
SETTINGS_FILE = click.option(
    "--settings",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings of the stick. Default: /etc/kairos-register/node.yaml",
)
ROOT = Path("/")
EPILOG = "Exit codes and all messages: docs/reference."


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kairos-node")
def main() -> None:
    """What runs on a new machine.

    \b
    kairos-node run                     show the code, pair, install
    kairos-node run --dry-run           the same without touching the disk
    kairos-node facts                   what this machine is
    kairos-node install c.yaml --dry-run    what would be done
    kairos-node doctor                  what is wrong with it
    """


@main.command()
@MACHINE
@DRY_RUN
@SETTINGS_FILE
@click.option("--lang", metavar="LANG", help="Language of the screen: en, es, fr, de, pt.")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port, 0 for any. Default: 4917")
@click.option("--listen", "hosts", multiple=True, metavar="ADDRESS", help="Listen here only.")
@click.option("--relay", "relays", multiple=True, metavar="RELAY", help="Wait at this relay too.")
@click.option("--relay-ca", type=click.Path(path_type=Path), help="CA certificates for relays.")
@click.option(
    "--relay-token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Access token for relays that ask for one.",
)
@click.option(
    "--console",
    "consoles",
    multiple=True,
    metavar="DEVICE",
    help="Draw here; `kernel` is every console of the kernel. Default: this terminal.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Keep a picture of the screen in this file.",
)
@click.option("--state", type=click.Path(path_type=Path), metavar="DIR", help="Journal's folder.")
@click.option("--abort-seconds", type=click.IntRange(0, 3600), help="Pause before the first write.")
@click.option("--once", is_flag=True, help="End when the operator has the verdict.")
def run(**said: object) -> None:
    """Show the code on the screen, pair, and carry out what the operator releases.

    \b
    kairos-node run
    kairos-node run --console kernel
    kairos-node run --machine examples/machines/virtio-vm.json --picture screen.png
    """
    from node.running import Options, run_node

    run_node(Options(**said))  # type: ignore[arg-type]


@main.command()
@MACHINE
@click.option("--output", type=click.Choice(["human", "json"]), default="human")
def facts(machine: Path | None, output: str) -> None:
    """Show what this machine is: what an operator sees before releasing anything."""
    import json

    from node.running import look_at
    from pairing.facts import facts_text
    from pairing.report import safe

    snapshot = look_at(machine)()
    if output == "json":
        click.echo(json.dumps(snapshot.to_json(), indent=2))
        return
    for line in facts_text(snapshot):
        click.echo(safe(line))


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@MACHINE
@DRY_RUN
@click.option(
    "--recovery-key-to",
    "key_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep the recovery key in this new file, on a stick or another disk.",
)
@click.option("--yes", is_flag=True, help="Do not ask before the disk is erased.")
def install(
    config: Path, machine: Path | None, dry_run: bool, key_file: Path | None, yes: bool
) -> None:
    """Install this machine from a config file, without an operator.

    \b
    kairos-node install c.yaml --dry-run
    kairos-node install c.yaml --machine examples/machines/fanless-emmc.json
    kairos-node install c.yaml --recovery-key-to /mnt/keys/shop-17.key
    """
    from node import alone
    from node.running import look_at
    from node.system.install.doors import Doors
    from pairing.report import safe

    def say(line: str) -> None:
        click.echo(safe(line))

    facts = look_at(machine)()
    made = alone.planned(config, facts)
    for line in made.plan.text:
        say(line)
    if dry_run or machine:
        return
    doors = Doors()
    alone.require_installable(facts, made.plan, key_file, doors)
    if not yes:
        click.confirm(f"Erase {made.plan.disk.path} and install it?", abort=True)
    alone.install(made, key_file=key_file, doors=doors, say=say)
    say("Installed. Take the stick out and restart the machine.")


@main.command()
def unlock() -> None:
    """Open this machine's disk with its recovery key, to repair it.

    \b
    kairos-node unlock                  asks for the key, without showing it
    kairos-node unlock < key.txt

    For the recovery system and for a stick. An operator has the key: kairos-fleet recover.
    """
    from getpass import getpass

    from node.boot import open_late
    from node.system import board, unlocking
    from node.system.opening import Secret
    from pairing import process

    typed = getpass("Recovery key: ") if sys.stdin.isatty() else sys.stdin.readline(1024)
    key = unlocking.read_key(typed)
    try:
        if board.mode(ROOT) == "installed":
            open_late(Secret("key", key.passphrase), ROOT, process.run, click.echo)
        else:
            for line in unlocking.unlock(key, ROOT, process.run):
                click.echo(line)
            if board.mode(ROOT) == "recovery":
                unlocking.keep_key(key, ROOT)
    finally:
        key.wipe()


for command in (boot, stage, state, health, relay, upgrade, rollback, reset, doctor, listen):
    main.add_command(command)


def entry() -> NoReturn:
    """Run `kairos-node`; errors become sentences and exit codes."""
    try:
        main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(errors.ExitCode.USAGE)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(errors.ExitCode.INTERRUPTED)
    except errors.KnownError as error:
        click.echo(f"error {error.code} {error.slug}: {error.sentence}", err=True)
        click.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    sys.exit(0)


if __name__ == "__main__":
    entry()
