"""`decode --lang`: what to send back to whoever took the photo."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cli.commands.decode import decode
from pairing import errors
from pairing.language import LANGUAGES


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
