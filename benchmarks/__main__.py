"""`python -m benchmarks`: measure everything, each subject in a process of its own.

python -m benchmarks                      all of it, kept in benchmarks/results and README
python -m benchmarks commands relay       some of it
python -m benchmarks --quick --keep DIR   tiny sizes: does it still run?
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.table import lines, remember
from pairing.testing import measured
from pairing.testing.measured import TOP, Figure, figure_from_json

SUBJECTS = {
    "commands": "commands as whole processes",
    "photo_to_config": "one photo, real node and operator",
    "crowd": "200 nodes in one process",
    "flood": "an operator among 600 idle sockets",
    "meeting_point": "the relay",
    "building": "an image from nothing, and from what was kept",
    "boot": "a stick in an emulated machine, to its code on the screen",
    "machines": "state machines and parsers alone",
    "photos": "photos read by us and by zxing-cpp and zbar alone",
    "kairos": "Kairos' own tools beside ours",
    "cluster": "joining a real Kubernetes",
    "upgrade": "an upgrade against its download",
    "installing": "an installation against copying its bytes",
}
"""The files here with a function `measure(quick) -> list[Figure]`."""
SUBJECT_SECONDS = 1800.0


def main() -> int:
    """Never fails because something is slow; 1 if something could not be measured."""
    asked = _arguments()
    if asked.raw:
        return _child(asked.subjects[0], asked.quick)
    results, failed = [], []
    for name in asked.subjects or SUBJECTS:
        print(f"{name}: {SUBJECTS[name]}", flush=True)
        load, began = os.getloadavg()[0], time.monotonic()
        try:
            figures = _in_a_process(name, asked.quick)
        except RuntimeError as wrong:
            failed.append(name)
            print(f"  could not be measured: {wrong}", flush=True)
            continue
        print("\n".join(lines(figures)), flush=True)
        results.append(
            {
                "subject": name,
                "load_before": round(load, 2),
                "seconds": round(time.monotonic() - began, 1),
                "figures": [figure.to_json() for figure in figures],
            }
        )
    body = {"quick": asked.quick, "failed": failed, "subjects": results}
    kept = measured.keep("", body, asked.keep)
    print(f"kept: {kept}")
    if not (asked.subjects or asked.quick or failed):
        remember(kept)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--keep", type=Path, default=measured.RESULTS, help="folder of results")
    parser.add_argument("--raw", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    for name in asked.subjects:
        if name not in SUBJECTS:
            parser.error(f"{name} is none of {', '.join(SUBJECTS)}")
    return asked


def _child(name: str, quick: bool) -> int:
    module = importlib.import_module(f"benchmarks.{name}")
    body = [figure.to_json() for figure in module.measure(quick)]
    sys.stdout.write("\n" + json.dumps(body) + "\n")
    return 0


def _in_a_process(name: str, quick: bool) -> list[Figure]:
    argv = [sys.executable, "-m", "benchmarks", name, "--raw", *(["--quick"] if quick else [])]
    try:
        done = subprocess.run(
            argv, cwd=TOP, stdout=subprocess.PIPE, timeout=SUBJECT_SECONDS, check=True
        )
        return [figure_from_json(body) for body in json.loads(done.stdout.splitlines()[-1])]
    except subprocess.SubprocessError as wrong:
        raise RuntimeError(str(wrong)) from None
    except (ValueError, IndexError):
        raise RuntimeError("it said nothing that can be read") from None


if __name__ == "__main__":
    sys.exit(main())
