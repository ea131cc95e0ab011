"""A photo inbox for tests: a folder, pictures to drop into it, and what the command says."""

from __future__ import annotations

import io
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from cli.commands.inbox import inbox
from pairing import keys, peertoken
from pairing.qr import render
from pairing.testing.tokens import random_token

HOUR = 3600


def picture(token: str, *, scale: int = 4) -> bytes:
    return render.png(render.modules(token), scale)


def token(number: int) -> str:
    return random_token(random.Random(number))


def node_of(text: str) -> str:
    return keys.fingerprint(peertoken.parse(text).key)


def blank() -> bytes:
    out = io.BytesIO()
    Image.new("L", (300, 300), 200).save(out, "PNG")
    return out.getvalue()


@dataclass(slots=True)
class Inbox:
    """A folder, and what `kairos-fleet inbox` says of it."""

    folder: Path
    data: Path
    capture: Any

    def drop(self, name: str, data: bytes, *, hours_old: float = 1) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        then = path.stat().st_mtime - hours_old * HOUR
        os.utime(path, (then, then))
        return path

    def run(self, *arguments: str) -> int:
        self.capture.readouterr()
        names = ["-h", "--help"]
        given = [str(self.folder), *(arguments or ("--once", "--output", "jsonl"))]
        return int(inbox.main(given, standalone_mode=False, help_option_names=names))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.capture.readouterr().out.splitlines()]

    def results(self, *arguments: str) -> dict[str, str]:
        self.run("--once", "--output", "jsonl", *arguments)
        return {line["photo"]: line["result"] for line in self.lines() if line["type"] == "photo"}
