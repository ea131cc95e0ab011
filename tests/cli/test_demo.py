"""`kairos-fleet demo`: two processes that share nothing but a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pairing.errors import ExitCode
from pairing.qr.read import PhotoReader, token_from

Station = Any


@pytest.mark.slow
def test_from_photo_to_verdict(station: Station) -> None:
    folder = station.home / "demo"
    said = station.fleet("demo", "--folder", str(folder))
    assert said.status == 0, said.out + said.err
    hostname = (folder / "operator" / "shop.yaml").read_text().rpartition("hostname: ")[2].strip()
    assert hostname.startswith("demo-")
    assert f"the node's plan, signed by it, says hostname: {hostname}" in said.out
    (escrow,) = (folder / "operator" / "data" / "kairos-register" / "escrow").glob("*.json")
    assert json.loads(escrow.read_text())["proof"]["dry_run"] is True
    with PhotoReader() as reader:
        seen = reader.read(folder / "photo.png")
    assert (seen.width, seen.height) == (1280, 960), "a photo, not the screen itself"
    (code,) = seen.codes
    assert len({y for _, y in code.corners}) == 4, "tilted"
    token = token_from(seen).text
    for path in (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".png"):
        assert token.encode() not in path.read_bytes(), path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "code"),
    [("before-release", ExitCode.UNREACHABLE), ("after-release", ExitCode.NO_VERDICT)],
)
def test_killed(station: Station, when: str, code: ExitCode) -> None:
    said = station.fleet("demo", "--kill", when)
    assert said.status == code, said.out + said.err
    assert "the node was killed" in said.out


def test_nothing_of_mine_is_overwritten(station: Station) -> None:
    folder = station.home / "precious"
    folder.mkdir()
    (folder / "file").touch()
    said = station.fleet("demo", "--folder", str(folder))
    assert said.status == ExitCode.USAGE
    assert [path.name for path in Path(folder).iterdir()] == ["file"]
