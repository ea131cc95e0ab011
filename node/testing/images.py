"""Images for tests: small, open, quick to boot where a processor is emulated.

factory = Factory(folder, folder / "keys")
first = factory.build("1.0.0")
broken = factory.build("1.2.0", files=(UNHEALTHY,))
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from node.image import build, signing, trees
from node.image.build import Built
from node.image.recipe import ImageFile, Recipe
from pairing.testing.firmware import Certificates
from pairing.testing.hardware import EMULATED

QUICK = (*EMULATED, "cryptomgr.notests", "mitigations=off", "audit=0", "apparmor=0")
"""Kernel words: emulation is slow enough without these."""
RECIPE = Recipe(id="e2e", version="1.0.0", kernel_words=QUICK, tries=2)
UNHEALTHY = ImageFile(
    path="/usr/lib/kairos-register/health.d/10-never",
    content="#!/bin/sh\nexit 1\n",
    mode=0o755,
)
"""Makes a version that boots and is not well: a check of its own says so."""


@dataclass(slots=True)
class Factory:
    """Builds versions into `folder`, signed with the keys in `keys`: made where there are none."""

    folder: Path
    keys: Path
    recipe: Recipe = RECIPE
    built: dict[str, Built] = field(default_factory=dict)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    """What each of them was built from."""

    @property
    def certificates(self) -> Certificates:
        """What a firmware with Secure Boot is given."""
        return Certificates(
            platform=self.keys / "PK.crt",
            exchange=self.keys / "KEK.crt",
            database=self.keys / "db.crt",
        )

    def build(
        self, version: str, *, files: tuple[ImageFile, ...] = (), into: str = "", **changes: object
    ) -> Built:
        """A version of the recipe; the same one is built once. `into`: its folder, for updates.

        Raises what node.image.build.build raises.
        """
        name = into or version
        recipe = replace(self.recipe, version=version, files=files, **changes)  # type: ignore[arg-type]
        if name in self.built and self.recipes[name] != recipe:
            raise ValueError(f"{name} is another image already: say `into`")
        if name not in self.built:
            self.recipes[name] = recipe
            self.folder.mkdir(parents=True, exist_ok=True)
            signing.make_keys(self.keys, trees.tool_room(recipe.base), "e2e")
            self.built[name] = build.build(recipe, self.folder / name, self.keys)
        return self.built[name]


def main() -> None:
    """Fill the cache with what images are made of (needs the network)."""
    build.prepare(RECIPE, lambda step, done, total: print(step.text, flush=True))


if __name__ == "__main__":
    main()
