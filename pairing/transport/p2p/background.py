"""A nursery that nobody outside can tell is there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import trio


@contextlib.asynccontextmanager
async def background() -> AsyncIterator[trio.Nursery]:
    """Tasks that end with the body. The body's own exception comes out as it was, ungrouped."""
    raised: BaseException | None = None
    async with trio.open_nursery() as tasks:
        try:
            yield tasks
        except trio.Cancelled:
            raise
        except BaseException as error:
            raised = error
        tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised
