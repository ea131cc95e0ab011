"""An image from a Dockerfile: FROM our base, with one Debian package more."""

from __future__ import annotations

from pathlib import Path

from node.image import export, trees
from node.image.recipe import Base, Recipe
from pairing import process

PACKAGE = "shop-till"
SAYS = "the till of a Dockerfile"
TEXT = f"""FROM oci-archive:base.oci.tar
COPY {PACKAGE}.deb /tmp/
RUN dpkg --install /tmp/{PACKAGE}.deb && rm /tmp/{PACKAGE}.deb
"""
CONTROL = f"""Package: {PACKAGE}
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@example.com>
Description: a program
"""
SECONDS = 60.0


def write(folder: Path, recipe: Recipe) -> Base:
    """Dockerfile, base image and package into `folder`; what a recipe there says of its base.

    Raises what `export.base_image` raises, errors.CommandMissing (dpkg-deb).
    """
    tree = folder / PACKAGE
    for name, text, mode in (
        ("DEBIAN/control", CONTROL, 0o644),
        (f"usr/bin/{PACKAGE}", f"#!/bin/sh\necho {SAYS}\n", 0o755),
    ):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    argv = ["dpkg-deb", "--root-owner-group", "--build", str(tree), f"{tree}.deb"]
    # The same each time: the tree that comes of it is kept by what it is made of.
    process.run(argv, seconds=SECONDS, environment={"SOURCE_DATE_EPOCH": str(trees.EPOCH)})
    export.base_image(recipe, folder / "base.oci.tar")
    (folder / "Dockerfile").write_text(TEXT)
    return Base(dockerfile="Dockerfile")
