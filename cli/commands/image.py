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
      kairos-fleet image schema > recipe.schema.json
    """


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
    help="Folder with the private keys that sign it.",
)
@click.option("--open", "allow_open", is_flag=True, help="The recipe need not pin a fleet.")
def build(recipe: Path, out: Path, image_keys: Path | None, allow_open: bool) -> None:
    """Build an image: a stick, and the files of an upgrade.

    \b
    Examples:
      kairos-fleet image build shop.yaml --out build/
      kairos-fleet image build lab.yaml --open
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
