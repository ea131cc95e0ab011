"""A machine that joins the test cluster: the provider on its files, then its kubelet in QEMU."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trio

from node.providers.base import Scene
from node.providers.kubernetes import kubelet
from node.providers.kubernetes.provider import Kubernetes
from node.stages.doing import carry_out
from node.testing.cluster import Cluster
from node.testing.kubelet_guest import MEMORY, WORDS, Guest, guest
from pairing import process
from pairing.config import load
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts
from pairing.testing import qemu
from pairing.testing.hardware import Boot, Drive, Hardware
from pairing.testing.lan import Lan

READY_SECONDS = 420.0
TAP = 70


def config(cluster: Cluster, name: str, token: str) -> str:
    """A config that joins `cluster`, as text."""
    authority = cluster.authority.pem.strip().replace("\n", "\n    ")
    return (
        f"#cloud-config\nhostname: {name}\nkubernetes:\n  enabled: true\n  labels: {{shop: '7'}}\n"
        f"  server: {cluster.server}\n  token: {token}\n  ca: |-\n    {authority}\n"
    )


@dataclass
class Machine:
    """The machine: its files below a folder first, then running. `states` are those it reached."""

    config: Document
    facts: Facts
    provider: Kubernetes
    guest: Guest
    states: list[State] = field(default_factory=list)

    def prepare(self) -> None:
        """What `node.providers.join` does before a unit is started: check, then write."""
        trio.run(self.provider.check, self._scene)
        for action in self.provider.prepare(self.config, self.facts).actions:
            carry_out(action, self.guest.tree, process.run)
        self.guest.start_at_boot(kubelet.UNIT)

    @contextlib.contextmanager
    def running(self, network: Lan, folder: Path) -> Iterator[qemu.Machine]:
        """The virtual machine; its disk and serial log are in `folder`, the disk until the end."""
        folder.mkdir(parents=True, exist_ok=True)
        disk = self.guest.disk(folder / "disk.raw")
        hardware = Hardware(
            serial="E2E-KUBELET",
            uuid=self.facts.uuid,
            mac=f"52:54:00:00:00:{TAP:02x}",
            tap=network.tap(TAP),
            memory=MEMORY,
            drives=(Drive(image=disk),),
        )
        boot = Boot(kernel=self.guest.kernel, initramfs=self.guest.initramfs, words=WORDS)
        try:
            with qemu.running(hardware, boot, folder, network.entry) as machine:
                yield machine
        finally:
            disk.unlink()

    def until_ready(self) -> None:
        """Watch as the provider does. Raises errors.JoinFailed and trio.TooSlowError."""

        async def watch() -> None:
            with trio.fail_after(READY_SECONDS):
                await self.provider.watch(self._scene, lambda state, _: self.states.append(state))

        trio.run(watch)

    @property
    def _scene(self) -> Scene:
        return Scene(
            config=self.config,
            facts=self.facts,
            root=self.guest.tree,
            command=_silence,
            log=print,
        )


def machine(cluster: Cluster, folder: Path, name: str) -> Machine:
    """A fresh one, with a token of its own; its tree is unpacked into `folder`."""
    return Machine(
        config=load(config(cluster, name, cluster.token()), "config.yaml"),
        facts=Facts(uuid=str(uuid.uuid4())),
        provider=Kubernetes(connect=cluster.connect),
        guest=guest(folder, name),
    )


async def _silence(*_: object, **__: object) -> process.Result:
    """The machine's programs cannot be run from here."""
    return process.Result(0, b"", b"")
