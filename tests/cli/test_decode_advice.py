"""`decode --lang`: what to send back to whoever took the photo."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cli.commands.decode import decode
from pairing import errors
from pairing.language import LANGUAGES
from pairing.qr import render
from pairing.testing.tokens import random_token


def blank(folder: Path) -> str:
    out = io.BytesIO()
    Image.new("L", (300, 300), 200).save(out, format="PNG")
    path = folder / "blank.png"
    path.write_bytes(out.getvalue())
    return str(path)


def call(*arguments: str) -> int:
    # click keeps what it made of the help option: the same names as in the group.
    names = ["-h", "--help"]
    return int(decode.main(list(arguments), standalone_mode=False, help_option_names=names))


def test_every_language_has_its_sentence(tmp_path: Path, capfd: Any) -> None:
    photo, said = blank(tmp_path), set()
    for name in LANGUAGES:
        assert call("--lang", name, photo) == errors.ExitCode.PHOTO
        (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("send back: ")]
        said.add(line)
    assert len(said) == len(LANGUAGES)


def test_scripts_get_it_too(tmp_path: Path, capfd: Any) -> None:
    call("--lang", "de", "--output", "jsonl", blank(tmp_path))
    body = json.loads(capfd.readouterr().out)
    assert body["reason"] == "photo-no-code"
    assert "Foto" in body["advice"]


def test_an_unknown_language_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="xx"):
        call("--lang", "xx", blank(tmp_path))


# --- --annotate ---------------------------------------------------------------------------------


def good(folder: Path, name: str = "good.png") -> str:
    path = folder / name
    path.write_bytes(render.png(render.modules(random_token(random.Random(1))), 4))
    return str(path)


def test_a_marked_photo_is_for_its_owner_alone(tmp_path: Path, capfd: Any) -> None:
    out = tmp_path / "out.png"
    assert call("--annotate", str(out), good(tmp_path)) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "keep it to yourself" in capfd.readouterr().err


def test_a_marked_photo_overwrites_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(b"mine")
    with pytest.raises(errors.UsageError, match="already"):
        call("--annotate", str(out), good(tmp_path))
    assert out.read_bytes() == b"mine"


def test_several_photos_are_marked_into_a_folder(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "other").mkdir()
    photos = [good(tmp_path), blank(tmp_path), good(tmp_path / "other")]
    with pytest.raises(errors.UsageError, match="folder"):
        call("--annotate", str(tmp_path / "out.png"), *photos)
    out = tmp_path / "out"
    out.mkdir()
    assert call("--annotate", str(out), *photos) == errors.ExitCode.BATCH
    assert sorted(path.name for path in out.iterdir()) == ["blank.png", "good-1.png", "good.png"]


def test_what_is_no_picture_is_not_marked(tmp_path: Path, capfd: Any) -> None:
    text = tmp_path / "text.png"
    text.write_text("hello")
    assert call("--annotate", str(tmp_path / "out.png"), str(text)) == errors.ExitCode.PHOTO
    assert not (tmp_path / "out.png").exists()
