"""The trees that a build begins with: an image's root, and the tools. Kept between builds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from node.image.bases import container, debian
from node.image.recipe import Base, Recipe
from node.image.rooms import Room
from node.image.steps import BuildStep, MakeTools
from node.image.store import Store, cache_folder

EPOCH = 1_735_689_600
"""Unix seconds: the time of every file in an image, so that the same inputs give the same bytes."""
Tell = Callable[[BuildStep, int, int], None]
"""Called before each step: the step, the work done before it, all work (in the steps' weights)."""


def quiet(step: BuildStep, done: int, total: int) -> None:
    """Says nothing."""


def tool_room(base: Base, store: Store | None = None, tell: Tell = quiet) -> Room:
    """Make or find the tree with the tools that make images. Raises what `build` raises."""
    step = MakeTools(suite=base.suite)
    tell(step, 0, step.weight)
    place = (store or Store(cache_folder())).part(
        "tools",
        [str(EPOCH), base.suite, base.mirror, *debian.tool_options(base)],
        lambda draft: debian.make_tools(draft, base, EPOCH),
    )
    return Room(place / "tree")


def tree_part(recipe: Recipe, store: Store, *, fresh: bool = False) -> Path:
    """Make or find the root tree: `root.tar`, unpacked in `tree`. Raises what `build` raises."""
    base = recipe.base
    if not base.is_debian:
        return store.part(
            "base",
            container.identity(recipe),
            lambda draft: container.make_tree(draft, recipe),
            anew=fresh,
        )
    return store.part(
        "base",
        _debian_inputs(recipe),
        lambda draft: debian.make_node_tree(draft, base, recipe.kernel, recipe.packages, EPOCH),
        anew=fresh,
    )


def _debian_inputs(recipe: Recipe) -> list[str]:
    base = recipe.base
    options = debian.node_options(base, recipe.kernel, recipe.packages)
    return [str(EPOCH), base.suite, base.mirror, *options]


def packages_of(recipe: Recipe, store: Store | None = None) -> float | None:
    """Unix seconds: when the Debian packages in the cache were fetched that `build` would take.

    None if there are none, and for other bases.
    """
    if not recipe.base.is_debian:
        return None
    place = (store or Store(cache_folder())).place("base", _debian_inputs(recipe))
    return fetched(place) if place.exists() else None


def fetched(part: Path) -> float:
    """Unix seconds: when this tree was made."""
    return (part / "root.tar").stat().st_mtime
