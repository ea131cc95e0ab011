"""Write go.mod and go.sum of the test cluster for one version of Kubernetes (maintainers).

    python3 tests/kube/pin.py v1.35.3

Kubernetes' own go.mod names its staging modules `v0.0.0`, found in its own tree. As a dependency
they are separate modules with the matching version v0.35.3, so each needs a line `replace`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
MODULE = "k8s.io/kubernetes"


def main(version: str) -> None:
    """Pin `version`: requirements as Kubernetes chose them, sums from the checksum database."""
    found = json.loads(go("mod", "download", "-json", f"{MODULE}@{version}"))
    (HERE / "go.mod").write_text(pinned(Path(found["GoMod"]).read_text(), version))
    go("mod", "tidy")


def pinned(original: str, version: str) -> str:
    """The text of our go.mod: Kubernetes' module, its staging modules at their own versions."""
    staged = version.replace("v1.", "v0.", 1)
    names = sorted(set(re.findall(r"^\s+(k8s\.io/\S+) v0\.0\.0$", original, re.MULTILINE)))
    go_version = re.search(r"^go (\S+)$", original, re.MULTILINE)
    if not names or go_version is None:
        message = f"the go.mod of {MODULE} {version} is not of the known form"
        raise SystemExit(message)
    lines = [
        "module kairos-register/tests/kube",
        "",
        f"go {go_version[1]}",
        "",
        f"require {MODULE} {version}",
        "",
        "replace (",
        *(f"\t{name} => {name} {staged}" for name in names),
        ")",
        "",
    ]
    return "\n".join(lines)


def go(*words: str) -> str:
    """Run Go here; what it says goes to the terminal, what it answers is returned."""
    argv = ["go", *words]
    return subprocess.run(argv, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main(sys.argv[1])
