"""Photos to measure with."""

from __future__ import annotations

import threading
from pathlib import Path

from PIL import Image

from pairing import errors, peertoken
from pairing.qr.read import PhotoReader, token_from
from pairing.testing.photos import photograph

SEVERITY = 2
"""Tilted, slightly out of focus, through a messenger: an ordinary photo."""
LOOKS = 300


def take_photo(screen: Image.Image, photo: Path, severity: int = SEVERITY) -> None:
    """An ordinary, readable photo of a screen."""
    with PhotoReader() as reader:
        for seed in range(20):
            photo.write_bytes(photograph(screen, severity=severity, seed=seed))
            try:
                token_from(reader.read(photo))
            except errors.PhotoError:
                continue
            return
    raise RuntimeError("no photo of this screen can be read")


def screen_with_address(picture: Path) -> bytes:
    """The picture of a node's screen once the code on it says where the node is."""
    pause = threading.Event()
    with PhotoReader() as reader:
        for _ in range(LOOKS):
            data = picture.read_bytes() if picture.exists() else b""
            if data and _has_address(reader, data):
                return data
            pause.wait(0.1)
    raise RuntimeError("the node shows no address")


def _has_address(reader: PhotoReader, data: bytes) -> bool:
    try:
        text = token_from(reader.read(data)).text
        return bool(peertoken.parse(text, loopback=True).addresses)
    except errors.PhotoError:
        return False
