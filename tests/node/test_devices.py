"""The facts are looked at once the machine's devices are known, whatever the tools say."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import pytest

from node.system import devices
from pairing import errors, process
from pairing.process import Result

PATHS = {"PYTHONPATH": os.pathsep.join(sys.path)}
GIVES_WAY = """
import os, threading
from node.system import services
os.setpriority(os.PRIO_PROCESS, 0, -10)
asked, answered = threading.Event(), threading.Event()
seen = []
def other():
    seen.append(os.getpriority(os.PRIO_PROCESS, 0))
    answered.set()
    asked.wait(10)
    seen.append(os.getpriority(os.PRIO_PROCESS, 0))
thread = threading.Thread(target=other)
thread.start()
answered.wait(10)
before = os.getpriority(os.PRIO_PROCESS, 0)
services.give_way()
asked.set()
thread.join()
print(before, seen[0], seen[1], os.getpriority(os.PRIO_PROCESS, 0))
"""


def test_it_waits_for_the_search_to_begin_and_then_for_its_end() -> None:
    asked: list[tuple[Sequence[str], float]] = []

    def run(argv: Sequence[str], *, seconds: float, check: bool = True) -> Result:
        asked.append((argv, seconds))
        return Result(1, b"", b"")

    devices.wait_for_all(run)
    assert [tuple(argv[:2]) for argv, _ in asked] == [("systemctl", "start"), ("udevadm", "settle")]
    assert all(seconds > devices.SECONDS for _, seconds in asked)


@pytest.mark.parametrize("wrong", [errors.CommandMissing, errors.CommandTimeout])
def test_a_machine_without_these_tools_is_looked_at_all_the_same(
    wrong: type[errors.MissingError],
) -> None:
    asked: list[str] = []

    def run(argv: Sequence[str], *, seconds: float, check: bool = True) -> Result:
        asked.append(argv[0])
        raise wrong(element=argv[0])

    devices.wait_for_all(run)
    assert asked == ["systemctl", "udevadm"]


def test_once_the_code_is_shown_it_goes_before_nobody() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may go before others")
    said = process.run([sys.executable, "-c", GIVES_WAY], seconds=20, environment=PATHS).text()
    assert said.split() == ["-10", "-10", "0", "0"]
