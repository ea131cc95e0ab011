"""Carries out the plan of a build: one loop; each step's work is done by the module it names.

Parts (trees, Python, initrd, programs) are kept by what they are made of, so another version of a
recipe takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from node.image import (
    checks,
    initrd,
    manifest,
    oci,
    plan,
    product,
    programs,
    python,
    root,
    trees,
)
from node.image.media import esp, iso, stick, updates
from node.image.recipe import Recipe
from node.image.rooms import Room
from node.image.root import Root
from node.image.steps import (
    AddPython,
    BuildKernels,
    BuildStep,
    CheckTree,
    FetchProgram,
    FillBoot,
    MakeInitrd,
    MakeTools,
    MakeTree,
    Medium,
    PackRoot,
    PublishUpdate,
    WriteManifest,
    WriteMedium,
)
from node.image.store import Store, cache_folder
from node.image.trees import EPOCH, Tell, quiet
from node.image.uki import Ingredients

UPDATE_KIND = "application/vnd.kairos-register.update.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The files of a built image; `media` are those that the recipe asks for.

    `warnings`: sentences about what is not as it should be, each after what it is about.
    """

    version: str
    roothash: str
    root: Path
    verity: Path
    kernel: Path
    manifest: Path
    media: Mapping[Medium, Path]
    fetched: float
    """Unix seconds: when the packages of its tree were."""
    warnings: Sequence[str] = ()

    @property
    def stick(self) -> Path:
        """The raw disk image. Raises KeyError where the recipe wants none."""
        return self.media[Medium.STICK]


@dataclass(slots=True, kw_only=True)
class Bench:
    """What a build has made so far. Attributes appear in the order of the plan."""

    recipe: Recipe
    store: Store
    keys: Path | None
    out: Path
    work: Path
    fresh: bool = False
    """Packages and other people's images are fetched again."""
    part: Path = field(default=Path())
    identity: str = ""
    """What tells this tree from another: one that was made again may hold other packages."""
    tools: Room = field(default=Room(Path()))
    site: Path = field(default=Path())
    boot: Path = field(default=Path())
    programs: dict[str, Path] = field(default_factory=dict)
    made: Root = field(default=Root(Path(), Path(), ""))
    payload: esp.Payload = field(default=esp.Payload(MappingProxyType({})))
    media: dict[Medium, Path] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    """Finished files by kind, as `Built` names them."""
    warnings: list[str] = field(default_factory=list)

    @property
    def tree(self) -> Path:
        """The root tree, unpacked."""
        return self.part / "tree"

    @property
    def ingredients(self) -> Ingredients:
        return Ingredients(
            recipe=self.recipe,
            tools=self.tools,
            work=self.work,
            kernel_version=(self.boot / "version").read_text(encoding="utf-8"),
            roothash=self.made.hash,
            keys=self.keys,
        )


def build(
    recipe: Recipe,
    out: Path,
    keys: Path | None = None,
    tell: Tell = quiet,
    store: Store | None = None,
    *,
    fresh: bool = False,
) -> Built:
    """Build one version into `out`. `keys`: the folder of private keys (`node.image.signing`).

    `fresh`: the tree is made again, with the packages of today. Needs the network where parts are
    not in the cache. Raises errors.CommandMissing, errors.CommandFailed, errors.CommandTimeout,
    errors.SourceMissing, errors.BaseUnsuitable, errors.DigestWrong, errors.SourceUnreadable,
    errors.ImageKeysMissing, and OSError.
    """
    steps = plan.plan(recipe, keys=keys is not None)
    bench = _run(recipe, out, keys, tell, store, steps, fresh=fresh)
    return Built(
        version=recipe.version,
        roothash=bench.made.hash,
        media=bench.media,
        fetched=trees.fetched(bench.part),
        warnings=bench.warnings,
        **bench.files,
    )


