"""A block as bytes: gzip of JSON, as edgevpn 0.28 to 0.35 write and read it."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any

from pairing.edgevpn.ledger import Block, Entry
from pairing.edgevpn.limits import MAX_ENTRIES, MAX_INDEX, MAX_NAME, MAX_PLAIN, Unreadable

_GZIP = 16 + zlib.MAX_WBITS
_UINT64 = 2**64


def to_bytes(block: Block) -> bytes:
    """What gets sealed. The same block gives the same bytes."""
    storage = {
        bucket: {key: _entry_json(entry) for key, entry in entries.items()}
        for bucket, entries in block.storage.items()
    }
    body = {
        "Index": block.index,
        "Timestamp": block.timestamp,
        "Storage": storage,
        "Hash": block.hash,
        "PrevHash": block.prev_hash,
    }
    return gzip.compress(json.dumps(body, separators=(",", ":")).encode(), mtime=0)


def _entry_json(entry: Entry) -> Any:
    if entry.bare:
        return entry.value
    signature = None if entry.signature is None else base64.b64encode(entry.signature).decode()
    return {
        "Value": entry.value,
        "Owner": entry.owner,
        "Version": entry.version,
        "UpdatedAt": entry.updated,
        "Deleted": entry.deleted,
        "Sig": signature,
    }


def from_bytes(data: bytes, *, max_index: int = MAX_INDEX) -> Block:
    """Read what was sealed. Its hash is not checked: nobody else does. Raises Unreadable.

    `max_index`: for tests that play a stock peer, which takes up to 2^63.
    """
    try:
        body = json.loads(_unpacked(data).decode())
        return _block(body, max_index)
    except (zlib.error, ValueError, RecursionError):
        raise Unreadable("no block of edgevpn") from None


def _unpacked(data: bytes) -> bytes:
    """Never more than MAX_PLAIN bytes, whatever `data` would become."""
    unpacking = zlib.decompressobj(_GZIP)
    plain = unpacking.decompress(data, MAX_PLAIN)
    if not unpacking.eof or unpacking.unused_data:
        raise Unreadable("cut, followed by something, or too large")
    return plain


def _block(body: Any, max_index: int) -> Block:
    if not isinstance(body, dict):
        raise Unreadable("no object")
    index = _whole(body.get("Index"), max_index)
    texts = [_text(body.get(name), MAX_NAME) for name in ("Timestamp", "Hash", "PrevHash")]
    storage = body.get("Storage")
    storage = {} if storage is None else storage
    if not isinstance(storage, dict) or sum(map(_size, storage.values())) > MAX_ENTRIES:
        raise Unreadable("no storage, or too much of it")
    read = {_text(bucket, MAX_NAME): _bucket(entries) for bucket, entries in storage.items()}
    return Block(index, texts[0], read, texts[1], texts[2])


def _size(entries: Any) -> int:
    return 1 + len(entries) if isinstance(entries, dict) else 1


def _bucket(entries: Any) -> Mapping[str, Entry]:
    if entries is not None and not isinstance(entries, dict):
        raise Unreadable("no bucket")
    return {_text(key, MAX_NAME): _entry(entry) for key, entry in (entries or {}).items()}


def _entry(body: Any) -> Entry:
    if isinstance(body, str):
        return Entry(_text(body, MAX_PLAIN))
    if not isinstance(body, dict):
        raise Unreadable("no entry")
    deleted, signature = body.get("Deleted", False), body.get("Sig")
    if not isinstance(deleted, bool) or not isinstance(signature, str | None):
        raise Unreadable("no entry")
    try:
        signed = None if signature is None else base64.b64decode(signature, validate=True)
    except binascii.Error:
        raise Unreadable("no signature") from None
    return Entry(
        _text(body.get("Value", ""), MAX_PLAIN),
        _text(body.get("Owner", ""), MAX_NAME),
        _whole(body.get("Version", 0), _UINT64),
        _whole(body.get("UpdatedAt", 0), _UINT64 // 2),
        deleted,
        signed,
    )


def _whole(number: Any, limit: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < limit:
        raise Unreadable("no whole number in range")
    return number


def _text(text: Any, limit: int) -> str:
    """A text that UTF-8 can hold: JSON can spell half a character."""
    if not isinstance(text, str) or len(text) > limit:
        raise Unreadable("no text, or too long")
    text.encode()
    return text
