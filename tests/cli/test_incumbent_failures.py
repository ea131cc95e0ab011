"""The five failures measured on the incumbent: each a named error, advice, its code, in time.

There, a missing config file went unnoticed, bad photos and tokens ended in "illegal base64 data",
and an absent node was waited for without end.
"""

from __future__ import annotations

import io
import re
import time
from typing import Any

import pytest

from pairing import keys
from pairing.errors import ExitCode
from pairing.peertoken import Token, to_text
from pairing.transport.base import Address

Station = Any


def check(said: Any, code: ExitCode, slug: str) -> None:
    assert said.status == code, said.err
    errors_said = [line for line in said.err.splitlines() if line.startswith("error ")]
    assert len(errors_said) == 1, said.err
    assert re.match(rf"error E\d+ {slug}: ", errors_said[0])
    assert "\nhint: " in said.err
    assert "Traceback" not in said.err


def test_a_missing_config_file(station: Station) -> None:
    photo = station.home / "photo.png"
    photo.write_bytes(blank())
    said = station.register("--config", "/nowhere/shop.yaml", str(photo))
    check(said, ExitCode.USAGE, "config-file-missing")
    assert "/nowhere/shop.yaml" in said.err


def test_a_blank_photo(station: Station) -> None:
    photo = station.home / "photo.png"
    photo.write_bytes(blank())
    said = station.register("-c", str(station.config), str(photo))
    check(said, ExitCode.PHOTO, "photo-no-code")
    assert "new photo" in said.err


def test_a_file_that_is_no_image(station: Station) -> None:
    photo = station.home / "photo.jpg"
    photo.write_bytes(b"EP1: is not a way to start a picture\n" * 20)
    said = station.register("-c", str(station.config), str(photo))
    check(said, ExitCode.PHOTO, "photo-format")
    assert "JPEG, PNG, WebP" in said.err


@pytest.mark.parametrize("way", ["argument", "pipe"])
def test_a_raw_token_and_an_absent_node(station: Station, way: str) -> None:
    nobody = Token(keys.generate().public, b"s" * 16, ipv4=Address("127.0.0.1", 9))
    token = to_text(nobody)
    arguments = ["-c", str(station.config), "--loopback", "--timeout", "2"]
    began = time.monotonic()
    if way == "argument":
        said = station.register(*arguments, token)
        assert "better pipe it to -" in said.err
    else:
        said = station.register(*arguments, "-", stdin=token.encode() + b"\n")
        assert "warning" not in said.err.replace("one escrow key", "")
    assert time.monotonic() - began < 45, "it ends; how quickly is for the benchmarks"
    check(said, ExitCode.UNREACHABLE, "unreachable")
    assert "Nothing was released" in said.err
    assert "127.0.0.1:9: connection refused" in said.err
    assert token not in said.err + said.out
    assert nobody.name in said.err


def test_a_token_with_a_wrong_character(station: Station) -> None:
    token = to_text(Token(keys.generate().public, b"s" * 16))
    wrong = token[:-3] + ("A" if token[-3] != "A" else "B") + token[-2:]
    said = station.register("-c", str(station.config), "-", stdin=wrong.encode())
    check(said, ExitCode.PHOTO, "token-invalid")


def test_a_path_is_never_taken_for_a_token(station: Station) -> None:
    said = station.register("-c", str(station.config), "photo-of-monday.jpg")
    check(said, ExitCode.USAGE, "no-such-source")


def blank() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (800, 600), (90, 90, 90)).save(stream, "PNG")
    return stream.getvalue()
