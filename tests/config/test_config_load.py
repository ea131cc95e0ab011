"""Every broken text is refused at the right line and column, and nothing else ever escapes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.config.document import walk
from pairing.config.load import MAX_BYTES, MAX_DEPTH, MAX_NODES, load, load_file
from pairing.config.problem import Mark

H = "#cloud-config\n"

BROKEN: dict[str, tuple[str | bytes, str]] = {
    "empty file": ("", "c.yaml:1:1: The first line must be #cloud-config"),
    "no header": ("hostname: a\n", "c.yaml:1:1: The first line must be"),
    "header with a space": ("# cloud-config\na: 1\n", "Write it exactly so: #cloud-config"),
    "header in capitals": ("#Cloud-Config\n", "Write it exactly so: #cloud-config"),
    "header on line 3": ("\n# x\n#cloud-config\n", "Move it up from line 3."),
    "byte order mark": ("\ufeff" + H, "c.yaml:1:1: The file begins with a byte order mark."),
    "UTF-16": ((H + "a: 1\n").encode("utf-16"), "c.yaml:1:1: This is not UTF-8"),
    "Latin-1": ((H + "city: M").encode() + b"\xfcnchen\n", "c.yaml:2:8: This is not UTF-8"),
    "NUL": (H + "a: b\0c\n", "c.yaml:2:5: The character U+0000"),
    "escape": (H + "a: 1\nb: \x1b[2J\n", "c.yaml:3:4: The character U+001B"),
    "lone surrogate": (H + "a: \ud800\n", "c.yaml:2:4: The character U+D800"),
    "escaped surrogate": (H + 'a: "\\ud800"\n', "c.yaml:2:7: found invalid Unicode"),
    "list at the top": (H + "- a\n", "c.yaml:2:1: The config must be a map"),
    "text at the top": (H + "\n  hello\n", "c.yaml:3:3: The config must be a map"),
    "tab for indentation": (H + "a:\n\tb: 1\n", "c.yaml:3:1: This character cannot begin"),
    "indented too far": (H + "a: 1\n  b: 2\n", "c.yaml:3:4: A colon is not allowed here."),
    "indented too little": (H + "a:\n   b: 1\n  c: 2\n", "c.yaml:4:3: A key is expected"),
    "colon missing": (H + "a: 1\nhostname\nb: 2\n", "c.yaml:3:1: A colon is missing"),
    "two colons": (H + "a: b: c\n", "c.yaml:2:5: A colon is not allowed here."),
    "quote not closed": (H + "a: 'b\n", "c.yaml:3:1: found unexpected end of stream"),
    "list not closed": (H + "a: [1, 2\nb: 1\n", "c.yaml:3:2: did not find expected ',' or ']'"),
    "unknown escape": (H + 'a: "C:\\q"\n', "c.yaml:2:7: found unknown escape character"),
    "at sign": (H + "a: @home\n", "c.yaml:2:4: This character cannot begin a value."),
    "duplicate key": (H + "a: 1\nb: 2\na: 3\n", "c.yaml:4:1: a: This key is already set at line 2"),
    "duplicate deep": (
        H + "users:\n- name: a\n  uid: 1\n  name: b\n",
        "c.yaml:5:3: users.0.name: This key is already set at line 3.",
    ),
    "duplicate in braces": (H + "a: {b: 1, b: 2}\n", "c.yaml:2:11: a.b: This key is already"),
    "duplicate in quotes": (H + "a: 1\n'a': 2\n", "c.yaml:3:1: a: This key is already"),
    "anchor": (H + "a: &x 1\n", "c.yaml:2:4: Anchors (&name) are not supported."),
    "alias": (H + "a: *x\n", "c.yaml:2:4: Aliases (*name) are not supported."),
    "merge key": (H + "a:\n  <<: {b: 1}\n", "c.yaml:3:3: Merge keys (<<) are not supported."),
    "tag": (H + "a: !!binary aGk=\n", "c.yaml:2:4: Tags (!name) are not supported."),
    "python object": (
        H + "a: !!python/object/apply:os.system [id]\n",
        "c.yaml:2:4: Tags (!name) are not supported.",
    ),
    "directive": (H + "%YAML 1.1\n---\na: 1\n", "c.yaml:2:1: Lines that begin with %"),
    "second document": (H + "a: 1\n---\nb: 2\n", "c.yaml:3:1: A second document begins here"),
    "key is a number": (H + "8080: x\n", "c.yaml:2:1: A key must be text. Put it in quotes."),
    "key is true": (H + "true: x\n", "c.yaml:2:1: A key must be text."),
    "key is a list": (H + "? [a]\n: b\n", "c.yaml:2:3: A key must be text."),
    "key of two lines": (H + "{a\nb: 1}\n", "c.yaml:2:2: A key is one line."),
    "key too long": (H + "k" * 300 + ": 1\n", "c.yaml:2:1: A key is one line of at most 256"),
    "key with escape": (H + '"a\\e[2J": 1\n', "c.yaml:2:1: A key is one line"),
    "bare placeholder": (H + "a: {{ .X }}\n", "c.yaml:2:5: A placeholder needs quotes."),
}


def refusal(source: str | bytes) -> errors.ConfigError:
    with pytest.raises(errors.ConfigError) as caught:
        load(source, "c.yaml")
    return caught.value


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_text_is_refused_at_its_place(name: str) -> None:
    source, says = BROKEN[name]
    assert says in refusal(source).detail


def test_all_problems_at_once() -> None:
    error = refusal(H + "a: &x 1\na: 2\nb: !t 3\n7: {c: 1, c: 2}\n")
    assert [problem.line for problem in error.problems] == [2, 3, 4, 5, 5]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (H + "a: " + "x" * MAX_BYTES, "larger than 1 MiB"),
        (H.encode() + b"a: 1\n" * 230_000, "larger than 1 MiB"),
        (H + "a: [" + "1," * MAX_NODES + "]", "More than 20,000 entries."),
        (H + "".join(f"k{i}: 1\n" for i in range(15_000)), "More than 20,000 entries."),
        (H + "a: " + "[" * 200_000, "More than 32 levels."),
        (H + "a: " + "{x: " * 50_000, "More than 32 levels."),
        (H + "- " * 100_000, "More than 32 levels."),
        (H + "? " * 100_000, "More than 32 levels."),
    ],
)
def test_the_limits(source: str | bytes, says: str) -> None:
    error = refusal(source)
    assert isinstance(error, errors.ConfigTooLarge)
    assert says in error.detail


def test_just_within_the_limits() -> None:
    deep = load(H + "a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    assert max(len(path) for path, _ in walk(deep.root)) == MAX_DEPTH - 1
    wide = load(H + "a: [" + "1," * (MAX_NODES - 3) + "]")
    assert len(wide.value["a"]) == MAX_NODES - 3
    assert load(H + "a: " + "x" * (MAX_BYTES - len(H) - 4) + "\n").value["a"][0] == "x"


@pytest.mark.parametrize("header", ["#cloud-config", "#kairos-config", "#node-config"])
@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
def test_headers(header: str, end: str) -> None:
    assert load(f"{header}{end}a: 1\n").value == {"a": 1}
    assert load(header).value == {}


def test_windows_line_ends_change_nothing() -> None:
    text = H + "a: 1\nb:\n  - |\n    x\n    y\nc: 'z'\n"
    unix, windows = load(text), load(text.replace("\n", "\r\n"))
    assert unix.value == windows.value
    assert unix.position(("b", 0)) == windows.position(("b", 0))


def test_positions_of_values_and_keys() -> None:
    document = load(H + "users:\n  - name: ann\n    groups: [a, bb]\nx:\n  y: |\n    t\n", "c.yaml")
    assert document.position(("users", 0, "name")) == Mark("c.yaml", 3, 11)
    assert document.key_position(("users", 0, "name")) == Mark("c.yaml", 3, 5)
    assert document.position(("users", 0, "groups", 1)) == Mark("c.yaml", 4, 17)
    assert document.position(("x", "y")) == Mark("c.yaml", 6, 6)
    assert document.position(("users", 0, "shell")) == document.position(("users", 0))
    assert document.position(("no", "such", 3)) == document.root.mark


def test_columns_count_characters_not_bytes() -> None:
    assert load(H + 'a: {"é☃": 1, b: 2}\n').key_position(("a", "b")).column == 14


def test_no_repr_shows_a_value() -> None:
    document = load(H + "passwd: CANARY\nlist: [CANARY]\n")
    shown = [repr(document), repr(document.root), *(repr(node) for _, node in walk(document.root))]
    assert not any("CANARY" in text for text in shown)


def test_no_refusal_shows_a_value() -> None:
    for text in ("passwd: CANARY: x\n", "passwd: 'CANARY\n", "passwd: CANARY\n- x\n", "CANARY"):
        assert "CANARY" not in str(refusal(H + text))


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    with pytest.raises(errors.ConfigFileMissing):
        load_file(path)
    with pytest.raises(errors.ConfigFileMissing):
        load_file(tmp_path)
    path.write_text(H + "a: 1\n")
    assert load_file(path).position(("a",)) == Mark(str(path), 2, 4)


def assert_loads_or_refuses(text: str | bytes) -> None:
    """Anything but a ConfigError would escape and fail the test; every place is in the text."""
    try:
        document = load(text)
        marks = [node.mark for _, node in walk(document.root)]
    except errors.ConfigError as error:
        marks = [problem.mark for problem in error.problems]
    content = text if isinstance(text, str) else text.decode("utf-8", "replace")
    lines = sum(map(content.count, "\n\r\x85\u2028\u2029")) + 2
    assert all(1 <= mark.line <= lines for mark in marks)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_any_input_loads_or_is_refused(source: bytes | str) -> None:
    lead: bytes | str = H.encode() if isinstance(source, bytes) else H
    for text in (source, lead + source):  # type: ignore[operator]
        assert_loads_or_refuses(text)


PIECES = st.sampled_from(
    ["a: ", "- ", "[", "]", "{", "}", ",", ":", "\n", "\n  ", "'", '"', "|", "#", "&a", "*a", "!x"]
    + ["%", "<<", "?", "\t", "\0", "\\", "\x85", "\u2028", "{{", "}}", "1e9", "0x", "é", "---\n"]
)


@given(st.lists(PIECES, max_size=60).map("".join))
def test_any_yaml_like_input_loads_or_is_refused(text: str) -> None:
    assert_loads_or_refuses(H + text)
