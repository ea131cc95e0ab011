"""2,000 nodes wait at one relay, a process of its own: its memory, and how long things take."""

from __future__ import annotations

import functools
import json
import os
import platform
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio

from pairing import keys, process
from pairing.testing.relays import Watch, echo, said_back
from pairing.transport import relay
from pairing.transport.relay import RelayAddress

NODES = 2000
CALLS = 100
LABEL = b"\x01" * 32
RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "relay.json"

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[process.Program, RelayAddress]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limits = ("--waiting-per-ip", "5000", "--connections-per-minute", "100000")
    place = ("--listen", "127.0.0.1:0", "--self-signed", str(tmp_path))
    program = process.start_program("cli.fleet", ("relay", *place, *limits))
    lines = program.lines()
    port = next(lines).removeprefix("listening on ")
    yield program, RelayAddress.parse(port + next(lines).removeprefix("pin: "))
    program.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_two_thousand_nodes_wait(running: tuple[process.Program, RelayAddress]) -> None:
    program, address = running
    empty = used(program.pid)
    nodes = [keys.generate() for _ in range(NODES)]
    async with trio.open_nursery() as nursery:
        began = time.perf_counter()
        await all_wait(nodes, address, nursery)
        waiting_seconds = time.perf_counter() - began
        full = used(program.pid)
        samples = [await one_call(address, node) for node in nodes[:: NODES // CALLS]]
        nursery.cancel_scope.cancel()
    write(
        {
            "nodes": NODES,
            "seconds_until_all_wait": round(waiting_seconds, 2),
            "relay_rss_kib_empty": empty[0],
            "relay_rss_kib_with_all": full[0],
            "relay_cpu_seconds_until_all_wait": round(full[1] - empty[1], 2),
            "call_and_echo_seconds": [round(sample, 4) for sample in samples],
        }
    )


async def all_wait(
    nodes: Sequence[keys.SigningKey], address: RelayAddress, nursery: trio.Nursery
) -> None:
    for start in range(0, len(nodes), 50):  # as many at a time as the relay greets of one network
        watches = []
        for node in nodes[start : start + 50]:
            watches.append(Watch())
            wait = functools.partial(relay.wait, report=watches[-1].heard)
            nursery.start_soon(wait, address, node.seed, LABEL, echo)
        for watch in watches:
            await watch.until(True, 120)


async def one_call(address: RelayAddress, node: keys.SigningKey) -> float:
    began = time.perf_counter()
    async with await relay.call(address, node.public, LABEL) as stream:
        assert await said_back(stream, b"x" * 7000) == b"x" * 7000
    return time.perf_counter() - began


def used(pid: int) -> tuple[int, float]:
    """Resident memory in KiB and CPU seconds of a process (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    memory = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return int(memory), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write(result: dict[str, object]) -> None:
    commit = process.run(["git", "-C", str(RESULT.parent.parent), "rev-parse", "HEAD"], seconds=10)
    machine = {
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    body = {"commit": commit.text().strip(), "machine": machine, **result}
    RESULT.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
