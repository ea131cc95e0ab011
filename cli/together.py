"""Photos of one screen, none of which can be read alone: they are summed when all were seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cli.sources import JOINT, Source
from pairing import errors
from pairing.qr.read import PhotoReader, Sum


def read_together(given: Sequence[Source], reader: PhotoReader) -> Iterator[Source]:
    """The sources as they are read, one after another; unreadable photos come last.

    Those of one screen that can be read together become one source, named after all of them. One
    that shows the code of another photo is left out. Each of the others says by `wrong` why it has
    no token. A single source is not looked at.
    """
    if len(given) < 2:
        yield from given
        return
    unread: dict[str, Source] = {}
    for source in given:
        read = _read(source, reader)
        if read.wrong is not None and reader.keeps(source.name):
            unread[source.name] = read
        else:
            yield read
    for found in sums(reader):
        parts = [unread.pop(name) for name in found.photos if name in unread]
        if not found.shown_by:
            taken = max((part.taken for part in parts), default=math.inf)
            yield Source(JOINT.join(found.photos), text=found.text, taken=taken)
    yield from unread.values()


def _read(source: Source, reader: PhotoReader) -> Source:
    """With the text that its photo shows, or what is wrong with it."""
    if source.photo is None or source.wrong is not None:
        return source
    try:
        return replace(source, photo=None, text=source.code(reader).text)
    except errors.KnownError as wrong:
        return replace(source, wrong=wrong)
    except KeyboardInterrupt:
        stopped = errors.Interrupted("Nothing was released to this machine.")
        return replace(source, wrong=stopped)


def sums(reader: PhotoReader) -> tuple[Sum, ...]:
    """What unread photos show together; nothing where the reader fails."""
    try:
        return reader.together()
    except errors.PhotoWorkerFailed:
        return ()  # then each says for itself why it cannot be read
