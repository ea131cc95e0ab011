"""Kubernetes' own programs for tests, built from the pinned Go module in tests/kube.

    control    kube-apiserver and kube-controller-manager, by the name that it is called
    kubelet    for a guest that is to become Ready
    pause      what a pod runs there: ours, some lines

A cold build needs Go and its module proxy and takes minutes: `python -m node.testing.kube_build`
makes them ahead of the tests.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Literal

from pairing.testing import goprogram
from pairing.testing.goprogram import GoProgram

SOURCE = Path(__file__).resolve().parents[2] / "tests/kube"
Name = Literal["control", "kubelet", "pause"]
NAMES: tuple[Name, ...] = ("control", "kubelet", "pause")
go = goprogram.go


def built(name: Name) -> Path | None:
    """The program, if an earlier build left it in the cache."""
    return program(name).built()


def build(name: Name) -> Path:
    """The program, built if it is missing. Raises what GoProgram.build raises."""
    return program(name).build()


def program(name: Name) -> GoProgram:
    """How it is made."""
    return GoProgram(name, "kube", SOURCE, package=name, words=_words())


def version() -> str:
    """The version of Kubernetes, such as `v1.35.3`."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (SOURCE / "go.mod").read_text())
    assert found, "go.mod does not name k8s.io/kubernetes"
    return found[1]


def _words() -> str:
    # Without the version an API server calls itself v0.0.0-master, and clients refuse it.
    major, minor, _ = version().removeprefix("v").split(".", 2)
    package = "k8s.io/component-base/version"
    named = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X {package}.{key}={value}" for key, value in named.items())


def main() -> int:
    """Build all, or those that are named, and print where they are."""
    wanted = [name for name in NAMES if name in sys.argv[1:]] or NAMES
    return goprogram.build_all(map(program, wanted), "no Kubernetes for the tests")


if __name__ == "__main__":
    sys.exit(main())
