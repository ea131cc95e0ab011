"""Recipes: what is refused, and where; the examples are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.image import recipe
from pairing import errors

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/images"


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_right(example: Path) -> None:
    assert recipe.read(example).version


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(f"#kairos-image\n{text}")
    return path


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("version: 1.0.0\n", 2, "No fleet is pinned"),
        ("version: 1.0.0\nopen: true\nkernell: cloud\n", 4, "kernel"),
        ("version: ../1\nopen: true\n", 2, "must begin with a digit"),
        ("version: 1.0.0\nopen: true\ntoken: kairos\n", 4, "Only `native` works yet"),
        ("version: 1.0.0\nopen: true\nfiles: [{path: /etc/../x, content: a}]\n", 4, "without"),
        ("version: 1.0.0\nopen: true\nfiles: [{path: /etc/x}]\n", 4, "either content or source"),
        ("version: 1.0.0\nopen: true\npersistent: [/usr/bin]\n", 4, "below /etc"),
        ("version: 1.0.0\nopen: true\nbase: {oci: a, dockerfile: b}\n", 4, "Only one of"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        recipe.read(written(tmp_path, text))
    told = [f"{p.mark.line}: {p.message} {p.suggestion}" for p in caught.value.problems]
    assert [one for one in told if said in one], told
    assert any(one.startswith(f"{line}:") for one in told), told


def test_open_may_be_said_outside_of_the_recipe(tmp_path: Path) -> None:
    path = written(tmp_path, "version: 1.0.0\n")
    assert recipe.read(path, allow_open=True).fleets == ()


def test_a_config_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("#cloud-config\nversion: 1.0.0\nopen: true\n")
    with pytest.raises(errors.ConfigError, match="#kairos-image"):
        recipe.read(path)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("files: [{path: /etc/x, source: nothere}]", "files.0.source"),
        ("base: {dockerfile: nothere}", "base.dockerfile"),
        (
            "providers: [{name: k3s, source: nothere, sha256: " + "a" * 64 + "}]",
            "providers.0.source",
        ),
    ],
)
def test_a_file_that_is_not_there_is_seen_before_anything_is_built(
    tmp_path: Path, text: str, where: str
) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(f'#kairos-image\nversion: "1"\nopen: true\n{text}\n')
    with pytest.raises(errors.RecipeInvalid) as caught:
        recipe.read(path, sources=True)
    assert caught.value.exit_code == 3
    assert where in caught.value.sentence
    (tmp_path / "nothere").touch()
    assert recipe.read(path, sources=True).version == "1"


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.RecipeMissing):
        recipe.read(tmp_path / "none.yaml")
