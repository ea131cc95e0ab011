"""`kairos-node listen`."""

from __future__ import annotations

from pathlib import Path

import click

ROOT = Path("/")


@click.command()
def listen() -> None:
    """Let this installed machine's operator reach it, for 15 minutes.

    \b
    kairos-node listen                          on the machine, as root
    kairos-fleet recover shop-17 --rotate       then, at the operator

    A machine that has told how its installation went listens to nobody.
    """
    from node.listening import ask

    ask(ROOT)
    click.echo("It listens for 15 minutes, to its operator only.")
