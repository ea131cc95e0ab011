"""Recipe to steps: pure. `--dry-run` prints what the build would run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from node.image.recipe import Recipe
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
from pairing import errors

ENDINGS = {Medium.STICK: "raw", Medium.ISO: "iso", Medium.OCI: "oci"}


def plan(recipe: Recipe, *, keys: bool) -> tuple[BuildStep, ...]:
    """The steps of a build. `keys`: there are keys to sign with.

    Raises errors.ImageKeysMissing where the recipe asks for signatures that nobody can make.
    """
    if recipe.secure_boot != "off" and not keys:
        raise errors.ImageKeysMissing(f"It says `secure_boot: {recipe.secure_boot}`.")
    return tuple(_steps(recipe, keys=keys))


def parts(recipe: Recipe) -> Iterator[BuildStep]:
    """The steps whose results all versions of a recipe share."""
    yield MakeTools(suite=recipe.base.suite)
    yield MakeTree(origin=_origin(recipe), kernel=_kernel(recipe), packages=recipe.packages)
    yield CheckTree()
    yield AddPython()
    yield MakeInitrd()
    for item in recipe.providers:
        yield FetchProgram(program=item.name, source=item.source, sha256=item.sha256)


def _steps(recipe: Recipe, *, keys: bool) -> Iterator[BuildStep]:
    yield from parts(recipe)
    yield PackRoot(version=recipe.version)
    yield BuildKernels(policy=keys, signed=recipe.secure_boot != "off")
    if booted(recipe.media):
        yield FillBoot(enrol=recipe.secure_boot == "enroll")
    for medium in booted(recipe.media):
        yield WriteMedium(medium=medium, file=file_of(recipe, medium))
    yield PublishUpdate(version=recipe.version, signed=keys)
    if Medium.OCI in recipe.media:
        yield WriteMedium(medium=Medium.OCI, file=file_of(recipe, Medium.OCI))
    yield WriteManifest(file=f"{recipe.id}-{recipe.version}.json")


def booted(media: Sequence[str]) -> list[Medium]:
    """Those that a machine boots from."""
    return [medium for medium in (Medium.STICK, Medium.ISO) if medium in media]


def file_of(recipe: Recipe, medium: Medium) -> str:
    """Its name in the output folder."""
    return f"{recipe.id}-{recipe.version}.{ENDINGS[medium]}"


def _origin(recipe: Recipe) -> str:
    base = recipe.base
    if base.dockerfile:
        return f"the Dockerfile {base.dockerfile}"
    return f"the OCI image {base.oci}" if base.oci else f"Debian {base.suite}"


def _kernel(recipe: Recipe) -> str:
    return "" if recipe.base.oci or recipe.base.dockerfile else recipe.kernel
