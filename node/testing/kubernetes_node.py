"""A virtual machine that joins the test cluster, by one config after the other."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from node.testing.cluster import Cluster
from node.testing.join_once import END, MARK
from node.testing.kubelet_guest import DISK, MEMORY, WORDS, guest
from pairing.testing import qemu
from pairing.testing.hardware import Boot, Drive, Hardware
from pairing.testing.lan import Lan

JOIN_SECONDS = 420.0
"""From the power button until the last config has had its turn: one that fails takes a minute."""
TAP = 70


@dataclass(frozen=True, slots=True)
class Said:
    """What the machine reported: by which config, the state, the error, after how long (s)."""

    config: str
    state: str
    code: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Node:
    """The machine while it runs."""

    machine: qemu.Machine

    def until_done(self, seconds: float = JOIN_SECONDS) -> list[Said]:
        """Everything that it reports. Raises GuestTooSlow."""
        self.machine.serial[0].wait_for(f"{MARK}{END}", seconds)
        lines = re.findall(rf"{MARK}(\{{.*\}})", self.machine.serial[0].text())
        return [Said(**json.loads(line)) for line in lines]


def config(
    cluster: Cluster, name: str, token: str, *, server: str = "", authority: str = ""
) -> str:
    """A config that joins `cluster`, as text; or one that is wrong in some way."""
    pem = (authority or cluster.authority.pem).strip().replace("\n", "\n    ")
    return (
        f"#cloud-config\nhostname: {name}\nkubernetes:\n  enabled: true\n  labels: {{shop: '7'}}\n"
        f"  server: {server or cluster.server}\n  token: {token}\n  ca: |-\n    {pem}\n"
    )


@dataclass(frozen=True, slots=True)
class Made:
    """A machine that is ready to be switched on."""

    hardware: Hardware
    boot: Boot
    disk: Path
    folder: Path = field(repr=False)

    @contextlib.contextmanager
    def running(self, network: Lan) -> Iterator[Node]:
        """Switch on; at the end off, and the disk is thrown away."""
        try:
            with qemu.running(self.hardware, self.boot, self.folder, network.entry) as machine:
                yield Node(machine)
        finally:
            self.disk.unlink()


def made(network: Lan, folder: Path, configs: Mapping[str, str]) -> Made:
    """A machine with these configs, by file name; the first name has the first turn.

    Its files and its serial log are in `folder`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    system = guest(folder, configs)
    disk = system.disk(folder / DISK)
    kernel, initramfs = folder / "vmlinuz", folder / "initramfs"
    shutil.copy(system.kernel, kernel)
    shutil.copy(system.initramfs, initramfs)
    shutil.rmtree(system.tree)
    hardware = Hardware(
        serial="E2E-KUBELET",
        uuid=str(uuid.uuid4()),
        mac=f"52:54:00:00:00:{TAP:02x}",
        tap=network.tap(TAP),
        memory=MEMORY,
        drives=(Drive(image=disk),),
    )
    return Made(hardware, Boot(kernel=kernel, initramfs=initramfs, words=WORDS), disk, folder)
