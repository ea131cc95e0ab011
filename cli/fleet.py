"""`kairos-fleet`: everything an operator types besides registering.

A command's module is loaded when the command is run, so that help stays quick.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

import click

from cli import options, screen

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "demo": "Pair a make-believe machine on this one, from a photo of its screen.",
        "decode": "Read the codes in photos.",
        "inbox": "Watch a folder for photos; say which machines wait, and what to answer.",
        "validate": "Check configs, offline.",
        "schema": "Print the JSON Schema of a config, for editors.",
        "render": "Show a config as one machine would get it, without its secrets.",
        "plan": "Show what an installation would do to a recorded machine.",
        "keys": "Make, show and certify keys.",
        "token": "Explain a token; make a network token for Kairos.",
        "status": "How all machines are, and which need somebody.",
        "nodes": "List, show, label, replace and retire machines; approve a start.",
        "recover": "Open a locked machine with its recovery key; change its keys.",
        "audit": "Show who did what to which machine, checked.",
        "rescue": "Open a terminal on a machine that needs repair.",
        "mesh": "Look into a running network of Kairos; set roles in it.",
        "image": "Make the images that machines boot from.",
        "relay": "Run a relay where machines and operators meet.",
        "doctor": "Find out what is missing or wrong on this machine.",
        "explain": "Say what an error's number means, and what to do.",
        "completion": "Print the completion script for a shell.",
    }
)
"""Every command with its one line of help; each lives in `cli/commands/NAME.py` as NAME."""

HELP = """Everything around registering machines.

\b
Examples:
  kairos-fleet demo                         see it all on this machine
  kairos-fleet validate shop.yaml           is this config right?
  kairos-fleet decode photo.jpg             can this photo be read?
  kairos-fleet plan --machine m.json -c shop.yaml
  kairos-fleet status                       how are all machines?
  kairos-fleet doctor                       what is missing here?
"""


class Commands(click.Group):
    """A group that knows its commands' names and help lines without loading them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"cli.commands.{cmd_name}")
        found: click.Command = getattr(module, cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as wrong:
            raise click.UsageError(_did_you_mean(wrong.message, args[0]), ctx) from None


def _did_you_mean(message: str, typed: str) -> str:
    import difflib

    close = difflib.get_close_matches(typed, COMMANDS, n=1)
    known = f" Did you mean {close[0]}?" if close else f" There are: {', '.join(COMMANDS)}."
    return (
        f"There is no command {typed[:40]!r}.{known}" if "No such command" in message else message
    )


@click.command(cls=Commands, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@options.version
def fleet() -> None:
    """See HELP."""


def main() -> None:
    """The program."""
    screen.run(lambda: fleet, "kairos-fleet")


if __name__ == "__main__":
    main()
