"""edgevpn's shared ledger: a map of buckets, of which each peer sends its last block to all.

A block with a higher index replaces the whole of what a peer had; so everybody keeps putting the
own keys back. The hash only decides between blocks of one height, and nobody verifies it: whoever
has the token can write anything.
Source: edgevpn 0.35.3 and 0.28.4, pkg/blockchain; docs/protocol.md.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pairing.edgevpn.limits import MAX_ENTRIES, MAX_PLAIN


@dataclass(frozen=True, slots=True)
class Entry:
    """One value: `value` is JSON as text. The rest is edgevpn's "ownership", which we only keep."""

    value: str = field(repr=False)
    owner: str = ""
    version: int = 0
    updated: int = 0
    deleted: bool = False
    signature: bytes | None = None

    @property
    def bare(self) -> bool:
        """It travels as the value alone."""
        return not (self.owner or self.version or self.deleted) and self.signature is None


Storage = Mapping[str, Mapping[str, Entry]]
STAND_IN = '"?"'
"""A value in somebody else's place until he writes his own: any other value is preferred to it."""


@dataclass(frozen=True, slots=True)
class Block:
    """The ledger at one height. `timestamp` is Go's text for a time, which nobody reads."""

    index: int
    timestamp: str
    storage: Storage = field(repr=False)
    hash: str = ""
    prev_hash: str = ""

    def values(self, bucket: str) -> dict[str, str]:
        """A bucket's keys and their JSON, without what is marked as deleted."""
        entries = self.storage.get(bucket, {})
        return {key: entry.value for key, entry in entries.items() if not entry.deleted}


def checksum(block: Block, *, plain: bool = False) -> str:
    """A block's hash as edgevpn 0.35 makes it; `plain`: as 0.28 did.

    SHA-256 of how Go's fmt.Sprint shows the block's fields; maps in the order of their keys.
    """
    show = (lambda entry: entry.value) if plain else _shown
    buckets = (
        f"{bucket}:map[{' '.join(f'{key}:{show(entries[key])}' for key in sorted(entries))}]"
        for bucket, entries in sorted(block.storage.items())
    )
    record = f"{block.index}{block.timestamp}map[{' '.join(buckets)}]{block.prev_hash}"
    return hashlib.sha256(record.encode()).hexdigest()


def _shown(entry: Entry) -> str:
    signature = " ".join(map(str, entry.signature or b""))
    deleted = "true" if entry.deleted else "false"
    return (
        f"{{{entry.value} {entry.owner} {entry.version} {entry.updated} {deleted} [{signature}]}}"
    )


def go_time(unix: float) -> str:
    """Unix seconds as Go shows a time in UTC."""
    when = datetime.fromtimestamp(unix, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S.%f}000 +0000 UTC"


class Heard(enum.Enum):
    """What a block of somebody else changed."""

    NOTHING = enum.auto()
    BEHIND = enum.auto()
    """Its author is behind: ours should be said again."""
    ADOPTED = enum.auto()
    """It stands now, and has all of ours."""
    WROTE = enum.auto()
    """A new block of ours stands now, with its content and ours: to be said."""


