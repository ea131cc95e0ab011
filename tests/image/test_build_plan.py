"""Plans of builds: what is made, in which order, and what is refused before anything is made."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands.image import image
from node.image import build, manifest, plan, programs
from node.image.recipe import Base, ProviderFile, Recipe
from node.image.steps import (
    STEP_TYPES,
    BuildKernels,
    Medium,
    PublishUpdate,
    WriteManifest,
    WriteMedium,
)
from node.image.store import Store
from pairing import errors

RECIPE = Recipe(version="1.0.0")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples/images"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def names(recipe: Recipe, *, keys: bool = True) -> list[str]:
    return [step.name for step in plan.plan(recipe, keys=keys)]


def test_a_build_in_its_order() -> None:
    shared = ["tools", "tree", "check-tree", "python", "initrd"]
    assert names(RECIPE) == [*shared, "root", "kernels", "boot", "medium", "update", "manifest"]
    assert [step.name for step in plan.parts(RECIPE)] == shared


def test_the_tree_is_checked_before_anything_is_made_of_it() -> None:
    foreign = replace(RECIPE, base=Base(dockerfile="Dockerfile"))
    found = names(foreign)
    assert found.index("check-tree") == found.index("tree") + 1


def test_every_step_has_a_handler_a_text_and_a_weight() -> None:
    assert set(build.HANDLERS) == set(STEP_TYPES)
    everything = replace(
        RECIPE,
        media=tuple(Medium),
        providers=(ProviderFile(name="k3s", source="k3s", sha256=EMPTY),),
    )
    steps = plan.plan(everything, keys=True)
    assert {type(step) for step in steps} == set(STEP_TYPES)
    for step in steps:
        assert step.text
        assert step.weight > 0
        assert json.loads(json.dumps(step.to_json()))["step"] == step.name


def test_media_are_those_of_the_recipe() -> None:
    written = [
        step.file
        for step in plan.plan(replace(RECIPE, media=("iso", "oci")), keys=True)
        if isinstance(step, WriteMedium)
    ]
    assert written == ["node-1.0.0.iso", "node-1.0.0.oci"]
    assert "boot" not in names(replace(RECIPE, media=("oci",)))


def test_signatures_that_nobody_can_make_are_refused_and_missing_ones_said() -> None:
    with pytest.raises(errors.ImageKeysMissing):
        plan.plan(replace(RECIPE, secure_boot="signed"), keys=False)
    told = {type(step): step.text for step in plan.plan(RECIPE, keys=False)}
    assert "NOT signed" in told[PublishUpdate]
    assert "without PCR policy" in told[BuildKernels]


def test_dry_run_prints_the_plan_and_makes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["build", str(EXAMPLES / "lab.yaml"), "--out", str(out), "--dry-run"]
    said = CliRunner().invoke(image, words, catch_exceptions=False)
    assert said.exit_code == 0
    assert "Root 1.0.0: squashfs and dm-verity" in said.output
    as_json = CliRunner().invoke(image, [*words, "--output", "json", "--version", "9"])
    steps = json.loads(as_json.output)["steps"]
    assert [step["step"] for step in steps][:2] == ["tools", "tree"]
    assert {"step": "root", "version": "9"} in steps
    assert not out.exists()


def listed(folder: Path, status: str | None) -> tuple[list[str], str]:
    """The warnings about a base with this list of dpkg's, and the image's list of packages."""
    store, out = Store(folder / "cache"), folder / "out"
    out.mkdir(parents=True)
    bench = build.Bench(recipe=RECIPE, store=store, keys=None, out=out, work=folder / "work")
    bench.part = bench.boot = folder
    (folder / "version").write_text("6.12.0")
    (bench.tree / "var/lib/dpkg").mkdir(parents=True)
    if status is not None:
        (bench.tree / "var/lib/dpkg/status").write_text(status)
    build.HANDLERS[WriteManifest](bench, WriteManifest(file="node-1.0.0.json"))
    return bench.warnings, (out / "node-1.0.0.cdx.json").read_text()


@pytest.mark.parametrize("status", [None, ""])
def test_a_base_without_a_list_of_packages_is_warned_of(tmp_path: Path, status: str | None) -> None:
    warnings, packages = listed(tmp_path, status)
    assert warnings == [manifest.UNLISTED]
    assert "pkg:deb" not in packages
    assert "pkg:pypi" in packages


def test_the_packages_of_a_base_are_listed_without_a_warning(tmp_path: Path) -> None:
    dash = "Package: dash\nStatus: install ok installed\nVersion: 0.5\nArchitecture: amd64\n"
    warnings, packages = listed(tmp_path, dash)
    assert warnings == []
    assert "pkg:deb/debian/dash@0.5?arch=amd64" in packages


@pytest.mark.parametrize(
    ("days", "fresh", "said"),
    [(0, (), ""), (8, (), "packages are those of"), (8, ("--fresh",), "")],
)
def test_warnings_of_a_build_are_told_beside_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, fresh: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "file"
    made = build.Built(
        version="1",
        roothash="",
        root=file,
        verity=file,
        kernel=file,
        manifest=file,
        media={},
        fetched=time.time() - days * 24 * 3600,
        warnings=["packages: none"],
    )
    monkeypatch.setattr(build, "build", lambda *_, **__: made)
    words = ["build", str(EXAMPLES / "lab.yaml"), "--out", str(tmp_path), "--no-keys", *fresh]
    told = CliRunner().invoke(image, words, catch_exceptions=False)
    first, *others = told.stderr.splitlines()
    assert "warning: packages: none" in (first, *others)
    assert said in told.stderr
    assert len(others) == bool(said)
    assert told.stdout == f"{file}\n" * 4


def test_a_program_is_believed_by_its_digest_only(tmp_path: Path) -> None:
    (tmp_path / "k3s").write_bytes(b"")
    recipe = replace(RECIPE, folder=tmp_path)
    store = Store(tmp_path / "cache")
    wanted = ProviderFile(name="k3s", source="k3s", sha256=EMPTY)
    assert programs.fetch(recipe, wanted, store).read_bytes() == b""
    assert wanted.target == "/usr/bin/k3s"
    (tmp_path / "k3s").write_bytes(b"something else")
    with pytest.raises(errors.DigestWrong):
        programs.fetch(recipe, replace(wanted, sha256="0" * 64), store)
    assert not list((tmp_path / "cache").glob("*.*")), "a draft stayed"


@pytest.mark.parametrize("source", ["missing", "http://example.org/k3s", "file:///etc/hostname"])
def test_a_program_comes_from_a_file_or_by_https(tmp_path: Path, source: str) -> None:
    recipe = replace(RECIPE, folder=tmp_path)
    wanted = ProviderFile(name="k3s", source=source, sha256=EMPTY)
    with pytest.raises(errors.SourceUnreadable):
        programs.fetch(recipe, wanted, Store(tmp_path / "cache"))


def test_a_version_on_the_command_line_is_checked(tmp_path: Path) -> None:
    words = ["build", str(EXAMPLES / "lab.yaml"), "--dry-run", "--version", "../1"]
    caught = CliRunner().invoke(image, words)
    assert isinstance(caught.exception, errors.UsageError)


def test_preparations_at_once_leave_each_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, running = Store(tmp_path / "cache"), 0

    def step(bench: build.Bench, step: object) -> None:
        nonlocal running
        running += 1
        if running == 1:
            build.prepare(Recipe(id="other", version="1"), store=store)
        assert bench.work.exists(), "another preparation has ended meanwhile"

    monkeypatch.setattr(build, "HANDLERS", dict.fromkeys(build.HANDLERS, step))
    build.prepare(Recipe(id="shop", version="1"), store=store)
    assert running > 2
    assert not list(store.folder.iterdir()), "nothing unfinished is left"
