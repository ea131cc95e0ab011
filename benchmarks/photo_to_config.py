"""From a photo to the config released and the plan carried out: a real node, the real command.

Both are processes on this machine, talking over loopback. `cold`: kairos-register as a person
starts it. `libp2p loaded`: the same command in a process that imported libp2p before the clock
started. The incumbent (Kairos' go-nodepair) needs 10 s, because it polls every 10 s; `kairos.py`
runs it beside ours.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from PIL import Image

from benchmarks.pictures import take_photo
from benchmarks.processes import BIN, Cost, figures, node, started
from pairing.testing.measured import TOP, Figure, used
from pairing.testing.watching import screen_with_address

RUNS = 10
MACHINE = TOP / "examples" / "machines" / "fanless-emmc.json"
CONFIG = TOP / "examples" / "configs" / "minimal.yaml"
LOADED = """
import pairing.transport.p2p.transport, sys
print('{"type": "loaded"}', flush=True)
from cli.register import main
sys.argv[0] = "kairos-register"
main()
"""
INCUMBENT = "the incumbent needs 10 s"
PHASES = (
    ("process starts, config read", "began", "config"),
    ("photo read", "config", "photo"),
    ("rest of libp2p's import, dial, Noise", "photo", "connected"),
    ("claim, hardware facts", "connected", "node"),
    ("approved, config released", "node", "released"),
    ("node's plan is back", "released", "planned"),
    ("recovery key kept, plan carried out", "planned", "written"),
)


@dataclass(slots=True)
class Run:
    """When one run said what (perf_counter), and what it took."""

    at: dict[str, float] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)
    exit: int = -1
    node_peak: float = 0
    """MiB."""
    node_waiting: float = 0
    """MiB of the node while it waits for somebody."""

    def between(self, start: str, end: str) -> float:
        return self.at[end] - self.at[start]


def measure(quick: bool) -> list[Figure]:
    """Cold and with libp2p loaded, in turn, each against a node of its own."""
    runs = 1 if quick else RUNS
    cold = [one_run([BIN / "kairos-register"]) for _ in range(runs)]
    loaded = [one_run([sys.executable, "-c", LOADED]) for _ in range(runs)]
    found = [
        _figure("photo to released config, cold", cold, "began", "released", 2.0, INCUMBENT),
        _figure("the same, libp2p loaded", loaded, "loaded", "released", 1.0, INCUMBENT),
        _figure("photo to plan carried out (dry run), cold", cold, "began", "written"),
    ]
    found += [_figure(f"cold: {name}", cold, start, end) for name, start, end in PHASES]
    found += figures("kairos-register", [run.costs[0] for run in cold])
    for name, samples in (
        ("node: memory while waiting", [run.node_waiting for run in cold + loaded]),
        ("node: peak memory", [run.node_peak for run in cold + loaded]),
    ):
        found.append(Figure(name=name, unit="MiB", samples=samples))
    return found


def _figure(
    name: str,
    runs: Sequence[Run],
    start: str,
    end: str,
    goal: float | None = None,
    note: str = "",
) -> Figure:
    samples = [run.between(start, end) for run in runs]
    return Figure(name=name, unit="s", samples=samples, goal=goal, note=note)


def one_run(command: Sequence[str | Path]) -> Run:
    """A new node, a photo of its screen, and the operator's command on it."""
    run = Run()
    with tempfile.TemporaryDirectory() as name:
        home, picture = Path(name), Path(name, "screen.png")
        photo = home / "photo.jpg"
        with node(home, MACHINE, picture) as program:
            with Image.open(io.BytesIO(screen_with_address(picture))) as screen:
                take_photo(screen, photo)
            run.node_waiting = used(program.pid).resident
            argv = [*command, "--config", CONFIG, "--wait", "written", "--approve", "yes"]
            argv += ["--loopback", "--output", "jsonl", "--timeout", "60", photo]
            with started(argv, home, run.costs) as out:
                _listen(out, run)
            run.node_peak = used(program.pid).peak
    run.at["began"] = run.costs[0].began
    if run.exit != 0:
        raise RuntimeError(f"kairos-register ended with {run.exit}, after {list(run.at)}")
    return run


def _listen(out: IO[bytes], run: Run) -> None:
    for line in out:
        now, body = time.perf_counter(), json.loads(line)
        run.at.setdefault(_what(body), now)
        if body.get("type") == "verdict":
            run.exit = body["exit"]


def _what(body: Mapping[str, str]) -> str:
    """The name of what a line of `--output jsonl` tells."""
    if body["type"] == "notice":
        return body["about"]
    return body["state"] if body["type"] == "state" else body["type"]
