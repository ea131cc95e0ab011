"""Asking the person at the terminal, without a thread and without blocking the conversation."""

from __future__ import annotations

import os
import sys

import trio

ANSWER_LIMIT = 200


def can_ask() -> bool:
    """Whether somebody is there: both standard input and standard error are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


async def ask(question: str) -> str:
    """One line of answer without white space around it; empty at the end of input.

    The terminal gives a whole line at a time, so reading it never blocks once it is ready.
    """
    sys.stderr.write(question)
    sys.stderr.flush()
    await trio.lowlevel.wait_readable(sys.stdin.fileno())
    data = os.read(sys.stdin.fileno(), ANSWER_LIMIT)
    if not data:
        sys.stderr.write("\n")
    return data.decode("utf-8", "replace").strip()


async def agrees(question: str) -> bool | None:
    """Yes, no, or None if input ended. Asks again until it is one of them."""
    while True:
        answer = (await ask(f"{question} [yes/no] ")).lower()
        if answer in ("y", "yes"):
            return True
        if answer in ("n", "no"):
            return False
        if not answer and not can_ask():
            return None
