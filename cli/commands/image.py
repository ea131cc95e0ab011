"""`kairos-fleet image`: make what machines boot from."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import folders

if TYPE_CHECKING:
    from node.image.build import Built
    from node.image.recipe import Recipe
    from node.image.steps import BuildStep
    from node.image.trees import Tell

KEYS = click.option(
    "--image-keys",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Keys that sign kernels and updates. Default: image-keys beside the operator's keys.",
)

NO_KEYS = "Sign nothing: machines take no updates from it, nor encrypt by tpm2, the default (E302)."
OLD_SECONDS = 7 * 24 * 3600.0
"""Security updates come within days."""


@click.group()
def image() -> None:
    """Make the images that machines boot from.

    \b
    Examples:
      kairos-fleet image build shop.yaml --dry-run
      kairos-fleet image build shop.yaml --out build/
      kairos-fleet image keys --name "Example Shops"
      kairos-fleet image base base.oci.tar
      kairos-fleet image schema > recipe.schema.json
    """


@image.command(short_help="Make the keys that sign images and updates.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--name", default="kairos-register", help="Whose keys they are, in certificates.")
def keys(folder: Path | None, name: str) -> None:
    """Make the keys that sign images and updates, in a folder of their own.

    Without FOLDER that is image-keys beside the operator's keys. Keys that are there stay. Keep
    the folder like the key of a safe: machines trust its kernels and updates for their whole life.

    \b
    Examples:
      kairos-fleet image keys --name "Example Shops"
      kairos-fleet image keys safe/image-keys/ --name "Example Shops"
    """
    from node.image import signing, trees
    from node.image.recipe import Base

    place = folder or _usual_keys()
    with _written_there(place), _progress() as tell:
        made = signing.make_keys(place, trees.tool_room(Base(), tell=tell), name)
    for path in made:
        click.echo(path)
    if not made:
        click.echo(f"all keys are there: {place}", err=True)


@image.command(short_help="Build an image and the files of its upgrade.")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("image"),
    show_default=True,
    help="Folder for the media and the update files.",
)
@KEYS
@click.option("--no-keys", is_flag=True, help=NO_KEYS)
@click.option("--open", "allow_open", is_flag=True, help="The recipe need not pin a fleet.")
@click.option("--version", help="Instead of the recipe's version.")
@click.option("--fresh", is_flag=True, help="Fetch packages again: those of today, not kept ones.")
@click.option("--dry-run", is_flag=True, help="Print the plan and build nothing.")
@click.option(
    "--output",
    type=click.Choice(["human", "json"]),
    default="human",
    show_default=True,
    help="Lines for people, or one JSON object.",
)
def build(
    recipe: Path,
    out: Path,
    image_keys: Path | None,
    no_keys: bool,
    allow_open: bool,
    version: str | None,
    fresh: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Build an image: what machines boot from, and the files of an upgrade.

    Keys that are missing are made, in the folder of --image-keys. Packages are kept from one build
    to the next; an upgrade that should bring their updates is built with --fresh.

    \b
    Examples:
      kairos-fleet image build shop.yaml --dry-run
      kairos-fleet image build shop.yaml --out build/
      kairos-fleet image build lab.yaml --open
      kairos-fleet image build shop.yaml --version 2.4.1 --fresh
    """
    from node.image import build as building
    from node.image import recipe as recipes
    from node.image import signing, trees
    from node.image.plan import plan

    asked = recipes.read(recipe, allow_open=allow_open, sources=True)
    if version is not None:
        asked = recipes.with_version(asked, version)
    folder = None if no_keys else image_keys or _usual_keys()
    if asked.token != "native":
        click.echo(f"warning: token: {asked.token}: {recipes.WEAK}", err=True)
    if dry_run:
        _show(plan(asked, keys=not no_keys), output)
        if output == "human":
            _say_where(asked, folder, out, None if fresh else trees.packages_of(asked))
        return
    with _written_there(out), _progress() as tell:
        if folder is not None:
            signing.make_keys(folder, trees.tool_room(asked.base, tell=tell), asked.id)
        built = building.build(asked, out, folder, tell, fresh=fresh)
    if not fresh and time.time() - built.fetched > OLD_SECONDS:
        click.echo(f"warning: packages are those {_day(built.fetched)}; see --fresh", err=True)
    for warning in built.warnings:
        click.echo(f"warning: {warning}", err=True)
    _tell(built, output)


