"""`kairos-register --kairos` in a test's process, on the memory network."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import trio

from cli import screen
from cli.kairos.run import KairosRun
from cli.pairing_run import WarmUp
from cli.register import Asked, command, prepare_kairos
from pairing.qr import render
from pairing.report import report_for
from pairing.testing.gossip import MemoryGossip

CANARY = "canary-7b1f"
CONFIG = f"""#cloud-config
hostname: shop-0815
users:
  - name: kairos
    groups: [admin]
    ssh_authorized_keys:
      - github:mudler
write_files:
  - path: /etc/motd
    content: |
      {CANARY} "käthe"
install:
  device: /dev/sda
"""
SECRET = CONFIG.replace("    groups:", f"    passwd: {CANARY}\n    groups:")


class Station(Protocol):
    """An operator's home folder, and the config in it."""

    home: Path

    @property
    def config(self) -> Path: ...


class KairosDesk:
    """Runs of one operator. `network` is where the machines are; `out` and `err` what was said."""

    def __init__(self, station: Station) -> None:
        self.station, self.network = station, MemoryGossip()
        self.out, self.err = io.StringIO(), io.StringIO()
        station.config.write_text(CONFIG)

    def asked(self, *arguments: str) -> Asked:
        """The command line, with config and photo.png unless others are named."""
        given = ["--config", str(self.station.config), "--kairos", *arguments]
        if not any(text.endswith(".png") for text in arguments):
            given.append(str(self.photo("photo.png")))
        with command.make_context("kairos-register", given) as made:
            return Asked(**made.params)

    def run(self, *arguments: str) -> KairosRun:
        """A run that has sent nothing yet. Raises errors.KnownError."""
        run = prepare_kairos(asked := self.asked(*arguments))
        run.network = self.network
        run.warm = WarmUp(lambda: None)
        run.report = report_for(asked.output, self.err, self.out)
        return run

    def photo(self, name: str, text: str = "") -> Path:
        """A picture of a code in the station's home."""
        path: Path = self.station.home / name
        if text or not path.exists():
            path.write_bytes(render.png(render.modules(text)) if text else b"")
        return path

    async def register(self, run: KairosRun) -> int:
        """To the end; its exit code."""
        with run:
            codes = await run.register()
        return run.close(screen.exit_code(codes))

    @property
    def said(self) -> str:
        """Both streams."""
        return self.out.getvalue() + self.err.getvalue()


async def beside(
    desk: KairosDesk, run: KairosRun, *nodes: Callable[[], Any]
) -> tuple[int, list[Any]]:
    """The run, while `nodes` do what they do; its exit code, and what they got."""
    got: list[Any] = []

    async def keep(node: Callable[[], Any]) -> None:
        got.append(await node())

    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(keep, node)
        code = await desk.register(run)
        with trio.move_on_after(60):
            while len(got) < len(nodes):  # noqa: ASYNC110 (virtual time)
                await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    return code, got
