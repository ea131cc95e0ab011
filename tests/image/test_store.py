"""Parts of images that are kept, and made anew when asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands.image import image
from node.image import trees
from node.image.bases import debian
from node.image.recipe import Base, Recipe
from node.image.store import Store, cache_folder

EXAMPLES = Path(__file__).parents[2] / "examples/images"
DAY = 1_767_225_600.0
"""Noon of 2026-01-01 in most places."""


def saying(text: str) -> Callable[[Path], None]:
    """Makes a part with one file."""

    def make(draft: Path) -> None:
        (draft / "said").write_text(text)

    return make


def broken(draft: Path) -> None:
    raise RuntimeError("no network")


def test_a_part_is_made_once_unless_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert (store.part("base", ["a"], saying("one")) / "said").read_text() == "one"
    assert (store.part("base", ["a"], saying("two")) / "said").read_text() == "one"
    assert (store.part("base", ["a"], saying("two"), anew=True) / "said").read_text() == "two"
    assert (store.part("base", ["b"], saying("three"), anew=True) / "said").read_text() == "three"
    assert len(list(tmp_path.iterdir())) == 2, "nothing old stays beside them"


def test_a_part_stays_where_making_it_anew_fails(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = store.part("base", ["a"], saying("one"))
    with pytest.raises(RuntimeError):
        store.part("base", ["a"], broken, anew=True)
    assert (kept / "said").read_text() == "one"
    assert list(tmp_path.iterdir()) == [kept]


def tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recipe: Recipe) -> Path:
    """A kept tree of that recipe, of `DAY`; it is used again and again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(debian, "make_node_tree", lambda draft, *_: archive(draft))
    part = trees.tree_part(recipe, Store(cache_folder()))
    os.utime(part / "root.tar", (DAY, DAY))
    return part


def archive(draft: Path) -> None:
    (draft / "root.tar").write_text("a tree")


def test_how_old_kept_packages_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = Recipe(version="1")
    part = tree(monkeypatch, tmp_path, recipe)
    assert trees.tree_part(recipe, Store(cache_folder())) == part
    assert trees.packages_of(recipe) == DAY
    assert trees.packages_of(Recipe(version="1", packages=("vim",))) is None
    assert trees.packages_of(Recipe(version="1", base=Base(dockerfile="Dockerfile"))) is None
    trees.tree_part(recipe, Store(cache_folder()), fresh=True)
    assert (trees.packages_of(recipe) or 0) > DAY


def test_a_dry_run_says_of_which_day_its_packages_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = Recipe(version="1.0.0")
    tree(monkeypatch, tmp_path, recipe)
    words = ["build", str(EXAMPLES / "lab.yaml"), "--no-keys", "--dry-run"]
    assert "packages of 2026-01-01, kept: --fresh" in CliRunner().invoke(image, words).stderr
    fresh = CliRunner().invoke(image, [*words, "--fresh"]).stderr
    assert "packages fetched now" in fresh
