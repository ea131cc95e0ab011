"""Rules for every test: hypothesis profiles, marks by folder, and no skipping in CI."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
import trio.testing
from hypothesis import HealthCheck, settings

from pairing.testing.virtualtime import thread_clock

HERE = Path(__file__).resolve().parent
MARK_OF_FOLDER = {"e2e": "qemu", "interop": "interop", "kube": "kube", "netns": "net"}

# Started in the background (`make test &`) a program ignores Ctrl-C, and so do all its children:
# tests that interrupt something, or someone's shell, would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a shared machine is slow at times, and no test here measures time.
settings.register_profile(
    "full", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("fast", settings.get_profile("full"), max_examples=25)
settings.load_profile(os.environ.get("KAIROS_TEST_PROFILE", "full"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests below these folders need the machine, whether or not their author marked them.

    A file's tests share their machines, so one worker runs them all (`--dist loadfile`).
    """
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in MARK_OF_FOLDER:
            item.add_marker(MARK_OF_FOLDER[folder])
    items.sort(key=_turn)


LONGEST = (
    "test_node_life",
    "test_installs",
    "test_join",
    "test_upgrade",
    "test_attacks",
    "test_locked_machines",
    "test_recovery",
)
"""Files of `make e2e` that take minutes, the longest first. The first one leaves its machine for
those after the third."""


def _turn(item: pytest.Item) -> int:
    """Then no worker is left alone with a long one at the end."""
    name = item.path.stem
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """At home a missing tool skips a test; in CI that is a failure, never a silent gap."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that skips itself."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture
def quick_clock() -> trio.testing.MockClock:
    """Virtual time that moves on when nothing happens, in no thread either."""
    return thread_clock()


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """The same where terminals, sockets or programs that no thread waits for are in play."""
    return thread_clock(patience=0.05)
