"""The loader reads YAML as Go's yaml.v3 does, or refuses it with a reason that is meant."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pairing import errors
from pairing.config.load import load

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "data" / "config" / "go-yaml.json"
HEADER = "#cloud-config\n"
MEANT = (
    "Anchors",
    "Aliases",
    "Merge keys",
    "Tags",
    "A key must be text",
    "A placeholder needs quotes",
    "A second document",
    "The config ended above",
    "must be a map",
    "(directives)",
    "A key is one line",
    "levels",
    "is not allowed here",
    # What follows is odd YAML that libyaml and Go's fork of it judge differently.
    "did not find expected whitespace or line break",  # a tag, refused anyway
    "did not find expected tag URI",
    "found unexpected ':'",  # [a:[b]]
    "Indent with spaces, not tabs",  # a tab before a comment
)
"""What we refuse although Go reads it."""

Answer = dict[str, Any]


def recorded() -> list[tuple[str, Answer]]:
    pairs: list[tuple[str, Answer]] = json.loads(GOLDEN.read_text("utf-8"))
    return pairs


def value_of(tree: Any) -> Any:
    """Go's tree as plain Python; a date stays text, as in the loader."""
    if isinstance(tree, list):
        return [value_of(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "int" in tree:
        return int(tree["int"])
    if "float" in tree:
        return float(tree["float"]) if "0x" not in tree["float"] else float.fromhex(tree["float"])
    if "time" in tree:
        return tree["time"]
    return {value_of(key): value_of(item) for key, item in tree["map"]}


def same(ours: Any, go: Any) -> bool:
    """Equal in value and in type: 1, 1.0 and true are three things; NaN is itself."""
    if isinstance(ours, dict) and isinstance(go, dict):
        return list(ours) == list(go) and all(same(ours[key], go[key]) for key in ours)
    if isinstance(ours, list) and isinstance(go, list):
        return len(ours) == len(go) and all(map(same, ours, go))
    return type(ours) is type(go) and (ours == go or (ours != ours and go != go))


def compare(text: str, answer: Answer) -> None:
    try:
        ours = load(HEADER + text).value
    except errors.ConfigError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        meant = any(reason in refusal for reason in MEANT)
        # Go reads `|` and a bracket below it as an empty text: no config for anybody.
        no_config = "value" in answer and not isinstance(
            value_of(answer["value"]), dict | type(None)
        )
        assert meant or no_config or "error" in answer, (text, refusal, answer)
        return
    assert "error" not in answer, (text, ours, answer)
    go = value_of(answer["value"])
    assert same(ours, {} if go is None else go), (text, ours, go)


def test_agrees_with_what_go_answered() -> None:
    pairs = recorded()
    assert len(pairs) > 300
    for text, answer in pairs:
        compare(text, answer)


def test_the_parser_in_python_agrees_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML was built without its C library."""
    monkeypatch.delattr(yaml, "CSafeLoader")
    for text, answer in recorded():
        compare(text, answer)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("12:30:45", "12:30:45"),
        ("0644", 0o644),
        ("0o644", 0o644),
        ("1e3", 1000.0),
        ("2001-01-01", "2001-01-01"),
        ("08", 8.0),
        ("null", None),
        ("", None),
    ],
)
def test_the_words_people_trip_over(text: str, value: object) -> None:
    ours = load(f"{HEADER}a: {text}\n").value["a"]
    assert ours == value
    assert type(ours) is type(value)


@pytest.fixture(scope="module")
def record() -> ModuleType:
    spec = importlib.util.spec_from_file_location("yamldiff_record", HERE / "yamldiff/record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory, record: ModuleType) -> Callable[..., Any]:
    """Ask the real Go library. Compiling it takes a minute on a cold cache."""
    if shutil.which("go") is None and not os.environ.get("CI"):
        pytest.skip("Go is not installed; the recorded answers were compared instead")
    program = tmp_path_factory.mktemp("go") / "yamldiff"
    subprocess.run(
        ["go", "build", "-o", str(program), "."], cwd=HERE / "yamldiff", check=True, timeout=300
    )
    return lambda texts: list(record.ask(str(program), texts))


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_the_record_is_what_go_answers_today(
    ask: Callable[..., list[Answer]], record: ModuleType
) -> None:
    texts = record.texts()
    assert [text for text, _ in recorded()] == texts
    assert ask(texts) == [answer for _, answer in recorded()]


SPACES = [" ", "\n", "\n ", "\n  ", "\t", "\r\n", ": ", "- ", " #", "? ", "---\n", "...\n"]
SIGNS = (
    "a b x e 0 1 0x 0o true null yes é ~ . _ - + : [ ] { } , ' \" # | > |- |+ ? % @ ! &a *a << \\"
)
SCRAPS = st.sampled_from([*SPACES, *SIGNS.split()])


@pytest.mark.slow
@pytest.mark.timeout(360)
@example(texts=["|\n{- ]?"])
@settings(max_examples=40)
@given(texts=st.lists(st.lists(SCRAPS, max_size=14).map("".join), min_size=50, max_size=200))
def test_agrees_with_go_on_scraps(ask: Callable[..., list[Answer]], texts: list[str]) -> None:
    for text, answer in zip(texts, ask([HEADER + text for text in texts]), strict=True):
        compare(text, answer)
