"""200 nodes and their operators in one process, on real loopback sockets.

The nodes are real agents with recorded hardware that carry out their plans as dry runs; the
operators' desks keep real escrow records and journals, each fsynced. Memory and CPU are those of
both ends together.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from benchmarks.photo_to_config import CONFIG, MACHINE
from benchmarks.processes import allow_many_files
from cli.testing.shop import Shop
from node.agent import Agent
from pairing import errors
from pairing.testing.measured import Figure, Used, used

NODES = 200
PATIENCE = 300.0
"""Seconds for one of many at once: they share one core."""


def measure(quick: bool) -> list[Figure]:
    """One after another, then all at once."""
    allow_many_files()
    count = 5 if quick else NODES
    return [*_in_a_shop(one_after_another, count), *_in_a_shop(at_once, count)]


def _in_a_shop(how: Callable[[Shop, int], Awaitable[list[Figure]]], count: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        return trio.run(how, Shop(Path(name), MACHINE, CONFIG), count)


async def one_after_another(shop: Shop, count: int) -> list[Figure]:
    """Each node begins when the one before has ended, as in one operator's working day."""
    await _node_and_pairing(shop)  # everything is imported
    before, walls, cpus = _now(), [], []
    for _ in range(count):
        began, cpu = time.perf_counter(), time.process_time()
        await _node_and_pairing(shop)
        walls.append(time.perf_counter() - began)
        cpus.append(time.process_time() - cpu)
    after = _now()
    name = f"{count} nodes one after another"
    return [
        Figure(name=f"{name}: a node's start to its verdict", unit="s", samples=walls),
        Figure(name=f"{name}: CPU of both ends, each", unit="s", samples=cpus),
        Figure(name=f"{name}: growth of memory", unit="MiB", goal=20,
               samples=[after.resident - before.resident]),
        Figure(name=f"{name}: open files more", unit="files", goal=0,
               samples=[after.files - before.files]),
    ]  # fmt: skip


async def _node_and_pairing(shop: Shop) -> None:
    async with shop.node() as agent:
        await shop.pair(agent)


async def at_once(shop: Shop, count: int) -> list[Figure]:
    """All nodes wait; then an operator for each begins at the same moment."""
    empty = _now()
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(shop.node()) for _ in range(count)]
        waiting = _now()
        walls: list[float] = []
        failed: list[str] = []
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for agent in nodes:
                nursery.start_soon(_timed_pairing, shop, agent, walls, failed)
        total = time.perf_counter() - began
        done = _now()
    name = f"{count} nodes at once"
    return [
        Figure(name=f"{name}: failed", unit="nodes", goal=0, samples=[len(failed)],
               note=" ".join(sorted(set(failed)))),
        Figure(name=f"{name}: until all have their verdict", unit="s", samples=[total]),
        Figure(name=f"{name}: from the common start to each end", unit="s", samples=walls),
        Figure(name=f"{name}: CPU of both ends, each", unit="s",
               samples=[(done.cpu - waiting.cpu) / count]),
        Figure(name=f"{name}: memory of a waiting node", unit="MiB",
               samples=[(waiting.resident - empty.resident) / count]),
        Figure(name=f"{name}: peak of both ends", unit="MiB", samples=[done.peak]),
    ]  # fmt: skip


async def _timed_pairing(shop: Shop, agent: Agent, walls: list[float], failed: list[str]) -> None:
    began = time.perf_counter()
    try:
        await shop.pair(agent, PATIENCE)
    except errors.KnownError as error:
        failed.append(error.slug)
    walls.append(time.perf_counter() - began)


def _now() -> Used:
    gc.collect()
    return used()
