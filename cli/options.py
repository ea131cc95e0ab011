"""Options that several commands share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pairing import __version__
from pairing.report import OUTPUTS

LEVELS = ("debug", "info", "warning", "error")
_Command = Callable[..., Any]

output = click.option(
    "--output",
    type=click.Choice(OUTPUTS),
    default="human",
    show_default=True,
    help="Lines for people, one JSON object at the end, or a JSON line for each event.",
)
keys = click.option(
    "--keys",
    "key_folder",
    type=click.Path(),
    metavar="DIR",
    help="Folder of your keys.  [default: kairos-register/keys in the XDG config folder]",
)
config = click.option(
    "--config",
    "-c",
    "config_files",
    type=click.Path(),
    multiple=True,
    metavar="FILE",
    help="The config (#cloud-config YAML). Repeatable: later files are laid over earlier ones.",
)
assignments = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set one value of the config, such as hostname=shop-17. Repeatable.",
)
machine = click.option(
    "--machine",
    type=click.Path(),
    metavar="FILE.json",
    help="A recorded machine, as `kairos-node facts --output json` writes it.",
)


def log_level(command: _Command) -> _Command:
    """`--log-level`: what libraries say, on standard error."""
    return click.option(
        "--log-level",
        type=click.Choice(LEVELS),
        default="error",
        show_default=True,
        expose_value=False,
        callback=lambda _context, _option, level: start_log(level),
        help="How much the libraries below tell on standard error.",
    )(command)


def start_log(level: str) -> None:
    """Send log records of at least this level to standard error, made harmless."""
    handler = logging.StreamHandler()
    handler.setFormatter(_SafeFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _SafeFormatter(logging.Formatter):
    """Log records may quote a stranger's bytes."""

    def format(self, record: logging.LogRecord) -> str:
        from pairing.report import safe

        return safe(super().format(record))


def version(command: _Command) -> _Command:
    """`--version`: of the program, of the protocol, and the commit where it is known."""
    return click.option(
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Show the versions of program and protocol.",
    )(command)


def _show_version(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(version_text())
        context.exit()


def version_text() -> str:
    """One line: version, protocol, commit if this runs from a checkout."""
    from pairing.protocol.messages import PROTOCOL

    known = commit()
    return f"kairos-register {__version__}, protocol {PROTOCOL}" + (f", {known}" if known else "")


def commit() -> str:
    """`commit` and 12 hex digits if this runs from a git checkout, else empty."""
    import re

    git = Path(__file__).absolute().parents[1] / ".git"
    try:
        head = (git / "HEAD").read_text("ascii").strip()
        if head.startswith("ref: "):
            head = _ref(git, head.removeprefix("ref: "))
    except (OSError, UnicodeDecodeError):
        return ""
    return f"commit {head[:12]}" if re.fullmatch("[0-9a-f]{40,64}", head) else ""


def _ref(git: Path, name: str) -> str:
    path = git / name
    if path.exists():
        return path.read_text("ascii").strip()
    for line in (git / "packed-refs").read_text("ascii").splitlines():
        if line.endswith(f" {name}"):
            return line.split(" ")[0]
    return ""
