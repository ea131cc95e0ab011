"""What the child that opens photos can still do (security T7), each with the unlocked control."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from pairing import errors, sandbox
from pairing.qr.read import PhotoReader
from pairing.testing import probe
from pairing.worker import PHOTOS_LIMIT, Worker

FORBIDDEN = (
    "socket",
    "unix-socket",
    "socketpair",
    "read-file",
    "list-folder",
    "fork",
    "execute",
    "kill",
)
known_machine = pytest.mark.skipif(
    os.uname().machine not in sandbox.ARCHITECTURES, reason="no system call table for this machine"
)


@pytest.fixture(scope="module")
def free() -> Iterator[Worker]:
    worker = Worker(module=probe.MODULE)
    yield worker
    worker.stop()


@pytest.fixture(scope="module")
def locked() -> Iterator[Worker]:
    worker = Worker(module=probe.MODULE)
    yield worker
    worker.stop()


def outcome(worker: Worker, deed: str, *, lock: bool) -> object:
    return worker.ask({"do": deed, "lock": lock}, b"")["outcome"]


@known_machine
@pytest.mark.parametrize("deed", FORBIDDEN)
def test_a_locked_child_cannot(deed: str, free: Worker, locked: Worker) -> None:
    assert outcome(free, deed, lock=False) == "done"  # the control: it could, unlocked
    assert outcome(locked, deed, lock=True) == "EPERM"


@known_machine
def test_io_uring_is_no_way_round(free: Worker, locked: Worker) -> None:
    unlocked = outcome(free, "io-uring", lock=False)
    if unlocked != "done":
        pytest.skip(f"this kernel has no io_uring for us ({unlocked})")
    assert outcome(locked, "io-uring", lock=True) == "EPERM"


def test_memory_is_bounded(free: Worker, locked: Worker) -> None:
    assert outcome(free, "memory", lock=False) == "done"
    assert outcome(locked, "memory", lock=True) == "ENOMEM"


def test_threads_still_start(locked: Worker) -> None:
    assert outcome(locked, "thread", lock=True) == "done"  # libwebp uses them


def test_the_real_worker_is_locked() -> None:
    with PhotoReader() as reader:
        held = set(reader.protection().held)
    assert {"limits", "no-new-privileges"} <= held
    if os.uname().machine in sandbox.ARCHITECTURES:
        assert "system-calls" in held


@pytest.mark.parametrize("deed", ["exit", "nonsense", "flood", "spin"])
def test_a_failing_child_is_a_named_error_and_replaced(deed: str) -> None:
    worker = Worker(module=probe.MODULE)
    try:
        before = worker.ask({"do": "nothing", "lock": False}, b"")["pid"]
        with pytest.raises(errors.PhotoWorkerFailed):
            worker.ask({"do": deed, "lock": False}, b"")
        assert worker.ask({"do": "nothing", "lock": False}, b"")["pid"] != before
    finally:
        worker.stop()


def test_a_hanging_child_is_stopped_at_its_deadline() -> None:
    worker = Worker(module=probe.MODULE, seconds=0.3)
    try:
        worker.protection()
        with pytest.raises(errors.PhotoWorkerFailed, match="too slow"):
            worker.ask({"do": "hang", "lock": False}, b"")
    finally:
        worker.stop()


def test_a_child_that_takes_no_more_bytes_is_stopped_too() -> None:
    worker = Worker(module=probe.MODULE, seconds=0.3)
    try:
        worker.ask({"do": "nothing", "lock": False}, b"")
        child = worker._started()
        child.write((10_000_000).to_bytes(4, "big"), seconds=1)  # it now waits for that much
        child.stop()
        with pytest.raises(errors.PhotoWorkerFailed):
            worker.ask({"do": "nothing", "lock": False}, bytes(1_000_000))
    finally:
        worker.stop()


def test_a_child_is_recycled_after_many_photos() -> None:
    worker = Worker(module=probe.MODULE)
    try:
        pids = [
            worker.ask({"do": "nothing", "lock": False}, b"")["pid"]
            for _ in range(PHOTOS_LIMIT + 1)
        ]
    finally:
        worker.stop()
    assert len(set(pids[:PHOTOS_LIMIT])) == 1
    assert pids[PHOTOS_LIMIT] != pids[0]


def test_a_child_that_does_not_start_is_a_named_error() -> None:
    worker = Worker(module="pairing.no_such_module")
    with pytest.raises(errors.PhotoWorkerFailed, match="did not start"):
        worker.ask({}, b"")


@pytest.mark.parametrize("name", sorted(sandbox.ARCHITECTURES))
def test_filter_judges_calls(name: str) -> None:
    """Runs the filter in a small interpreter of classic BPF: also for the machine we are not on."""
    architecture = sandbox.ARCHITECTURES[name]
    code = list(struct.iter_unpack("=HBBI", sandbox.program(architecture)))

    def verdict(number: int, argument: int = 0, audit: int = architecture.audit) -> int:
        words = {0: number, 4: audit, 16: argument}
        at, register = 0, 0
        while True:
            operation, jump_true, jump_false, value = code[at]
            at += 1
            if operation == 0x20:
                register = words[value]
            elif operation == 0x06:
                return int(value)
            else:
                hit = {0x15: register == value, 0x35: register >= value, 0x45: register & value}
                at += jump_true if hit[operation] else jump_false

    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000
    write = {"x86_64": 1, "aarch64": 64}[name]
    assert verdict(write) == allow
    assert {verdict(number) for number in architecture.refused} == {refuse}
    assert verdict(write, audit=0x40000003) == kill  # 32-bit calls have other numbers
    assert verdict(0x40000000 + 41) == kill
    assert verdict(architecture.clone, 0x10000) == allow  # a thread
    assert verdict(architecture.clone, 0x11) == refuse  # a process
    assert verdict(architecture.clone3) == 0x00050000 | 38
