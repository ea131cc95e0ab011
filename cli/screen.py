"""From a command to an exit code: every failure a sentence, every interruption an answer."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import click

from pairing import errors
from pairing.errors import ExitCode

ISSUES = "Please report it with the lines above; they hold no secret of yours."


def check_one_home(*modules: ModuleType) -> None:
    """Raises errors.MixedInstallation unless the three packages lie beside each other.

    Their names are short, so another distribution could bring a package of the same name.
    """
    import cli
    import node
    import pairing

    homes = {_home(module) for module in modules or (pairing, node, cli)}
    if len(homes) != 1:
        raise errors.MixedInstallation(f"({', '.join(sorted(homes))})")


def _home(module: ModuleType) -> str:
    return str(Path(module.__file__ or module.__name__).absolute().parents[1])


def run(command: Callable[[], click.Command], name: str) -> NoReturn:
    """Run a click command as the whole program and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = _code(command, name)
    _flush()
    sys.exit(code)


def _code(command: Callable[[], click.Command], name: str) -> int:
    try:
        check_one_home()
        result = command().main(prog_name=name, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message(), err=True)
        return int(ExitCode.USAGE)
    except click.UsageError as wrong:
        return show(_usage(wrong))
    except click.ClickException as wrong:
        return show(errors.UsageError(wrong.format_message()))
    except (KeyboardInterrupt, click.Abort):
        return show(errors.Interrupted("Nothing was released to any machine."))
    except errors.KnownError as wrong:
        return show(wrong)
    except BrokenPipeError:
        return _reader_gone()
    except Exception:
        return _bug()


def _usage(wrong: click.UsageError) -> errors.UsageError:
    found = errors.UsageError(wrong.format_message())
    if wrong.ctx is not None:
        found.hint = f"See {wrong.ctx.command_path} --help for examples."  # type: ignore[misc]
    return found


def exit_code(codes: Sequence[int]) -> int:
    """One code for all nodes: the only one's own, or 8 if some of several failed."""
    if len(codes) == 1 or not any(codes):
        return codes[0] if codes else int(ExitCode.DONE)
    return int(ExitCode.INTERRUPTED if ExitCode.INTERRUPTED in codes else ExitCode.BATCH)


def show(error: errors.KnownError) -> int:
    """Print an error for people; returns its exit code."""
    from pairing.report import PLAIN_WIDTH, error_lines, terminal_width, wrapped

    width = terminal_width() if sys.stderr.isatty() else PLAIN_WIDTH
    for line in wrapped(error_lines(error), "  ", width):
        print(line, file=sys.stderr)
    return int(error.exit_code)


def _bug() -> int:
    """The traceback names files and lines only: values may be secrets."""
    import traceback

    kind, value, trace = sys.exc_info()
    print("".join(traceback.format_tb(trace)), end="", file=sys.stderr)
    shown = kind.__name__ if kind else "unknown"
    print(f"error E1 bug: This should not have happened ({shown}).", file=sys.stderr)
    if isinstance(value, BaseExceptionGroup):
        for inner in value.exceptions:
            print("".join(traceback.format_tb(inner.__traceback__)), end="", file=sys.stderr)
            print(f"  one of them: {type(inner).__name__}", file=sys.stderr)
    print(f"hint: {ISSUES}", file=sys.stderr)
    return int(ExitCode.BUG)


def _reader_gone() -> int:
    """`kairos-fleet ... | head`: nobody reads on. Leaves no message about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(ExitCode.INTERRUPTED)


def _flush() -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        _reader_gone()
