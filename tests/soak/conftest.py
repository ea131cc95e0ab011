"""The budget of a soak run, and its result: benchmarks/results/soak-<date>-<commit>.json.

A part may go on for its share of KAIROS_SOAK_MINUTES (60), and ends when it has done what was asked
of it; all shares together are about two. KAIROS_SOAK_KEEP names another folder for the result.
Every test with the mark is in the result, in whatever folder it lies: as passed only if it ran to
its end.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pairing.testing import measured

MINUTES = float(os.environ.get("KAIROS_SOAK_MINUTES", "60"))


@dataclass(eq=False)
class Soak:
    """The whole run. `parts`: what each test with the mark did."""

    load: float = field(default_factory=lambda: os.getloadavg()[0])
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def part(self, nodeid: str) -> dict[str, Any]:
        """What is remembered of the test with this id."""
        name = nodeid.rpartition("::")[2].removeprefix("test_")
        return self.parts.setdefault(name, {"passed": False})

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for tests of every folder: a conftest's own hooks hear of those below it only."""
        if "soak" not in report.keywords:
            return
        kept = self.part(report.nodeid)
        if report.when == "call":
            kept["passed"] = report.passed
            kept["seconds"] = round(report.duration, 1)
        elif report.failed:
            kept["passed"] = False
            kept["broke"] = report.when
        if report.skipped:
            del kept["passed"]
            kept["skipped"] = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Keep the result."""
        if not self.parts or terminalreporter.config.option.setupplan:
            return
        folder = Path(os.environ.get("KAIROS_SOAK_KEEP", measured.RESULTS))
        body = {"minutes": MINUTES, "load_before": round(self.load, 2), "parts": self.parts}
        terminalreporter.write_line(f"kept: {measured.keep('soak-', body, folder)}")


@dataclass
class Part:
    """One part: how long it may go on, and what it wants to be remembered."""

    ends: float
    kept: dict[str, Any]

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.ends


def pytest_configure(config: pytest.Config) -> None:
    """One result a run."""
    config.pluginmanager.register(Soak(), "soak-result")


@pytest.fixture
def part(request: pytest.FixtureRequest) -> Part:
    """The part named like the test. Its share comes from the mark `soak(share=...)`."""
    mark = request.node.get_closest_marker("soak")
    soak = request.config.pluginmanager.get_plugin("soak-result")
    assert mark is not None
    assert isinstance(soak, Soak)
    kept = soak.part(request.node.nodeid)
    return Part(time.monotonic() + MINUTES * 60 * mark.kwargs["share"], kept)
