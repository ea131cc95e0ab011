"""The provider `p2p`: starts what its settings ask for, and says where the machine is met.

It is no cluster: a machine that only has this one never says Joined. A relay or a name that does
not come up is an error all the same: somebody counts on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trio

from node.providers.base import NETWORKS, Entered, Preparation, Scene, has_unit
from node.providers.p2p.settings import FOLDER, MDNS_UNIT, RELAY_UNIT, Settings, settings
from pairing import errors
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts

START_SECONDS = 180.0
"""For both units; a slow machine needs twenty to load the relay and to make its certificate."""
TOOL_SECONDS = 20.0
PAUSE = 1.0
LOG_LINES = "15"
PLAIN = ("--no-pager", "--output=cat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """A relay for others, and the machine's name in its LAN."""

    name: str = "p2p"
    order: int = NETWORKS

    def wanted(self, config: Document) -> bool:
        """Whether there is anything to start: naming the relays of others is not."""
        return bool(settings(config).units)

    def missing(self, root: Path) -> str:
        """See `node.providers.found.NeedsProgram`: the flavour `core` has no such units."""
        return next((unit for unit in (RELAY_UNIT, MDNS_UNIT) if not has_unit(root, unit)), "")

    def prepare(self, config: Document, facts: Facts) -> Preparation:
        found = settings(config)
        return Preparation(actions=found.files(), units=found.units, join_seconds=START_SECONDS)

    async def check(self, scene: Scene) -> None:
        """That the image has the units."""
        await trio.lowlevel.checkpoint()
        if name := self.missing(scene.root):
            raise errors.JoinProgramMissing(element=name)

    async def watch(self, scene: Scene, entered: Entered) -> None:
        found = settings(scene.config)
        for unit in found.units:
            await _until_active(scene, unit)
        entered(State.JOINED, "")
        entered(State.READY, await trio.to_thread.run_sync(said_of, found, scene.root))


async def _until_active(scene: Scene, unit: str) -> None:
    """Raises errors.MeetingFailed with the end of its log."""
    while True:
        argv = ("systemctl", "show", "--property=ActiveState,NRestarts", unit)
        text = (await scene.command(argv, seconds=TOOL_SECONDS, check=False)).text()
        state = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        if state.get("ActiveState") == "active":
            return
        if state.get("ActiveState") == "failed" or int(state.get("NRestarts") or 0) > 0:
            log = await scene.command(
                ("journalctl", "--boot", "--unit", unit, "--lines", LOG_LINES, *PLAIN),
                seconds=TOOL_SECONDS,
                check=False,
            )
            scene.say_tail(log.text().splitlines())
            raise errors.MeetingFailed(element=unit)
        await trio.sleep(PAUSE)


def said_of(found: Settings, root: Path) -> str:
    """A sentence for the operator: what others have to name to meet here."""
    from pairing.transport.relay_tls import Certificate  # TLS and all: only for a relay

    parts = []
    if found.relay:
        folder = root / FOLDER.lstrip("/")
        pin = Certificate(folder / "relay.crt", folder / "relay.key").pin().hex()
        parts.append(f"a relay, --relay HOST:{found.port}#sha256={pin}")
    if found.mdns:
        parts.append("known in its LAN by its host name and .local")
    return f"This machine is {' and '.join(parts)}"
