"""Recipes: what is refused, and where; the examples are right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node import settings
from node.image import recipe
from node.image.product import settings_of
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
        ("version: 1.0.0\nopen: true\ntoken: legacy\n", 4, "native, kairos, both"),
        ("version: 1.0.0\ntoken: both\n", 2, "No fleet is pinned"),
        (
            "version: 1.0.0\nfleets: [jOdwrLPyrW-69n0b_UuiD6ol3KYIoLueKv2Vi80mi3w]\ntoken: both\n",
            4,
            "controls the machine",
        ),
        ("version: 1.0.0\nopen: true\nbootstrap: [public]\n", 4, "Only a code of Kairos' form"),
        ("version: 1.0.0\nopen: true\ntoken: kairos\nbootstrap: [host:1]\n", 5, "must be /ip4/"),
        ("version: 1.0.0\nopen: true\nfiles: [{path: /etc/../x, content: a}]\n", 4, "without"),
        ("version: 1.0.0\nopen: true\nfiles: [{path: /etc/x}]\n", 4, "either content or source"),
        ("version: 1.0.0\nopen: true\nfiles: [{path: /var/x, content: a}]\n", 4, "not below"),
        ("version: 1.0.0\nopen: true\nfiles: [{path: /usr/local/x, content: a}]\n", 4, "not below"),
        ("version: 1.0.0\nopen: true\npersistent: [/usr/bin]\n", 4, "below /etc"),
        ("version: 1.0.0\nopen: true\nbase: {oci: a, dockerfile: b}\n", 4, "Only one of"),
        (f"version: 1.0.0\nfleets: [{'C' * 42}E]\n", 3, "no public key of a fleet"),
        ("version: 1.0.0\nopen: true\nrelays: [a, 'https://a.b/']\n", 4, "address of a relay"),
        ("version: 1.0.0\nopen: true\nkernel: generic\nbase: {oci: a}\n", 4, "with the base"),
        ("version: 1.0.0\nopen: true\nkernel: cloud\nbase: {dockerfile: b}\n", 4, "Remove it"),
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


@pytest.mark.parametrize("form", ["kairos", "both"])
def test_the_form_of_the_code_reaches_the_machine(tmp_path: Path, form: str) -> None:
    """What the image says is what the node reads; silence means our own code."""
    server = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWBh5fxZcig6DetbEQiXtxyjrYKhnH9DMyjLVngELtxoRj"
    path = written(
        tmp_path, f"version: 1.0.0\nopen: true\ntoken: {form}\nbootstrap: [{server}, public]\n"
    )
    asked = recipe.read(path)
    file = tmp_path / "node.yaml"
    file.write_text(json.dumps(settings_of(asked)))
    read = settings.read(file)
    assert (read.form, read.bootstrap) == (form, (server, "public"))
    file.write_text(json.dumps(settings_of(recipe.Recipe(version="1"))))
    assert settings.read(file) == settings.Settings()


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
