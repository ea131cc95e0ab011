"""The facts are looked at once the machine's devices are known, whatever the tools say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from node.system import devices
from pairing import errors
from pairing.process import Result


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
