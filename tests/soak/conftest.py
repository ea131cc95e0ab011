"""The budget of a soak run, and its result: benchmarks/results/soak-<date>-<commit>.json.

KAIROS_SOAK_MINUTES (60) is shared out among the parts; each also ends when it has done what was
asked of it. KAIROS_SOAK_KEEP names another folder for the result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pairing.testing import measured

MINUTES = float(os.environ.get("KAIROS_SOAK_MINUTES", "60"))


@dataclass
class Soak:
    """The whole run. `parts`: what each part did."""

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Part:
    """One part: how long it may go on, and what it wants to be remembered."""

    ends: float
    kept: dict[str, Any]

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.ends


@pytest.fixture(scope="session")
def soak() -> Iterator[Soak]:
    whole = Soak()
    load = os.getloadavg()[0]
    yield whole
    folder = Path(os.environ.get("KAIROS_SOAK_KEEP", measured.RESULTS))
    body = {"minutes": MINUTES, "load_before": round(load, 2), "parts": whole.parts}
    print(f"\nkept: {measured.keep('soak-', body, folder)}")


@pytest.fixture
def part(soak: Soak, request: pytest.FixtureRequest) -> Iterator[Part]:
    """The part named like the test. Its share comes from the mark `soak(share=...)`."""
    mark = request.node.get_closest_marker("soak")
    assert mark is not None
    name = request.node.name.removeprefix("test_")
    began, kept = time.monotonic(), soak.parts.setdefault(name, {"passed": False})
    yield Part(began + MINUTES * 60 * mark.kwargs["share"], kept)
    kept["seconds"] = round(time.monotonic() - began, 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A part's result says whether it held."""
    report = yield
    given: Part | None = getattr(item, "funcargs", {}).get("part")
    if given is not None and call.when == "call":
        given.kept["passed"] = report.passed
    return report
