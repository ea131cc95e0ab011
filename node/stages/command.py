"""`kairos-node stage`."""

from __future__ import annotations

from pathlib import Path

import click

from pairing import errors
from pairing.report import safe

CONFIG = Path("/oem/90_custom.yaml")
OUTCOMES = Path("run/kairos-register/stages")
"""Of each stage in this boot; the agent reports them."""
KEPT = Path("oem/.kairos")


@click.command()
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Print what would be done, do nothing.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path("/"),
    metavar="DIR",
    help="Apply it to the system in this folder.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=CONFIG,
    metavar="FILE",
    help=f"Default: {CONFIG}",
)
def stage(name: str, dry_run: bool, root: Path, config: Path) -> None:
    """Apply one stage of the config to the installed system, as at boot.

    \b
    kairos-node stage boot
    kairos-node stage network --dry-run
    kairos-node stage boot --config c.yaml --root /mnt
    """
    from node.stages.apply import apply
    from node.stages.planning import ONCE, known_stages, plan_stage, text_of
    from pairing.config import errors_among, load_file, validate

    document = load_file(config)
    problems = errors_among(validate(document, rendered=True))
    for problem in problems:
        # No reason to stop: a newer system may have rules that the config was made before.
        click.echo(f"not valid: {safe(str(problem))}", err=True)
    known = known_stages(document)
    if name not in known:
        raise errors.UsageError(f"The stages are {', '.join(known)}.", element=name)
    try:
        steps = plan_stage(document, name)
    except (AttributeError, KeyError, TypeError, ValueError):
        if not problems:
            raise
        raise errors.ConfigError(problems=problems) from None
    if dry_run:
        for line in text_of(steps):
            click.echo(safe(line))
        return
    outcomes = []
    for one in due(name, root):
        outcomes.append(apply(one, document, root=root, report=_say))
        outcomes[-1].keep(root / (KEPT if one == ONCE else OUTCOMES))
    for outcome in outcomes:
        outcome.require()


def due(name: str, root: Path) -> tuple[str, ...]:
    """What is applied when `name` is asked for: with the first `boot` what is done only once.

    It is done once it was tried, as in Kairos: what failed is told, not done again.
    """
    from node.stages.planning import ONCE

    done = (root / KEPT / f"{ONCE}.json").exists()
    return (ONCE, name) if name == "boot" and not done else (name,)


def _say(step: str, of: str, done: int, total: int, text: str, /) -> None:
    click.echo(f"{step} {of} {done}/{total} {safe(text)}")
