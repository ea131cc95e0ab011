"""Recipe to image: parts that are kept (trees, Python, initrd), then what a version is made of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.image import initrd, product, python, root
from node.image.bases import debian
from node.image.media import esp, stick, updates
from node.image.recipe import Base, Recipe
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
    tools = tool_room(base, store)
    version = python.python_of(tree / "tree")
    say("Python packages")
    inputs = [tree.name, *python.locked(), *python.pip(version, Path(), Path())[1:]]
    site = store.part("site", inputs, lambda draft: _make_site(draft, tree / "tree", version))
    say("initrd")
    inputs = [tree.name, str(EPOCH), initrd.settings(), *map(str, initrd.files().items())]
    boot = store.part("initrd", inputs, lambda draft: initrd.make(draft, tree / "tree", EPOCH))
    return Parts(
        tree=tree / "tree",
        tools=tools,
        base=tree / "root.tar",
        site=site / "site.tar",
        boot=boot,
    )


def tool_room(base: Base, store: Store | None = None) -> Room:
    """Make or find the tree with the tools that make images. Raises what `prepare` raises."""
    place = (store or Store(cache_folder())).part(
        "tools",
        [str(EPOCH), base.suite, base.mirror, *debian.tool_options(base)],
        lambda draft: debian.make_tools(draft, base, EPOCH),
    )
    return Room(place / "tree")


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
        kernel = payload.files[f"kr_{recipe.version}.efi"]
        return _take(ingredients, out, medium, made, kernel)


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


def _take(made: Ingredients, out: Path, medium: Path, root: Root, kernel: Path) -> Built:
    """The finished files under their names: the stick, and what a machine's upgrade reads.

    Checksums and their signature come last: without them nothing of it is an update.
    """
    version = made.recipe.version
    for name in ("SHA256SUMS", "SHA256SUMS.gpg"):
        (out / name).unlink(missing_ok=True)
    stick_file = medium.replace(out / f"{made.recipe.id}-{version}.raw")
    sources = {"root": root.squashfs, "verity": root.verity, "efi": kernel}
    files = {kind: path.replace(out / f"kr_{version}.{kind}") for kind, path in sources.items()}
    updates.publish(made.tools, out, made.work, made.keys)
    return Built(
        version=version,
        stick=stick_file,
        root=files["root"],
        verity=files["verity"],
        kernel=files["efi"],
        roothash=root.hash,
    )
