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


@contextlib.asynccontextmanager
async def until_the_body_has_ended() -> AsyncIterator[trio.Nursery]:
    """Tasks that a cancellation from outside does not reach before the body has ended.

    So that the body, however it ends, can have its last words carried by them: it must be quick.
    """
    async with background() as outside:
        tasks, life = await outside.start(_shielded)
        try:
            yield tasks
        finally:
            life.cancel()


async def _shielded(task_status: trio.TaskStatus[tuple[trio.Nursery, trio.CancelScope]]) -> None:
    with trio.CancelScope(shield=True) as life:
        async with trio.open_nursery() as tasks:
            task_status.started((tasks, life))
            await trio.sleep_forever()
