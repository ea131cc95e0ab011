"""Recipe to image: parts that are kept (trees, Python, initrd), then what a version is made of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.image import initrd, product, python, root
from node.image.bases import debian
from node.image.media import esp, stick
from node.image.recipe import Recipe
from node.image.rooms import Room
from node.image.root import Root
from node.image.store import Store, cache_folder
from node.image.uki import Ingredients

EPOCH = 1_735_689_600
"""Unix seconds: the time of every file in an image, so that the same inputs give the same bytes."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The files of a built image."""

    version: str
    stick: Path
    root: Path
    verity: Path
    kernel: Path
    roothash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a recipe's versions have in common, ready in the cache."""

    tree: Path
    tools: Room
    base: Path
    site: Path
    boot: Path
    """Folder with `kernel`, `initrd` and `version`."""


def quiet(text: str) -> None:
    """Says nothing."""


def prepare(recipe: Recipe, say: Say = quiet, store: Store | None = None) -> Parts:
    """Make or find the parts. Needs the network where they are not cached.

    Raises errors.CommandMissing, errors.CommandFailed, errors.CommandTimeout, errors.SourceMissing
    and errors.BaseUnsuitable.
    """
    store = store or Store(cache_folder())
    base, kernel, more = recipe.base, recipe.kernel, recipe.packages
    options = [str(EPOCH), base.suite, base.mirror, *debian.node_options(base, kernel, more)]
    say("Debian tree of the node")
    tree = store.part(
        "base", options, lambda draft: debian.make_node_tree(draft, base, kernel, more, EPOCH)
    )
    say("Debian tree of the tools")
    tools = store.part(
        "tools",
        [str(EPOCH), base.suite, base.mirror, *debian.tool_options(base)],
        lambda draft: debian.make_tools(draft, base, EPOCH),
    )
    version = python.python_of(tree / "tree")
    say("Python packages")
    inputs = [tree.name, *python.locked(), *python.pip(version, Path(), Path())[1:]]
    site = store.part("site", inputs, lambda draft: _make_site(draft, tree / "tree", version))
    say("initrd")
    inputs = [tree.name, str(EPOCH), initrd.settings(), *map(str, initrd.files().items())]
    boot = store.part("initrd", inputs, lambda draft: initrd.make(draft, tree / "tree", EPOCH))
    return Parts(
        tree=tree / "tree",
        tools=Room(tools / "tree"),
        base=tree / "root.tar",
        site=site / "site.tar",
        boot=boot,
    )


def build(
    recipe: Recipe,
    out: Path,
    keys: Path | None = None,
    say: Say = quiet,
    store: Store | None = None,
) -> Built:
    """Build one version into `out`. `keys`: the folder of private keys (`node.image.signing`).

    Raises what `prepare` raises, and OSError.
    """
    parts = prepare(recipe, say, store)
    with _draft(out) as work:
        say("root file system")
        made = root.make(work, _layers(recipe, parts, work, keys), parts.tools, EPOCH)
        for name in ("kernel", "initrd"):
            shutil.copy(parts.boot / name, work / name)
        ingredients = Ingredients(
            recipe=recipe,
            tools=parts.tools,
            work=work,
            kernel_version=(parts.boot / "version").read_text(encoding="utf-8"),
            roothash=made.hash,
            keys=keys,
        )
        say("unified kernel images")
        payload = esp.payload(ingredients, made)
        say("stick")
        boot = esp.make(ingredients, payload, "esp.img")
        medium = stick.make(parts.tools, work, _partitions(boot, made), made.hash, "stick.raw")
        return _take(recipe, out, medium, made, payload.files[f"kr_{recipe.version}.efi"])


def _partitions(boot: Path, made: Root) -> list[stick.Part]:
    return [
        stick.Part("KR_LIVE", stick.ESP_TYPE, boot),
        stick.Part("kr_live", stick.DATA_TYPE, made.squashfs),
        stick.Part("kr_live_v", stick.DATA_TYPE, made.verity),
    ]


def _layers(recipe: Recipe, parts: Parts, work: Path, keys: Path | None) -> list[Path]:
    """Base, Python packages, program, settings: later ones win."""
    program, settings = work / "program.tar", work / "settings.tar"
    draft = work / "program"
    python.make_project(draft, parts.tree, python.python_of(parts.tree))
    python.pack(draft / "root", program, EPOCH)
    shutil.rmtree(draft)
    product.layer(recipe, _public(keys, "pcr.pub"), _public(keys, "update.pub")).write(
        settings, EPOCH
    )
    return [parts.base, parts.site, program, settings]


def _public(keys: Path | None, name: str) -> bytes:
    return (keys / name).read_bytes() if keys is not None and (keys / name).exists() else b""


def _make_site(draft: Path, tree: Path, version: str) -> None:
    python.make_site(draft, tree, version)
    python.pack(draft / "root", draft / "site.tar", EPOCH)
    shutil.rmtree(draft / "root")


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


def _take(recipe: Recipe, out: Path, medium: Path, made: Root, kernel: Path) -> Built:
    """The finished files under their names: what a node's upgrade reads, and the stick."""
    version = recipe.version
    names = {
        medium: f"{recipe.id}-{version}.raw",
        made.squashfs: f"kr_{version}.root",
        made.verity: f"kr_{version}.verity",
        kernel: f"kr_{version}.efi",
    }
    stick_file, squashfs, verity, uki = (
        source.replace(out / name) for source, name in names.items()
    )
    return Built(
        version=version,
        stick=stick_file,
        root=squashfs,
        verity=verity,
        kernel=uki,
        roothash=made.hash,
    )
