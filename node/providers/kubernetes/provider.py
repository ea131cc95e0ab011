"""The provider `kubernetes`: what `node.providers.join` asks for, put together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from node.providers.base import JOIN_SECONDS, READY_SECONDS, Entered, Preparation, Scene
from node.providers.kubernetes import kubelet
from node.providers.kubernetes import settings as said
from node.providers.kubernetes.api import Connect, tcp
from node.providers.kubernetes.identity import FOLDER, Identity
from node.providers.kubernetes.joining import Joining, Open, in_thread
from node.stages.actions import Action, MakeFolder, WriteFile
from pairing import errors
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts

LOG_LINES = 15
LOG_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubernetes:
    """Joins a Kubernetes cluster by TLS bootstrap. The doors are for tests."""

    connect: Connect = tcp
    open: Open = in_thread
    name: str = "kubernetes"
    order: int = 50

    def wanted(self, config: Document) -> bool:
        """Whether `kubernetes.enabled` is true."""
        return said.wanted(config)

    def prepare(self, config: Document, facts: Facts) -> Preparation:
        """The kubelet's files. Raises errors.JoinSettingsIncomplete."""
        settings = said.settings(config, facts)
        return Preparation(actions=tuple(_actions(settings)), units=(kubelet.UNIT,))

    async def check(self, scene: Scene) -> None:
        """Get what the kubelet cannot start without: the cluster's authority, a certificate.

        A machine that has both starts its kubelet also while the cluster is away.
        """
        joining = self._joining(scene)
        had = joining.has_joined
        try:
            pem = await joining.authority()
            joining.identity.trust(pem)
            await joining.join(pem)
        except errors.JoinUnreachable as wrong:
            if not had:
                raise
            scene.log(wrong.sentence)
        except OSError as wrong:
            raise errors.JoinFailed(f"{wrong.strerror or wrong}.", element=f"/{FOLDER}") from None

    async def watch(self, scene: Scene, entered: Entered) -> None:
        """Joined: the cluster has this machine's Node. Ready: so says the Node's condition."""
        joining = self._joining(scene)
        pem = await joining.authority()
        await joining.join(pem)
        entered(State.JOINED, f"Node {joining.settings.name} of {joining.settings.server}")
        if not os.access(scene.path(kubelet.PROGRAM), os.X_OK):
            message = "The machine has joined, but nothing here can run what the cluster sends."
            raise errors.JoinProgramMissing(message, element=kubelet.PROGRAM)
        try:
            await joining.ready(pem, READY_SECONDS - JOIN_SECONDS)
        except errors.JoinNotReady:
            await _tail(scene)
            raise
        entered(State.READY, f"Node {joining.settings.name} is ready")

    def _joining(self, scene: Scene) -> Joining:
        settings = said.settings(scene.config, scene.facts)
        return Joining(
            settings=settings,
            identity=Identity(scene.root, settings.name),
            system=scene.facts.uuid,
            connect=self.connect,
            open=self.open,
        )


def _actions(settings: said.Settings) -> Iterator[Action]:
    yield MakeFolder(path=f"/{FOLDER}", mode=0o700)
    yield WriteFile(path=kubelet.CONFIG, content=kubelet.config().encode(), mode=0o600)
    kubeconfig = kubelet.kubeconfig(settings).encode()
    yield WriteFile(path=kubelet.KUBECONFIG, content=kubeconfig, mode=0o600)
    unit = kubelet.unit(settings).encode()
    yield WriteFile(path=f"/etc/systemd/system/{kubelet.UNIT}", content=unit)


async def _tail(scene: Scene) -> None:
    """The end of the kubelet's log, into the report."""
    argv = ("journalctl", "--unit", kubelet.UNIT, "--lines", str(LOG_LINES), "--output", "cat")
    try:
        printed = await scene.command(argv, seconds=LOG_SECONDS, check=False)
    except errors.KnownError:
        return
    scene.say_tail(printed.text().splitlines())
