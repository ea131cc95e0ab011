"""Virtual time for whole nodes and operators, which also have threads at work."""

from __future__ import annotations

import time

import trio
import trio.testing

LOOK_SECONDS = 0.0005
"""Real time between two looks at whether a thread is done."""


def thread_clock(patience: float = 0.0) -> trio.testing.MockClock:
    """A clock that jumps to the next deadline when nothing happens and no thread is at work.

    So what a thread does (files, fsync, other programs) takes no virtual time, however slow the
    machine is. Terminals and sockets are not seen: where they are in play, `patience` is the real
    time in seconds that they get before each jump.
    """
    clock = trio.testing.MockClock(autojump_threshold=patience)
    jump = clock._autojump

    def jump_without_threads() -> None:
        if trio.to_thread.current_default_thread_limiter().borrowed_tokens:
            time.sleep(LOOK_SECONDS)  # noqa: TID251 (real time is meant)
        else:
            jump()

    # There is no public way: the class is final, and trio asks for this very class.
    clock._autojump = jump_without_threads  # type: ignore[method-assign]
    return clock
