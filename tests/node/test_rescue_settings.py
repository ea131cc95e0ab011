"""The settings of repair sessions: closed unless the image says otherwise, and never by a typo."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.settings import Settings, read
from pairing import errors


def written(folder: Path, text: str) -> Path:
    path = folder / "node.yaml"
    path.write_text(text)
    return path


def test_without_a_word_only_owners_repair(tmp_path: Path) -> None:
    for settings in (Settings(), read(tmp_path / "missing"), read(written(tmp_path, "port: 1\n"))):
        assert (settings.open_rescue, settings.rescue_minutes) == (False, 30)


@pytest.mark.parametrize(("word", "opened"), [("owner", False), ("open", True)])
def test_the_image_decides(word: str, opened: bool, tmp_path: Path) -> None:
    settings = read(written(tmp_path, f"rescue: {word}\nrescue_minutes: 5\n"))
    assert (settings.open_rescue, settings.rescue_minutes) == (opened, 5)


@pytest.mark.parametrize(
    "text",
    ["rescue: yes", "rescue: true", "rescue: Open", "rescue_minutes: -1", "rescue_minutes: x"],
)
def test_a_mistake_stops_the_node(text: str, tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsInvalid):
        read(written(tmp_path, text))
