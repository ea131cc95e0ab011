"""`kairos-fleet validate`: everything that is wrong with configs, without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options
from pairing import errors

if TYPE_CHECKING:
    from pairing.config.document import Document
    from pairing.config.problem import Problem

HELP = """Check configs and name every mistake with its line and column.

\b
Examples:
  kairos-fleet validate shop.yaml
  kairos-fleet validate base.yaml north.yaml            each on its own
  kairos-fleet validate --merge base.yaml north.yaml    laid over each other
  kairos-fleet validate --machine till.json shop.yaml   and does it fit that?
  kairos-fleet validate --kairos theirs.yaml            by Kairos' own keys
  kairos-fleet validate --output json shop.yaml | jq .problems

Exit codes: 0 valid (warnings are no errors), 2 no such file, 3 not valid.
"""


@click.command(help=HELP)
@click.argument("config", nargs=-1, type=click.Path(), required=True, metavar="CONFIG...")
@click.option("--merge", "together", is_flag=True, help="Lay the files over each other first.")
@click.option("--kairos", is_flag=True, help="Know all documented keys of Kairos instead.")
@options.assignments
@options.machine
@click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", show_default=True,
    help="Lines for people, or one JSON object.",
)  # fmt: skip
def validate(
    config: tuple[str, ...],
    together: bool,
    kairos: bool,
    assignments: tuple[str, ...],
    machine: str | None,
    output: str,
) -> int:
    """See HELP."""
    groups = [config] if together else [(path,) for path in config]
    problems = [
        problem
        for group in groups
        for problem in _problems(group, assignments, machine, kairos=kairos)
    ]
    wrong = [problem for problem in problems if problem.severity.value == "error"]
    if output == "json":
        body = {"schema": 1, "valid": not wrong, "problems": [_body(p) for p in problems]}
        click.echo(json.dumps(body, indent=2))
    else:
        for problem in problems:
            click.echo(str(problem))
        names = ", ".join(config)
        click.echo(f"{names}: {'not valid' if wrong else 'valid'}", err=bool(wrong))
    return int(errors.ExitCode.CONFIG if wrong else errors.ExitCode.DONE)


def _problems(
    paths: tuple[str, ...], assignments: tuple[str, ...], machine: str | None, *, kairos: bool
) -> list[Problem]:
    from pairing.config.load import load_file
    from pairing.config.merge import merge, set_value
    from pairing.config.validate import validate

    try:
        document = merge([load_file(Path(path)) for path in paths])
        for assignment in assignments:
            document = set_value(document, assignment)
        found = validate(document, "kairos" if kairos else "native")
        if kairos:
            found += _refused(document)
        if machine is not None and not any(p.severity.value == "error" for p in found):
            found += _fit(document, machine)
    except errors.ConfigError as wrong:
        if not wrong.problems:
            raise
        return list(wrong.problems)
    return found


def _refused(document: Document) -> list[Problem]:
    """What `kairos-register --kairos` would not send, though Kairos would take it."""
    from pairing.config.exposed import exposed
    from pairing.config.kairos import our_placeholders, unheeded
    from pairing.config.problem import Severity

    advice = "`kairos-register --kairos` sends it only with --allow-secrets."
    secrets = [
        replace(found, severity=Severity.WARNING, suggestion=advice) for found in exposed(document)
    ]
    return [*our_placeholders(document), *unheeded(document), *secrets]


def _fit(document: Any, machine: str) -> list[Problem]:
    from cli.configs import fit
    from node.facts import recorded

    try:
        fit(document, recorded(Path(machine)))
    except errors.ConfigError as wrong:
        return list(wrong.problems)
    return []


def _body(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.mark.file,
        "line": problem.line,
        "column": problem.column,
        "path": list(problem.path),
        "severity": problem.severity.value,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }
