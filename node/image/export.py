"""The base tree as an OCI image, for other people's Dockerfiles."""

from __future__ import annotations

import shutil
from pathlib import Path

from node.image import oci, trees
from node.image.recipe import Recipe
from node.image.steps import MakeTree
from node.image.store import Store, cache_folder

TAG = "base"
NAME = "org.opencontainers.image.title"


def base_image(recipe: Recipe, target: Path, tell: trees.Tell = trees.quiet) -> None:
    """Write the recipe's tree, before anything of ours, as an OCI archive.

    Raises what `build.build` raises.
    """
    step = MakeTree(origin=f"Debian {recipe.base.suite}", kernel=recipe.kernel)
    tell(step, 0, step.weight)
    part = trees.tree_part(recipe, Store(cache_folder()))
    draft = target.with_name(f".{target.name}.work")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        oci.write_image(draft, part / "root.tar", {NAME: f"kairos-register {TAG}"}, TAG)
        oci.pack(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
