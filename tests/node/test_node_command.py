"""`kairos-node` as a process: endings that a person or the service manager causes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MACHINE = ROOT / "examples" / "machines" / "virtio-vm.json"


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "node", *words]


def started(folder: Path) -> subprocess.Popen[str]:
    """A node whose code is on its picture."""
    process = subprocess.Popen(
        [*command("run", "--machine", str(MACHINE), "--listen", "127.0.0.1", "--port", "0"),
         "--picture", str(folder / "screen.png"), "--state", str(folder)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "code shown" in line:
            break
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_without_a_traceback(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    process = started(tmp_path)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == status
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["run", "--machine", "missing.json"], 2, "E103"),
        (["run", "--relay", "x#bad", "--machine", str(MACHINE)], 2, "E110"),
        (["run", "--lang", "xx", "--machine", str(MACHINE)], 2, "E100"),
        (["install", "missing.yaml", "--machine", str(MACHINE)], 2, "E102"),
        (["install", "missing.yaml"], 2, "E102"),
        (["facts", "--machine", "missing.json"], 2, "E103"),
    ],
)
def test_a_mistake_is_named(words: list[str], status: int, says: str) -> None:
    done = subprocess.run(
        command(*words), cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("run", "--machine", str(MACHINE), "--listen", "127.0.0.1", "--port", port),
            cwd=ROOT, capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
    assert done.returncode == 9, done.stderr
    assert "E706" in done.stderr
    assert "Traceback" not in done.stderr
