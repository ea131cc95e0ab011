#!/opt/kairos-register/bin/python
"""A provider as a program of its own, for tests: it knows Kairos' event, and keeps what it is told.

It is put into an image as it is, so it imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

RECORD = "/run/shop-provider.jsonl"
BOOTSTRAP, STATUS = "agent.bootstrap", "kairos-register.status"


def answer(event: str, earlier: list[str]) -> dict[str, str]:
    """What it answers; it has joined when it is asked the second time."""
    said = {"state": "", "data": "", "error": ""}
    if event == STATUS:
        return {**said, "state": "ready" if STATUS in earlier else "preparing"}
    return said if event == BOOTSTRAP else {**said, "error": f"unknown event {event}"}


def main() -> None:
    """One event: its name is the argument, what belongs to it comes on standard input."""
    event, record = sys.argv[1], Path(RECORD)
    kept = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    told = {"arguments": sys.argv[1:], "environment": dict(os.environ)}
    with record.open("a") as file:
        record.chmod(0o600)
        file.write(json.dumps({**told, "input": json.load(sys.stdin)}) + "\n")
    print(json.dumps(answer(event, [line["arguments"][0] for line in kept])))


if __name__ == "__main__":
    main()
