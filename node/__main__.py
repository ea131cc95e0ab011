"""`kairos-node`: what runs on the machine itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

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
EPILOG = "Exit codes and all messages: docs/reference."


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kairos-node")
def main() -> None:
    """What runs on a new machine.

    \b
    kairos-node run                     show the code, pair, install
    kairos-node run --dry-run           the same without touching the disk
    kairos-node facts                   what this machine is
    kairos-node install c.yaml --dry-run
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
def install(config: Path, machine: Path | None, dry_run: bool) -> None:
    """Plan an installation from a config file and rehearse it, without an operator.

    \b
    kairos-node install c.yaml --dry-run
    kairos-node install c.yaml --machine examples/machines/fanless-emmc.json
    """
    from node.running import rehearse

    if not (dry_run or machine):
        raise errors.UsageError("Without an operator only --dry-run is possible.")
    rehearse(config, machine, click.echo)


main.add_command(stage)


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
