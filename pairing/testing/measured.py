"""Measurements that can be compared later: samples, the machine they come from, the commit."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairing import errors, process

TOP = Path(__file__).resolve().parents[2]
RESULTS = TOP / "benchmarks" / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing that was measured, every sample of it.

    `goal`: what the median must not exceed, in the same unit; None where none was set.
    """

    name: str
    unit: str
    samples: Sequence[float]
    goal: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def judgement(self) -> str:
        """`ok`, `over`, or nothing where no goal was set."""
        if self.goal is None:
            return ""
        return "ok" if self.median <= self.goal else "over"

    def to_json(self) -> dict[str, Any]:
        """With median, smallest and largest beside the raw samples."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": short(self.median),
            "min": short(min(self.samples)),
            "max": short(max(self.samples)),
            "goal": self.goal,
            "judgement": self.judgement,
            "note": self.note,
            "samples": [short(sample) for sample in self.samples],
        }


def figure_from_json(body: Mapping[str, Any]) -> Figure:
    """Read what `Figure.to_json` wrote."""
    kept = ("name", "unit", "samples", "goal", "note")
    return Figure(**{key: body[key] for key in kept})


def short(value: float) -> float:
    """Six significant digits: no clock here knows more."""
    return float(f"{value:.6g}")


def machine() -> dict[str, Any]:
    """What the measurements depend on. `load`: the averages of getloadavg(3) right now."""
    cpu = _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_mib": int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]) // 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    values = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(values, None)


def commit() -> dict[str, Any]:
    """The commit that is checked out, and whether files that count differ from it."""
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--", "pairing", "node", "cli")
    except errors.KnownError:
        return {"commit": "unknown", "changed": True}
    return {"commit": head, "changed": bool(changed)}


def _git(*arguments: str) -> str:
    return process.run(["git", "-C", str(TOP), *arguments], seconds=30).text().strip()


def keep(kind: str, body: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write a result with date, commit and machine as `<kind><date>-<commit>.json`."""
    today = dt.datetime.now(dt.UTC)
    code = commit()
    path = folder / f"{kind}{today:%Y-%m-%d}-{code['commit'][:10]}.json"
    head = {"date": today.isoformat(timespec="seconds"), **code, "machine": machine()}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**head, **body}, indent=1) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Used:
    """What a process uses at one moment: memory in MiB, CPU seconds so far, open files."""

    resident: float
    peak: float
    cpu: float
    files: int


def used(pid: int | None = None) -> Used:
    """What a process (this one by default) uses now. Source: proc(5)."""
    place = Path(f"/proc/{pid or os.getpid()}")
    sizes = dict(line.split(":", 1) for line in (place / "status").read_text("utf-8").splitlines())
    fields = (place / "stat").read_text("utf-8").rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Used(
        resident=_mib(sizes["VmRSS"]),
        peak=_mib(sizes["VmHWM"]),
        cpu=ticks / os.sysconf("SC_CLK_TCK"),
        files=len(list((place / "fd").iterdir())),
    )


def _mib(size: str) -> float:
    return int(size.split()[0]) / 1024
