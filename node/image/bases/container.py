"""A tree from a container image: an existing one (skopeo), or what a Dockerfile makes (buildah).

buildah runs the Dockerfile's commands in a chroot, without a daemon; everything it keeps lies in a
folder of ours and goes with it. What comes out is checked like any tree: `node.image.checks`.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from node.image import layers, oci
from node.image.recipe import Recipe
from pairing import errors, process

SECONDS = 1800.0
FILE_KINDS = ("oci-archive:", "docker-archive:", "oci:", "dir:")
"""Names of images that are a path: meant from the recipe's folder."""
POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}\n'
"""Signatures of images are not asked for: the digest in the image's name is what counts."""


def identity(recipe: Recipe) -> list[str]:
    """What tells one base from another: for a file its content, for a Dockerfile its folder's."""
    base = recipe.base
    if base.dockerfile:
        path = recipe.place(base.dockerfile)
        return ["dockerfile", *_content(path.parent), path.name, *_stages(recipe)]
    named = _named(recipe)
    if named.path is not None:
        return ["oci", base.oci, *_content(named.path)]
    return ["oci", base.oci, _digest_today(base.oci)]


def make_tree(draft: Path, recipe: Recipe) -> None:
    """Fill `draft` with `root.tar`, and the same unpacked in `tree`.

    Raises errors.BaseUnsuitable, errors.SourceUnreadable and what process.run raises.
    """
    layout = draft / "layout"
    if recipe.base.dockerfile:
        _build(draft, recipe, layout)
    else:
        process.run(
            [*_skopeo(draft), "copy", "--quiet", _named(recipe).whole, f"oci:{layout}:base"],
            seconds=SECONDS,
            environment=_accounts(),
        )
    archive = draft / "root.tar"
    try:
        oci.flatten(oci.Layout(layout).layers(), archive)
        layers.unpack(archive, draft / "tree")
    except tarfile.TarError as wrong:
        reason = str(wrong).splitlines()[0].rstrip(":")
        raise errors.BaseUnsuitable(f"Its layers cannot be read: {reason}.") from None
    process.run(["rm", "-rf", str(layout)], seconds=SECONDS)


def _build(draft: Path, recipe: Recipe, layout: Path) -> None:
    file = recipe.place(recipe.base.dockerfile)
    if not file.is_file():
        raise errors.SourceUnreadable("It is no file.", element=str(file))
    folder = file.resolve().parent
    buildah = ["buildah", "--storage-driver", "vfs", "--root", str(draft / "storage")]
    buildah += ["--runroot", str(draft / "run")]
    policy = ["--signature-policy", str(_policy(draft))]
    build = ["build", "--isolation", "chroot", "--layers=false", "--tag", "localhost/base", *policy]
    # What FROM names as a file is meant from the Dockerfile's folder.
    place = ["env", f"--chdir={folder}"]
    home = _accounts()
    argv = [*place, *buildah, *build, "--file", file.name, str(folder)]
    process.run(argv, seconds=SECONDS, environment=home)
    push = [*buildah, "push", *policy, "localhost/base", f"oci:{layout}:base"]
    process.run(push, seconds=SECONDS, environment=home)
    # Its files have modes that rmtree cannot get through as an ordinary user.
    process.run([*buildah, "rmi", "--all", "--force"], seconds=SECONDS, environment=home)
    for name in ("storage", "run"):
        process.run(["rm", "-rf", str(draft / name)], seconds=SECONDS)


def _skopeo(draft: Path) -> list[str]:
    return ["skopeo", "--policy", str(_policy(draft))]


def _policy(draft: Path) -> Path:
    path = draft / "policy.json"
    path.write_text(POLICY)
    return path


@dataclass(frozen=True, slots=True)
class _Name:
    """How skopeo names an image: kind, path (none: it is in a registry) and what follows it."""

    kind: str
    path: Path | None
    more: str

    @property
    def whole(self) -> str:
        return f"{self.kind}{self.path.resolve() if self.path else ''}{self.more}"


def _named(recipe: Recipe) -> _Name:
    return _parsed(recipe.base.oci, recipe.folder)


def _parsed(name: str, folder: Path) -> _Name:
    """containers-transports(5): `oci:PATH[:TAG]` and its like; a path is meant from `folder`."""
    for kind in FILE_KINDS:
        if name.startswith(kind):
            path, colon, tag = name.removeprefix(kind).partition(":")
            return _Name(kind, folder / path, colon + tag)
    return _Name("", None, name)


def _accounts() -> dict[str, str]:
    """Whoever builds may have logged in at registries, and said which to trust:
    containers-auth.json(5), containers-registries.conf(5)."""
    passed = ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR")
    return {"HOME": str(Path.home()), **{k: os.environ[k] for k in passed if k in os.environ}}


def _digest_today(name: str) -> str:
    """Tags move: what is behind one today is what counts. Raises what process.run raises."""
    argv = ["skopeo", "inspect", "--format", "{{.Digest}}", name]
    return process.run(argv, seconds=SECONDS, environment=_accounts()).text().strip()


def _content(path: Path) -> list[str]:
    """What COPY would take: path, mode and digest of each file, where each link leads.

    Raises errors.SourceUnreadable.
    """
    if not path.exists():
        raise errors.SourceUnreadable("It is not there.", element=str(path))
    top, entries = (path, sorted(path.rglob("*"))) if path.is_dir() else (path.parent, [path])
    return [f"{entry.relative_to(top)} {_about(entry)}" for entry in entries]


def _about(entry: Path) -> str:
    """A file's time is left out: no build has the same one twice."""
    if entry.is_symlink():
        return f"-> {entry.readlink()}"
    mode = f"{entry.stat().st_mode:o}"
    return f"{mode} {_digest(entry)}" if entry.is_file() else mode


def _stages(recipe: Recipe) -> list[str]:
    """The same of images that the Dockerfile begins with: files, or names in a registry."""
    file = recipe.place(recipe.base.dockerfile)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise errors.SourceUnreadable(element=str(file)) from None
    found: list[str] = []
    stages = {"scratch"}
    for line in lines:
        words = [word for word in line.split() if not word.startswith("--")]
        if len(words) < 2 or words[0].upper() != "FROM":
            continue
        named = _parsed(words[1], file.parent)
        if named.path:
            found += _content(named.path)
        elif words[1] not in stages and "$" not in words[1]:
            name = words[1].removeprefix("docker://")
            found.append(_digest_today(f"docker://{name}"))
        stages.update(words[3:4])
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
