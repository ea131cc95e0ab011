"""Whole processes of ours: how long they take, what they use, when they say what."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pairing.testing.measured import TOP, Figure

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
SECONDS = 120.0
"""After this long a process is stuck, and killed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: seconds on the wall, seconds of CPU (its own children included), MiB of
    resident memory at its peak (the larger of it and its largest child). `began`: perf_counter.
    """

    began: float
    wall: float
    cpu: float
    peak: float
    status: int


def environment(home: Path) -> dict[str, str]:
    """For commands that keep everything below `home`."""
    kinds = ("CONFIG", "DATA", "STATE", "CACHE")
    places = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in kinds}
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8", **places}


@contextlib.contextmanager
def started(argv: Sequence[str | Path], home: Path, costs: list[Cost]) -> Iterator[IO[bytes]]:
    """A program's standard output; what it took is in `costs` afterwards."""
    with tempfile.NamedTemporaryFile() as result:
        launcher = [sys.executable, "-S", "-E", "-P", str(HERE / "launch.py"), result.name]
        program = subprocess.Popen(
            [*launcher, *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=TOP,
            env=environment(home),
            start_new_session=True,
        )
        assert program.stdout is not None
        with killed_after(program, SECONDS), program.stdout as out:
            yield out
            program.wait()
        costs.append(Cost(**json.load(result)))


def cost(argv: Sequence[str | Path], home: Path) -> Cost:
    """Run a program to its end."""
    costs: list[Cost] = []
    with started(argv, home, costs) as out:
        out.read()
    return costs[0]


@contextlib.contextmanager
def killed_after(program: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    """Everything ends."""
    timer = threading.Timer(seconds, lambda: os.killpg(program.pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def node(home: Path, machine: Path, picture: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """`kairos-node run` on loopback, listening; killed at the end. Its state lies in `home`."""
    settings = home / "node.yaml"
    settings.write_text("mdns: false\n")
    argv: list[str | Path] = [BIN / "kairos-node", "run", "--machine", machine]
    argv += ["--picture", picture, "--settings", settings, "--state", home / "state"]
    argv += ["--listen", "127.0.0.1", "--port", "0", "--abort-seconds", "0", *more]
    program = subprocess.Popen(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**environment(home), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    assert program.stderr is not None
    try:
        with killed_after(program, SECONDS):
            said = list(_until_listening(program.stderr))
        if not said or "127.0.0.1" not in said[-1]:
            raise RuntimeError(f"the node did not start: {said}")
        threading.Thread(target=_read_on, args=(program.stderr,), daemon=True).start()
        yield program
    finally:
        program.kill()
        program.wait()


def _until_listening(out: IO[bytes]) -> Iterator[str]:
    for line in out:
        text = line.decode("utf-8", "replace").strip()
        yield text
        if text.startswith("addresses: 127.0.0.1"):
            return


def _read_on(out: IO[bytes]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for _ in out:
            pass


def figures(
    name: str, costs: Sequence[Cost], goal: float | None = None, note: str = ""
) -> list[Figure]:
    """Wall, CPU and memory of several runs. `goal` in seconds, for the wall clock."""
    parts: Mapping[str, tuple[str, list[float], float | None]] = {
        "wall": ("s", [one.wall for one in costs], goal),
        "CPU": ("s", [one.cpu for one in costs], None),
        "peak memory": ("MiB", [one.peak for one in costs], None),
    }
    return [
        Figure(name=f"{name}: {part}", unit=unit, samples=samples, goal=limit, note=note)
        for part, (unit, samples, limit) in parts.items()
    ]


def allow_many_files() -> None:
    """This process plays many machines at once: as many open files as it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
