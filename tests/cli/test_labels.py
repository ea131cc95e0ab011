"""Labels, selectors and tables of them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from cli import labels
from pairing import errors


@pytest.mark.parametrize("text", ["region=north", "example.com/wave=2", "a=", "A.b-c_d=V.1"])
def test_labels(text: str) -> None:
    key, value = labels.parse(text)
    assert f"{key}={value}" == text


@pytest.mark.parametrize(
    "text",
    ["region", "=north", "re gion=a", "region=no rth", "region=-a", f"a={'x' * 64}", "a/b/c=d",
     "region=north\n", "région=a", "a==b"],
)  # fmt: skip
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(errors.LabelInvalid) as wrong:
        labels.parse(text)
    assert wrong.value.exit_code == 2


def test_a_key_given_twice() -> None:
    assert labels.parse_all(["a=b", "a=b"]) == {"a": "b"}
    with pytest.raises(errors.LabelInvalid):
        labels.parse_all(["a=b", "a=c"])


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("region=north", True),
        ("region==north", True),
        ("region=south", False),
        ("region!=south", True),
        ("region!=north", False),
        ("role!=till", True),  # as kubectl: what is not there is not equal
        ("region", True),
        ("role", False),
        ("!role", True),
        ("!region", False),
        ("region=north, wave=2", True),
        ("region=north,wave=3", False),
    ],
)
def test_selectors(text: str, selected: bool) -> None:
    assert labels.selector(text).selects({"region": "north", "wave": "2"}) is selected


@pytest.mark.parametrize("text", ["region=no rth", "re gion", "a=b=c", "!=b"])
def test_what_is_no_selector(text: str) -> None:
    with pytest.raises(errors.LabelInvalid):
        labels.selector(text)


def table(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "machines.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_gives_and_takes_away(tmp_path: Path) -> None:
    text = '\ufeffnode,serial,label.region,label.role\nshop-1,S 1,north,\n\n"shop-2",,south,till\n'
    first, second = labels.read_table(table(tmp_path, text))
    assert (first.node, first.labels) == ("shop-1", {"region": "north"})
    assert first.absent == frozenset({"role"})
    assert second.place.endswith(":4")
    assert second.absent == frozenset()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column `node`"),
        ("name,label.a\nx,y\n", "no column `node`"),
        ("node,serial\nx,y\n", "no column of labels"),
        ("node,label.a,label.a\nx,y,z\n", "twice"),
        ("node,region,label.a\nx,y,z\n", "Did you mean label.region"),
        ("node,label.a\nx\n", "csv:2: "),
        ("node,label.a\n,y\n", "not named"),
        ("node,label.a\nx,y\nx,z\n", "in line 2 already"),
        ("node,label.a\nx,no good\n", "csv:2: "),
        ('node,label.a\n"x,y\n', "machines.csv"),
        (b"node,label.a\nx,\xff\n", "UTF-8"),
    ],
)
def test_a_table_with_a_mistake_names_it(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(errors.TableInvalid) as wrong:
        labels.read_table(table(tmp_path, text))
    assert said in wrong.value.sentence


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.TableInvalid):
        labels.read_table(tmp_path / "none.csv")


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    text = labels.table(
        [{"node": "A-B", "hostname": "x"}, {"node": "C-D"}], [{"a": "1"}, {"b": "2"}]
    )
    first, second = labels.read_table(table(tmp_path, text))
    assert (first.labels, second.labels) == ({"a": "1"}, {"b": "2"})
    assert (first.absent, second.absent) == (frozenset("b"), frozenset("a"))


@pytest.mark.parametrize("word", ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(A1)", "\n=1"])
def test_a_spreadsheet_takes_no_machines_word_for_a_formula(word: str) -> None:
    text = labels.table([{"node": "A-B", "serial": word}], [{}])
    (_, row) = csv.reader(io.StringIO(text))
    assert not row[labels.COLUMNS.index("serial")].startswith(("=", "+", "-", "@", "\n"))
