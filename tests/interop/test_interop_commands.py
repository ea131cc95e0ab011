"""The real commands and stock Kairos tools, from a picture of the screen to the config."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pairing import errors
from pairing.config import load
from pairing.qr import render
from pairing.qr.read import PhotoReader, token_from
from pairing.testing.commands import Commands, verdicts
from pairing.testing.netns import Namespace
from pairing.testing.photos import photograph
from pairing.testing.stock import Peer, Stock

pytestmark = pytest.mark.timeout(300)

STOCK = Stock()
TOGETHER = 10
SIDE = 6 * (89 + 2 * render.QUIET)
"""Pixels of a code of version 18, at six a module."""


def photo_of(screen: Path, file: Path) -> Path:
    """A photo by phone, sent on: tilted, slightly out of focus; taken again until it can be read,
    as anybody would."""
    with PhotoReader() as reader, Image.open(screen) as picture:
        for seed in range(20):
            file.write_bytes(photograph(picture.convert("RGB"), severity=1, seed=seed))
            try:
                token_from(reader.read(file))
            except errors.PhotoError:
                continue
            return file
    raise AssertionError("no photo of this screen can be read")


@contextlib.contextmanager
def receiving(machines: Sequence[Namespace], tokens: Sequence[str]) -> Iterator[list[Peer]]:
    with contextlib.ExitStack() as running:
        yield [
            running.enter_context(STOCK.start(machine, "receive", {"token": token}))
            for machine, token in zip(machines, tokens, strict=True)
        ]


def test_photos_of_stock_screens_are_registered_by_one_command(
    lan: Callable[[int], Any], commands: Commands
) -> None:
    """Codes of Kairos' size, drawn by its own library: a photo by phone, and screenshots. One
    command for all."""
    office, *shops = lan(1 + TOGETHER).machines
    tokens = [STOCK.token() for _ in shops]
    screens = [STOCK.picture(token, commands.folder / f"{n}.png") for n, token in enumerate(tokens)]
    with Image.open(screens[0]) as picture:
        assert picture.size == (SIDE, SIDE)
    photos = [photo_of(screens[0], commands.folder / "photo.jpg"), *screens[1:]]
    with receiving(shops, tokens) as nodes:
        found = list(commands.register(office, photos))
        codes = [code for code, _ in verdicts(found)]
        assert len(codes) == TOGETHER, found
        assert set(codes) <= {0, 10}, found
        for node in nodes:
            got = node.wait("received")["payload"]
            config = load(got["cc"].encode(), "what came")
            assert config.get("hostname") == "shop-0815"
            assert config.get("install", "auto") is True
            assert got["device"] == config.get("install", "device") == "/dev/sda"
