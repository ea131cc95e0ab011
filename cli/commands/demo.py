"""`kairos-fleet demo`: a node and an operator on this machine, paired from a photo."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import click

from pairing import errors, process
from pairing.errors import ExitCode

NODE_SECONDS = 60.0
"""For the node to show a code with its address; it takes three where nothing else runs."""
OPERATOR_SECONDS = 180.0
PHOTOS = 5
"""How often the photographer tries again."""

HELP = """Pair a make-believe machine on this one: no root, no network, nothing is changed.

\b
Examples:
  kairos-fleet demo
  kairos-fleet demo --folder /tmp/demo        keep screen, photo, records
  kairos-fleet demo --kill after-release      what if the machine dies?

Two processes that share nothing but a picture: a node with recorded hardware, which shows its
code on a simulated screen, and `kairos-register`, which is given a tilted photo of that screen.
Keys and records go to a folder of their own.

Exit codes: 0 done; with --kill those of kairos-register: 5 before, 12 after the release.
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """The files of one demo. Only the photo is given from one side to the other."""

    folder: Path

    @property
    def picture(self) -> Path:
        """What the node's screen shows."""
        return self.folder / "node" / "screen.png"

    @property
    def photo(self) -> Path:
        """What the operator gets."""
        return self.folder / "photo.png"

    @property
    def config(self) -> Path:
        return self.folder / "operator" / "shop.yaml"

    def events(self) -> list[dict[str, object]]:
        """Everything that the operator heard from the node."""
        found = self.folder.glob("operator/data/kairos-register/journal/*.jsonl")
        return [json.loads(line) for path in found for line in path.read_text().splitlines()]


@click.command(help=HELP)
@click.option("--kill", type=click.Choice(["before-release", "after-release"]),
              help="Kill the node (SIGKILL) then.")  # fmt: skip
@click.option("--folder", metavar="DIR", help="Keep everything there instead of a temporary one.")
@click.option("--output", type=click.Choice(["human", "json", "jsonl"]), default="human",
              show_default=True, help="What the operator's command prints.")  # fmt: skip
def demo(kill: str | None, folder: str | None, output: str) -> int:
    """See HELP."""
    with _folder(folder) as place:
        scene = Scene(place)
        hostname = f"demo-{secrets.token_hex(3)}"
        _set_the_scene(scene, hostname)
        node = _start_node(scene, abort_seconds=30 if kill == "after-release" else 0)
        try:
            _take_photo(scene)
            if kill == "before-release":
                node.stop()
                _tell("demo", "the node was killed before anything was released")
            code = _register(scene, node, output, kill_at="released" if kill else None)
        finally:
            node.stop()
        return code if kill else _check(scene, hostname, code)


@contextmanager
def _folder(asked: str | None) -> Iterator[Path]:
    if asked is None:
        with tempfile.TemporaryDirectory(prefix="kairos-demo-") as name:
            yield Path(name)
        return
    path = Path(asked).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise errors.UsageError("This folder is not empty.", element=asked)
    except OSError as wrong:
        raise errors.UsageError(f"({wrong.strerror})", element=asked) from None
    yield path


def _set_the_scene(scene: Scene, hostname: str) -> None:
    shipped = resources.files("cli.commands")
    (scene.folder / "node").mkdir()
    (scene.folder / "operator").mkdir()
    machine = shipped.joinpath("demo-machine.json").read_text("utf-8")
    config = shipped.joinpath("demo-config.yaml").read_text("utf-8")
    (scene.folder / "node" / "machine.json").write_text(machine)
    (scene.folder / "node" / "node.yaml").write_text("mdns: false\n")
    scene.config.write_text(f"{config}hostname: {hostname}\n")


def _start_node(scene: Scene, abort_seconds: int) -> process.Program:
    own = scene.folder / "node"
    arguments = ["run", "--machine", str(own / "machine.json"), "--dry-run", "--once"]
    arguments += ["--settings", str(own / "node.yaml"), "--state", str(own / "state")]
    arguments += ["--listen", "127.0.0.1", "--port", "0", "--picture", str(scene.picture)]
    node = process.start_program("node", [*arguments, "--abort-seconds", str(abort_seconds)])
    _tell("demo", f"node started, process {node.pid}: recorded hardware, dry run, loopback only")
    threading.Thread(target=_pass_on, args=("node", node), daemon=True).start()
    return node


def _pass_on(who: str, program: process.Program) -> None:
    for line in program.lines():
        _tell(who, line)


def _take_photo(scene: Scene) -> None:
    """Wait until the screen shows a code with an address, then photograph it like a person."""
    from io import BytesIO

    from PIL import Image

    from pairing.qr.read import PhotoReader, token_from
    from pairing.testing.photos import photograph

    with PhotoReader() as reader:
        _until(lambda: _shows_address(reader, scene.picture), "The node showed no code.")
        for _ in range(PHOTOS):
            seed = secrets.randbelow(10**6)
            taken = photograph(Image.open(scene.picture), severity=2, seed=seed)
            Image.open(BytesIO(taken)).save(scene.photo)
            try:
                token_from(reader.read(scene.photo))
            except errors.PhotoError:
                continue
            size = scene.photo.stat().st_size // 1000
            _tell("demo", f"photo of the node's screen taken: {scene.photo} ({size} kB)")
            return
    raise errors.CodeUnreadable(element=str(scene.photo))


def _shows_address(reader: object, picture: Path) -> bool:
    from pairing.peertoken import parse
    from pairing.qr.read import PhotoReader, token_from

    assert isinstance(reader, PhotoReader)
    if not picture.exists():
        return False
    try:
        return bool(parse(token_from(reader.read(picture)).text, loopback=True).addresses)
    except errors.PhotoError:
        return False


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    pause, end = threading.Event(), time.monotonic() + NODE_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise errors.UnreachableError(otherwise)
        pause.wait(0.2)


def _register(scene: Scene, node: process.Program, output: str, kill_at: str | None) -> int:
    own = scene.folder / "operator"
    arguments = ["--config", str(scene.config), "--wait", "written", "--loopback"]
    arguments += ["--timeout", "5" if kill_at else "60", "--output", output, str(scene.photo)]
    shown = " ".join(["kairos-register", *arguments])
    _tell("demo", shown)
    environment = {
        "HOME": str(own),
        "XDG_CONFIG_HOME": str(own / "config"),
        "XDG_DATA_HOME": str(own / "data"),
    }
    operator = process.start_program("cli.register", arguments, environment=environment)
    try:
        for line in operator.lines():
            _tell("operator", line)
            if kill_at and (line.startswith(kill_at) or f'"about": "{kill_at}"' in line):
                node.stop()
                _tell("demo", "the node was killed after the release")
        return operator.wait(OPERATOR_SECONDS)
    finally:
        operator.stop()


def _check(scene: Scene, hostname: str, code: int) -> int:
    """The demo's own verdict: the config's host name came back in the node's signed plan."""
    if code != ExitCode.DONE:
        _tell("demo", f"kairos-register ended with exit code {code}")
        return code
    plans = [str(event.get("text")) for event in scene.events() if event["state"] == "planned"]
    if not any(f"hostname: {hostname}" in plan for plan in plans):
        raise errors.ProtocolBroken("The node's plan does not name the config's host name.")
    _tell("demo", f"the node's plan, signed by it, says hostname: {hostname}")
    _tell("demo", "done: a real pairing over libp2p, a real recovery key escrowed, no disk touched")
    return int(ExitCode.DONE)


def _tell(who: str, line: str) -> None:
    from pairing.report import safe

    sys.stdout.write(f"{who:<8} | {safe(line)}\n")
    sys.stdout.flush()
