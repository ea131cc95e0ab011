"""A machine's installation and its first start from its own disk (root, QEMU).

One emulated machine with a TPM: firmware, the stick, one real `kairos-register`. For the ratio, the
bytes that an installation copies are copied to the same disk before it, in the same start.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from node.testing.images import QUICK, Factory
from node.testing.shop import Shop
from pairing.testing import guest_system
from pairing.testing.lan import lan
from pairing.testing.measured import Figure
from pairing.testing.operators import Line, Run
from pairing.testing.qemu import Machine

COPIES = 3
WRITTEN_SECONDS, END_SECONDS = 900.0, 900.0
SHELL_SECONDS = 180.0
CONFIG = """#cloud-config
hostname: bench
users:
  - {name: ana, groups: [admin], ssh_authorized_keys: [PUBLIC]}
install: {device: /dev/vda, wipe: true, encrypt: tpm2}
"""
"""`wipe`: copies lie on it, and the machine may have looked at its disk before it was erased."""
MEDIUM = "/run/kairos-register/medium/kairos"
COPY = (
    f"cd {MEDIUM}; sync; echo 3 > /proc/sys/vm/drop_caches; began=$(cut -d' ' -f1 /proc/uptime);"
    " copy() { dd if=$1 of=/dev/vda bs=4M seek=$2 conv=notrunc 2>/dev/null || echo bro''ken; };"
    " at=0;"
    " for one in /dev/mapper/root /dev/mapper/root /dev/disk/by-partlabel/kr_live_v"
    " /dev/disk/by-partlabel/kr_live_v kr_*.efi kr_*.efi recovery.efi loader.efi;"
    " do copy $one $at; at=$((at+64)); done; sync /dev/vda;"
    " echo took $began $(cut -d' ' -f1 /proc/uptime)"
)
"""Both slots' worth of the image, and the boot files, flushed. From caches that are empty."""
QUIET = (
    "until [ -e /run/kairos-register/staging/loader.efi ]; do sleep 1; done;"
    " systemctl is-system-running --wait"
)
"""The node has looked at its stick, and nothing starts any more: only then are bytes copied."""
CLEAN = "blkdiscard -f /dev/vda; udevadm settle; sync; echo 3 > /proc/sys/vm/drop_caches"
UNLOCK = "journalctl --boot --unit kairos-boot --output short-monotonic --no-pager"


def measure(quick: bool) -> list[Figure]:
    """Seconds and a ratio; it takes about five minutes. How soon the code is there: `boot.py`."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        factory = Factory(folder / "images", folder / "keys")
        with lan(folder / "lan") as network:
            shop = Shop.new(network, folder / "shop", CONFIG, 20)
            stick = factory.build(
                "1.0.0", into="shell", kernel_words=(*QUICK, guest_system.SHELL_WORD)
            ).stick
            return [*_life(shop, stick, 1 if quick else COPIES)]


def _life(shop: Shop, stick: Path, copies: int) -> Iterator[Figure]:
    with shop.live(stick) as machine:
        _ask(machine, QUIET)
        copied = [_copied(machine) for _ in range(copies)]
        yield Figure(name="the image copied to the disk by dd", unit="s", samples=copied)
        _ask(machine, CLEAN)
        with shop.register(shop.photo(machine), "--wait", "installed") as run:
            run.until("written", WRITTEN_SECONDS)
            yield from _written(run, copied)
            if run.end(END_SECONDS) != 0:
                raise RuntimeError(run.end_of())
            yield Figure(name="written to installed", unit="s", samples=[_restart(run)])
        yield from _unlock(_ask(machine, UNLOCK))


def _ask(machine: Machine, command: str) -> str:
    return machine.serial[guest_system.SHELL_LINE].ask(command, SHELL_SECONDS)


def _copied(machine: Machine) -> float:
    answer = _ask(machine, COPY)
    if "broken" in answer:
        raise RuntimeError(f"not all was copied: {answer}")
    said = answer.rsplit("took ", 1)[-1].split()
    return float(said[1]) - float(said[0])


def _written(run: Run, copied: Sequence[float]) -> Iterator[Figure]:
    """By the machine's own clock, without the time in which somebody may still say no."""
    states = {line["state"]: line["up_ms"] / 1000 for line in run.of("state")}
    waited = states["installing"] - states["planned"]
    took = states["written"] - states["approved"] - waited
    yield Figure(name="config released to written", unit="s", samples=[took])
    note = f"without the {waited:.0f} s in which it can be aborted"
    times = [took / sample for sample in copied]
    yield Figure(name="the same : dd", unit="times", samples=times, goal=2.0, note=note)
    steps = run.of("step")
    for name in dict.fromkeys(line["step"] for line in steps):
        own = [line for line in steps if line["step"] == name]
        yield Figure(name=f"step {name}", unit="s", samples=[_span(own)])


def _span(lines: Sequence[Line]) -> float:
    return float(lines[-1]["up_ms"] - lines[0]["up_ms"]) / 1000


def _restart(run: Run) -> float:
    """By the operator's clock: the machine's begins anew."""
    at = {line["state"]: line["at"] for line in run.of("state")}
    return _seconds(at["installed"]) - _seconds(at["written"])


def _seconds(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def _unlock(journal: str) -> Iterator[Figure]:
    """From asking the TPM for the first volume to the second one being open."""
    times = [
        (float(line.split("]")[0].strip("[ ")), line)
        for line in journal.splitlines()
        if line.startswith("[")
    ]
    opening = [at for at, line in times if "Open KR_" in line]
    after = [at for at, _ in times if opening and at > opening[-1]]
    if opening and after:
        samples = [after[0] - opening[0]]
        yield Figure(name="both volumes opened by the TPM", unit="s", samples=samples)