@image.command(short_help="Write the tree for a Dockerfile's FROM.")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--kernel",
    type=click.Choice(["cloud", "generic"]),
    default="cloud",
    show_default=True,
    help="For virtual machines, or for real ones too.",
)
def base(target: Path, kernel: str) -> None:
    """Write the Debian tree that images are made of as an OCI archive, for a Dockerfile's FROM.

    \b
    Examples:
      kairos-fleet image base base.oci.tar
      echo 'FROM oci-archive:base.oci.tar' > Dockerfile
    """
    from node.image import export
    from node.image.recipe import Recipe

    with _written_there(target.parent), _progress() as tell:
        export.base_image(replace(Recipe(version="0"), kernel=kernel), target, tell)
    click.echo(target)


@image.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors.

    \b
    Examples:
      kairos-fleet image schema > recipe.schema.json
    """
    from node.image import recipe as recipes

    click.echo(json.dumps(recipes.schema(), indent=1))


def _usual_keys() -> Path:
    return folders.config_folder() / "image-keys"


@contextmanager
def _written_there(folder: Path) -> Iterator[None]:
    """Raises errors.OutputUnwritable for a full disk, or a folder that is somebody else's."""
    from pairing import errors

    try:
        yield
    except OSError as wrong:
        where = str(wrong.filename or folder)
        raise errors.OutputUnwritable(f"({wrong.strerror})", element=where) from None


def _day(seconds: float) -> str:
    return f"of {time.strftime('%Y-%m-%d', time.localtime(seconds))}"


def _say_where(recipe: Recipe, keys: Path | None, out: Path, packages: float | None) -> None:
    """What the plan does not say, as talk. `packages`: when kept ones were fetched."""
    kept = f"{_day(packages)}, kept: --fresh fetches them again" if packages else "fetched now"
    there = "" if keys and (keys / "pcr.key").exists() else " (made when it is built)"
    claimed = "by stations of its fleet only" if recipe.fleets else "by whoever has the photo"
    signed = f"{keys}{there}" if keys else "none: machines take no updates from it"
    kernel = f"{recipe.kernel} kernel" if recipe.base.is_debian else "the base's kernel"
    for label, text in (
        ("image", f"{recipe.id} {recipe.version}, {recipe.flavour}, {kernel}"),
        ("claimed", claimed),
        ("keys", signed),
        *((("packages", kept),) if recipe.base.is_debian else ()),
        ("out", str(out)),
    ):
        click.echo(f"{label:<8} {text}", err=True)


def _show(steps: tuple[BuildStep, ...], output: str) -> None:
    if output == "json":
        click.echo(json.dumps({"schema": 1, "steps": [step.to_json() for step in steps]}, indent=2))
        return
    for number, step in enumerate(steps, 1):
        click.echo(f"{number:>3}  {step.text}")


def _tell(built: Built, output: str) -> None:
    files = [*built.media.values(), built.root, built.verity, built.kernel, built.manifest]
    named = [str(path) for path in files]
    if output == "json":
        body = {"schema": 1, "version": built.version, "roothash": built.roothash}
        click.echo(json.dumps({**body, "files": named}, indent=2))
        return
    for name in named:
        click.echo(name)


@contextmanager
def _progress() -> Iterator[Tell]:
    """A bar on a terminal, lines elsewhere, both on standard error."""
    if not sys.stderr.isatty():
        yield lambda step, done, total: click.echo(step.text, err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False, markup=False)
    text = TextColumn("{task.description}", markup=False)
    percent = TextColumn("{task.percentage:>3.0f}%", markup=False)
    bar = Progress(BarColumn(20), percent, TimeElapsedColumn(), text, console=console)
    with bar as shown:
        task = shown.add_task("", total=None)

        def tell(step: BuildStep, done: int, total: int) -> None:
            shown.update(task, description=step.text, completed=done, total=total)

        yield tell
        found = shown.tasks[0]
        shown.update(task, description="built", completed=found.total)
