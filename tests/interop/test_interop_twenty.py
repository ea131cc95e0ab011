"""Twenty runs of Kairos' own sender with our real node: each is delivered and acknowledged.

Five nodes beside each other. The first three configs cannot be installed: each is refused on the
screen, where a new code takes the place of the old one; the fourth is installed.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pairing.testing.commands import Commands
from pairing.testing.netns import Namespace
from pairing.testing.stock import Stock
from tests.interop.test_interop_new_code import code_on, sending, start, until_said

pytestmark = pytest.mark.timeout(300)

NODES = 5
STOCK = Stock()
EXAMPLE = Path(__file__).parents[2] / "examples" / "configs" / "by-kairosctl.yaml"
SPECIAL = "\"double\" 'single' `back` \\n \\\\ ünïcödé 机器 🙂 </script> $HOME"
SECONDS = 90.0
"""For a stock sender's answer; ten of them are its first look around."""


def config(size: int, *changes: tuple[str, str]) -> str:
    """The example, with a file of about that many bytes that hardly compress."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    chance = random.Random(size)
    lines = "".join(f"      {chance.randbytes(32).hex()}\n" for _ in range(size // 71))
    file = f"write_files:\n  - path: /etc/notes\n    content: |\n      {SPECIAL}\n{lines}"
    return text + (file if size else "")


ROUNDS: Sequence[tuple[Sequence[str], str]] = (
    (["a: 1 # \"'é"], "E300"),
    ([config(size, ("  encrypt: none\n", "")) for size in (0, 7_000, 200_000)], "E680"),
    ([config(7_000, ("- ssh-ed25519 ", "- github:mudler # "))], "E681"),
    ([config(size) for size in (0, 7_000, 200_000)], "written"),
)
"""What the nodes get in turn, and what they say of it. The first is ten characters, no config."""


def test_twenty_runs_with_our_real_node(lan: Callable[[int], Any], commands: Commands) -> None:
    pairs = lan(2 * NODES).pairs()

    def started(number: int) -> tuple[Path, str]:
        screen = start(commands, pairs[number][0], number, "token: kairos\n")
        return screen, code_on(screen)

    with ThreadPoolExecutor(NODES) as together:
        screens, codes = zip(*together.map(started, range(NODES)), strict=True)
        acknowledged = 0
        for configs, said in ROUNDS:
            sent = [configs[number % len(configs)] for number in range(NODES)]
            acknowledged += all_sent([office for _, office in pairs], codes, sent)
            for number in range(NODES):
                until_said(commands, number, said)
            if said != "written":
                codes = tuple(together.map(code_after, screens, codes))
    assert acknowledged == 20


def code_after(screen: Path, code: str) -> str:
    """The code that has taken the place of this one."""
    return code_on(screen, other_than=code)


def all_sent(offices: Sequence[Namespace], codes: Sequence[str], configs: Sequence[str]) -> int:
    """Stock senders, all at once, until each has its answer: how many."""
    with contextlib.ExitStack() as running:
        operators = [
            running.enter_context(sending(STOCK, office, code, text))
            for office, code, text in zip(offices, codes, configs, strict=True)
        ]
        for operator in operators:
            operator.wait("sent", SECONDS)
    return len(operators)