def prepare(recipe: Recipe, tell: Tell = quiet, store: Store | None = None) -> None:
    """Only what all versions share: the parts come into the cache. Raises what `build` raises."""
    place = store or Store(cache_folder())
    place.folder.mkdir(parents=True, exist_ok=True)
    # Its own folder: unfinished files of another preparation at the same time are not ours.
    with tempfile.TemporaryDirectory(dir=place.folder, prefix="prepare.") as own:
        _run(recipe, Path(own), None, tell, place, tuple(plan.parts(recipe)))


def _run(
    recipe: Recipe,
    out: Path,
    keys: Path | None,
    tell: Tell,
    store: Store | None,
    steps: Sequence[BuildStep],
    *,
    fresh: bool = False,
) -> Bench:
    total, done = sum(step.weight for step in steps), 0
    out.mkdir(parents=True, exist_ok=True)
    with _draft(out) as work:
        place = store or Store(cache_folder())
        bench = Bench(recipe=recipe, store=place, keys=keys, out=out, work=work, fresh=fresh)
        for step in steps:
            tell(step, done, total)
            HANDLERS[type(step)](bench, step)
            done += step.weight
    return bench


# --- the steps --------------------------------------------------------------------------------


def _make_tools(bench: Bench, step: MakeTools) -> None:
    bench.tools = trees.tool_room(bench.recipe.base, bench.store)


def _make_tree(bench: Bench, step: MakeTree) -> None:
    bench.part = trees.tree_part(bench.recipe, bench.store, fresh=bench.fresh)
    with (bench.part / "root.tar").open("rb") as archive:
        bench.identity = hashlib.file_digest(archive, "sha256").hexdigest()


def _check_tree(bench: Bench, step: CheckTree) -> None:
    checks.require_suitable(bench.tree, bench.work)


def _add_python(bench: Bench, step: AddPython) -> None:
    tree, version = bench.tree, python.python_of(bench.tree)

    def make(draft: Path) -> None:
        python.make_site(draft, tree, version)
        python.pack(draft / "root", draft / "site.tar", EPOCH)
        shutil.rmtree(draft / "root")

    inputs = [bench.identity, *python.locked(), *python.pip(version, Path(), Path())[1:]]
    bench.site = bench.store.part("site", inputs, make) / "site.tar"


def _make_initrd(bench: Bench, step: MakeInitrd) -> None:
    laid = [*initrd.files().items(), *initrd.links().items()]
    tree = bench.tree
    settings = initrd.settings(initrd.tpm_libraries(tree))
    inputs = [bench.identity, str(EPOCH), settings, *map(str, laid)]
    bench.boot = bench.store.part(
        "initrd", inputs, lambda draft: initrd.make(draft, tree, settings, EPOCH)
    )


def _fetch(bench: Bench, step: FetchProgram) -> None:
    (wanted,) = (item for item in bench.recipe.providers if item.name == step.program)
    bench.programs[wanted.target] = programs.fetch(bench.recipe, wanted, bench.store)


def _pack_root(bench: Bench, step: PackRoot) -> None:
    bench.made = root.make(bench.work, _layers(bench), bench.tools, EPOCH)
    for name in ("kernel", "initrd"):
        shutil.copy(bench.boot / name, bench.work / name)


def _layers(bench: Bench) -> list[Path]:
    """Base, Python packages, program, settings: later ones win."""
    work, tree = bench.work, bench.tree
    program, settings, draft = work / "program.tar", work / "settings.tar", work / "program"
    python.make_project(draft, tree, python.python_of(tree))
    python.pack(draft / "root", program, EPOCH)
    shutil.rmtree(draft)
    keys = (_public(bench.keys, "pcr.pub"), _public(bench.keys, "update.pub"))
    product.layer(bench.recipe, *keys, bench.programs).write(settings, EPOCH)
    return [bench.part / "root.tar", bench.site, program, settings]


def _public(keys: Path | None, name: str) -> bytes:
    return (keys / name).read_bytes() if keys is not None and (keys / name).exists() else b""


def _build_kernels(bench: Bench, step: BuildKernels) -> None:
    bench.payload = esp.payload(bench.ingredients, bench.made)


def _fill_boot(bench: Bench, step: FillBoot) -> None:
    esp.make(bench.ingredients, bench.payload, "esp.img")