class Ledger:
    """One peer's view, and the keys that this peer puts back whenever they are lost."""

    def __init__(self, unix: float) -> None:
        """`unix`: seconds, for the first block's time."""
        empty = Block(0, go_time(unix), {})
        self.block = replace(empty, hash=checksum(replace(empty, timestamp="")))
        self._own: dict[str, dict[str, str]] = {}
        self._lent: set[tuple[str, str]] = set()

    def write(self, bucket: str, key: str, value: str, unix: float) -> bool:
        """Own this key from now on; `value` is JSON. True: there is a new block to say."""
        self._own.setdefault(bucket, {})[key] = value
        return self._restore(self.block, unix)

    def stand_in(self, bucket: str, key: str, unix: float) -> None:
        """Say that this key is there, whatever it holds: its owner will put the value right."""
        if key not in self.block.storage.get(bucket, {}):
            self._lent.add((bucket, key))
            changed = {**self.block.storage.get(bucket, {}), key: Entry(STAND_IN)}
            self._next(self.block, {**self.block.storage, bucket: changed}, unix)

    def take_back(self, bucket: str, key: str, unix: float) -> None:
        """The opposite of `stand_in`, if nobody has written there since."""
        self._lent.discard((bucket, key))
        entries = self.block.storage.get(bucket, {})
        if key in entries and entries[key].value == STAND_IN:
            self._without({(bucket, key): STAND_IN}, unix)

    def withdraw(self, unix: float) -> bool:
        """Own nothing any more, and take out what we wrote. True: there is a new block to say."""
        ours = {(bucket, key): v for bucket, keys in self._own.items() for key, v in keys.items()}
        ours |= dict.fromkeys(self._lent, STAND_IN)
        self._own, self._lent = {}, set()
        return self._without(ours, unix)

    def _without(self, ours: Mapping[tuple[str, str], str], unix: float) -> bool:
        storage = {
            bucket: {
                key: entry
                for key, entry in entries.items()
                if ours.get((bucket, key)) != entry.value
            }
            for bucket, entries in self.block.storage.items()
        }
        changed = storage != self.block.storage
        if changed:
            self._next(self.block, {b: e for b, e in storage.items() if e}, unix)
        return changed

    def rise(self, height: int, unix: float) -> None:
        """Say the same above this index, if we are not there yet."""
        if self.block.index < height:
            self._next(replace(self.block, index=height), self.block.storage, unix)

    def hear(self, block: Block, unix: float) -> Heard:
        """Take in somebody's block: the higher one wins, at the same height both are merged.

        Stock peers let the larger hash win there; none of them loses by the merge.
        """
        if block.index < self.block.index:
            return Heard.BEHIND
        if block.index > self.block.index:
            return Heard.WROTE if self._restore(block, unix) else Heard.ADOPTED
        if block.storage == self.block.storage:
            return Heard.NOTHING
        wins = block.hash > self.block.hash
        merged = self._merged(block, wins)
        if merged == block.storage:
            self.block = block
            return Heard.ADOPTED
        if not _fits(merged):
            return Heard.NOTHING
        self._next(block if wins else self.block, merged, unix)
        return Heard.WROTE

    def _restore(self, block: Block, unix: float) -> bool:
        """`block` stands, with our keys put back if they are not in it."""
        storage = self._with_own(block.storage)
        if storage == block.storage:
            self.block = block
            return False
        self._next(block, storage, unix)
        return True

    def _next(self, last: Block, storage: Storage, unix: float) -> None:
        block = Block(last.index + 1, go_time(unix), storage, prev_hash=last.hash)
        self.block = replace(block, hash=checksum(block))

    def _merged(self, block: Block, wins: bool) -> Storage:
        """Both storages; of two values for a key the winner's, and ours for the own keys."""
        first, second = self.block.storage, block.storage
        if not wins:
            first, second = second, first
        both = {
            bucket: _both(first.get(bucket, {}), second.get(bucket, {}))
            for bucket in first.keys() | second.keys()
        }
        return self._with_own(both)

    def _with_own(self, storage: Storage) -> Storage:
        """`storage` itself if all our keys are in it, with our values."""
        missing = [
            (bucket, key, value)
            for bucket, keys in self._own.items()
            for key, value in keys.items()
            if not _has(storage, bucket, key, value)
        ]
        if not missing:
            return storage
        changed = {bucket: dict(entries) for bucket, entries in storage.items()}
        for bucket, key, value in missing:
            changed.setdefault(bucket, {})[key] = Entry(value)
        return changed


def _both(first: Mapping[str, Entry], second: Mapping[str, Entry]) -> dict[str, Entry]:
    """Of two values for a key the second one, unless it only stands in."""
    real = {k: e for k, e in second.items() if e.value != STAND_IN or k not in first}
    return {**first, **real}


def _has(storage: Storage, bucket: str, key: str, value: str) -> bool:
    entry = storage.get(bucket, {}).get(key)
    return entry is not None and not entry.deleted and entry.value == value


def _fits(storage: Storage) -> bool:
    """A reader with our limits would still take it."""
    count = sum(len(entries) for entries in storage.values())
    size = sum(len(e.value) + len(k) for entries in storage.values() for k, e in entries.items())
    return count <= MAX_ENTRIES and size <= MAX_PLAIN // 2
