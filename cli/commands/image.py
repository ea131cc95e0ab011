"""`kairos-fleet image`: make what machines boot from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.group()
def image() -> None:
    """Make the images that machines boot from.

    \b
    Examples:
      kairos-fleet image build shop.yaml --out build/
      kairos-fleet image keys image-keys/ --name "Example Shops"
      kairos-fleet image schema > recipe.schema.json
    """


@image.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", default="kairos-register", help="Whose keys they are, in certificates.")
def keys(folder: Path, name: str) -> None:
    """Make the keys that sign images and updates, in a folder of their own.

    Keys that are there stay. Keep the folder like the key of a safe: machines trust its kernels
    and updates for their whole life.

    \b
    Examples:
      kairos-fleet image keys image-keys/ --name "Example Shops"
    """
    from node.image import build as building
    from node.image import signing
    from node.image.recipe import Base

    for path in signing.make_keys(folder, building.tool_room(Base()), name):
        click.echo(path)


@image.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("image"),
    show_default=True,
    help="Folder for the stick and the update files.",
)
@click.option(
    "--image-keys",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of `kairos-fleet image keys`: they sign kernels and updates.",
)
@click.option("--open", "allow_open", is_flag=True, help="The recipe need not pin a fleet.")
def build(recipe: Path, out: Path, image_keys: Path | None, allow_open: bool) -> None:
    """Build an image: a stick, and the files of an upgrade.

    \b
    Examples:
      kairos-fleet image build shop.yaml --out build/
      kairos-fleet image build lab.yaml --open
      kairos-fleet image build shop.yaml --image-keys image-keys/
    """
    from node.image import build as building
    from node.image import recipe as recipes

    asked = recipes.read(recipe, allow_open=allow_open)
    out.mkdir(parents=True, exist_ok=True)
    say = building.quiet if not sys.stderr.isatty() else lambda text: click.echo(text, err=True)
    built = building.build(asked, out, image_keys, say)
    click.echo(built.stick)


@image.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors.

    \b
    Examples:
      kairos-fleet image schema > recipe.schema.json
    """
    from node.image import recipe as recipes

    click.echo(json.dumps(recipes.schema(), indent=1))