def _write_medium(bench: Bench, step: WriteMedium) -> None:
    work, seed, target = bench.work, bench.made.hash, step.file
    if step.medium is Medium.OCI:
        _write_artifact(bench, target)
    elif step.medium is Medium.ISO:
        made = iso.make(bench.tools, work, _partitions(bench), seed, "medium", EPOCH)
        bench.media[step.medium] = made.replace(bench.out / target)
    else:
        made = stick.make(bench.tools, work, _partitions(bench), seed, "medium")
        bench.media[step.medium] = made.replace(bench.out / target)


def _partitions(bench: Bench) -> list[stick.Part]:
    return [
        stick.Part("KR_LIVE", stick.ESP_TYPE, bench.work / "esp.img"),
        stick.Part("kr_live", stick.DATA_TYPE, bench.made.squashfs),
        stick.Part("kr_live_v", stick.DATA_TYPE, bench.made.verity),
    ]


def _publish_update(bench: Bench, step: PublishUpdate) -> None:
    """Checksums and their signature come last: without them nothing of it is an update."""
    version, out = bench.recipe.version, bench.out
    for name in ("SHA256SUMS", "SHA256SUMS.gpg"):
        (out / name).unlink(missing_ok=True)
    kernel = bench.payload.files[f"kr_{version}.efi"]
    sources = {"root": bench.made.squashfs, "verity": bench.made.verity, "kernel": kernel}
    endings = {"root": "root", "verity": "verity", "kernel": "efi"}
    for kind, path in sources.items():
        bench.files[kind] = path.replace(out / f"kr_{version}.{endings[kind]}")
    updates.publish(bench.tools, out, bench.work, bench.keys)


def _write_artifact(bench: Bench, target: str) -> None:
    """This version's update alone, with checksums of its own."""
    folder = bench.work / "update"
    folder.mkdir()
    files = [bench.files[kind] for kind in ("root", "verity", "kernel")]
    for path in files:
        (folder / path.name).hardlink_to(path)
    updates.publish(bench.tools, folder, bench.work, bench.keys)
    draft, place = bench.work / "oci", bench.out / target
    oci.write_artifact(draft, sorted(folder.iterdir()), UPDATE_KIND, bench.recipe.version)
    shutil.rmtree(place, ignore_errors=True)
    bench.media[Medium.OCI] = draft.replace(place)


def _write_manifest(bench: Bench, step: WriteManifest) -> None:
    recipe = bench.recipe
    debian_packages = list(manifest.debian_packages(bench.tree))
    if not debian_packages:
        bench.warnings.append(manifest.UNLISTED)
    packages = [*debian_packages, *manifest.python_packages(python.locked())]
    name = step.file.removesuffix(".json") + ".cdx.json"
    bill = manifest.bill(recipe.id, recipe.version, packages, bench.made.hash)
    (bench.out / name).write_text(bill, encoding="utf-8")
    paths = [*bench.media.values(), *bench.files.values()]
    listed = [path.name for path in paths if path.is_file()]
    body: Mapping[str, Any] = {
        **product.described(recipe),
        "roothash": bench.made.hash,
        "kernel": (bench.boot / "version").read_text(encoding="utf-8"),
        "programs": {item.target: item.sha256 for item in recipe.providers},
        "files": manifest.digests(bench.out, [*listed, name]),
    }
    path = bench.out / step.file
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    bench.files["manifest"] = path


HANDLERS: Mapping[type[BuildStep], Callable[[Bench, Any], None]] = MappingProxyType(
    {
        MakeTools: _make_tools,
        MakeTree: _make_tree,
        CheckTree: _check_tree,
        AddPython: _add_python,
        MakeInitrd: _make_initrd,
        FetchProgram: _fetch,
        PackRoot: _pack_root,
        BuildKernels: _build_kernels,
        FillBoot: _fill_boot,
        WriteMedium: _write_medium,
        PublishUpdate: _publish_update,
        WriteManifest: _write_manifest,
    }
)


@contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """A folder for unfinished files, on the same file system as the finished ones."""
    work = out / ".work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
