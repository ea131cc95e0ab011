"""A node's screen, watched by a program as a person would watch it."""

from __future__ import annotations

import threading
from pathlib import Path

from pairing import errors, peertoken
from pairing.qr.read import PhotoReader, token_from

LOOKS = 600
PAUSE = 0.1
"""Seconds between two looks."""


def screen_with_address(picture: Path) -> bytes:
    """The picture of a node's screen once the code on it says where the node is.

    Raises errors.UnreachableError after a minute.
    """
    pause = threading.Event()
    with PhotoReader() as reader:
        for _ in range(LOOKS):
            data = picture.read_bytes() if picture.exists() else b""
            if data and _has_address(reader, data):
                return data
            pause.wait(PAUSE)
    raise errors.UnreachableError("The node's screen shows no address.")


def _has_address(reader: PhotoReader, data: bytes) -> bool:
    try:
        text = token_from(reader.read(data)).text
        return bool(peertoken.parse(text, loopback=True).addresses)
    except errors.PhotoError:
        return False
